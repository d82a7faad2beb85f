link "virtua" {               # ERROR: A flowtable is for flows between the links and the interfaces of lan blocks, and there is no lan block.
  interface = "eth1"
}
group "g" {
  flowtable = true
  member "virtua" {}
}
