link "virtua" {
  interface = "eth1"
  mss_clamp = 100             # ERROR: "mss_clamp" wants true (what the interface's MTU leaves) or false, without quotes, or the longest TCP segment in bytes, from 500 to 65495.
}
link "embratel" {
  interface = "eth2"
  mss_clamp = "much"          # ERROR: "mss_clamp" wants true
  flowtable = 1               # ERROR: "flowtable"
}
