link "virtua" { interface = "eth1" }
rule "a" {
  port = 25            # ERROR: Say of which protocol
  via  = link.virtua
}
rule "b" {
  protocol = "gre"
  port     = 25        # ERROR: Protocol 47 has no ports
  via      = link.virtua
}
rule "c" {
  tos  = 8
  dscp = 2             # ERROR: tos and dscp are the same six bits
  via  = link.virtua
}
rule "d" {
  from      = router
  interface = "eth0"   # ERROR: do not come in by an interface
  via       = link.virtua
}
rule "e" {
  via       = main
  otherwise = reject   # ERROR: which has no otherwise
}
rule "f" {
  from = "10.0.0.0/8"
  to   = "2001:db8::/32" # ERROR: no address family in common
  via  = link.virtua
}
