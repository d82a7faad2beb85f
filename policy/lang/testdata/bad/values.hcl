lan "office" {
  interface = "eth0"
  networks  = ["10.1.0.1/16", 5]        # ERROR: is not a network such as 10.1.0.0/16 || wants networks in quotes
}
lan "far" {
  interface = "a name that is too long" # ERROR: has 1 to 15 characters
}
lan "none" {}                           # ERROR: A lan block needs "interface".
link "virtua" {
  interface  = eth1                     # ERROR: Text goes in quotes
  gateway    = "0.0.0.0"                # ERROR: A gateway is the address of a host
  table      = 254                      # ERROR: Tables 253 to 255 are the kernel's own
  mark       = 255                      # ERROR: "mark" wants a whole number from 1 to 254.
  masquerade = "yes"                    # ERROR: "masquerade" wants true or false.
}
link "embratel" {
  interface = "eth2"
  gateway   = ["200.1.1.1", "200.1.1.2"] # ERROR: A link has one gateway for ipv4.
  table     = 20
}
link "vivo" {
  interface = "eth2"                    # ERROR: The interface eth2 is already that of link "embratel"
  table     = 20                        # ERROR: The table 20 is already that of link "embratel"
}
group "g" {
  by = "conection"                      # ERROR: "conection" is not a way to choose a link. Did you mean "connection"?
  member "vivo" { weight = 0 }          # ERROR: "weight" wants a whole number from 1 to 256.
  member "embratel" { weight = 1.5 }    # ERROR: "weight" wants a whole number from 1 to 256.
}
set "banks" {
  elements = ["10.0.0.1/8", "1.2.3.4-1.2.3.3", "x"] # ERROR: has bits set behind its length; write 10.0.0.0/8 || is not a range || is not an address
}
set "empty" {
  elements = []                         # ERROR: is an empty list
}
rule "a" {
  from     = ["10.1.0.0/33"]            # ERROR: is not a prefix
  protocol = ["tpc", 300]               # ERROR: No protocol is called "tpc". Did you mean "tcp"? || or a number from 1 to 255
  via      = "link.virtua"              # ERROR: without quotes
}
rule "b" {
  protocol = "tcp"
  port     = [0, 70000, "9-3", "nosuchservice"] # ERROR: 0 is not a port || 70000 is not a port || is not a range of ports || is neither a port
  via      = lan.office                 # ERROR: "via" cannot be lan.office
}
rule "c" {
  tos  = 0x2                            # ERROR: are ECN, which Linux clears
  mark = "0x10/0x0f"                    # ERROR: mark wants a number of 32 bits
  via  = link.virtua
}
rule "d" {
  dscp = [64, "eff"]                    # ERROR: dscp wants numbers from 0 to 63 || dscp wants numbers
  via  = link.virtua
}
rule "e" {
  from = null                           # ERROR: "from" has no value
  via  = link.virtua
}
rule "f" {
  from = [router, lan.office]           # ERROR: need a rule of their own
  to   = router                         # ERROR: "to" cannot be router
  via  = link.virtua
}
forward "web" {
  link     = group.g                    # ERROR: "link" wants link.NAME
  protocol = "icmp"                     # ERROR: A forward is for protocols that have ports
  port     = "90-80"                    # ERROR: is not a range of ports
  to       = "10.1.0.20:x"              # ERROR: is not ADDRESS or ADDRESS:PORT of a host
}
settings {
  mark_mask     = 0x00ff0000            # ERROR: which Tailscale uses
  rule_priority = 0                     # ERROR: "rule_priority" wants a whole number
  protocol      = 16                    # ERROR: Protocol 16 is that of DHCP
}
