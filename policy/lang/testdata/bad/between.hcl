settings { mark_mask = 0x30000000 }
link "a" { interface = "eth1" }
link "b" { interface = "eth2" }
link "c" { interface = "eth3" }       # ERROR: has room for the numbers 1 to 2, and this link would get 3
group "g" {                           # ERROR: and this group would get 4
  by = "route"
  member "a" {}
}
rule "m" {                            # ERROR: has bits of mark_mask 0x30000000
  mark = 0x10000000
  via  = link.a
}
rule "i" {                            # ERROR: Interface eth2 is that of link "b"
  interface = "eth2"
  via       = link.a
}
forward "f" {
  link     = link.a
  protocol = "tcp"
  port     = 80
  to       = "10.1.0.20"
}
forward "again" {                     # ERROR: Forward "f" already has a port of link "a"
  link     = link.a
  protocol = "tcp"
  port     = 80
  to       = "10.1.0.21:8080"
}
