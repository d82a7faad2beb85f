lan "office" { interface = "eth0" }
lan "guests" {
  interface = "eth4"
  networks  = ["10.9.0.0/16"]
}
link "a" { interface = "eth1" }
set "banks" { elements = ["186.202.0.0/16", "187.0.0.0/8"] }
rule "wide" {
  from     = lan.office
  to       = set.banks
  protocol = ["tcp", "udp"]
  via      = link.a
}
rule "narrow" {                       # WARNING: Rule "wide" (shadowed.hcl:8) already takes every flow
  from     = lan.office
  to       = ["186.202.1.0/24", "187.1.2.3"]
  protocol = "tcp"
  port     = 443
  via      = link.a
}
rule "other_protocol" {
  from     = lan.office
  to       = set.banks
  protocol = "gre"
  via      = link.a
}
rule "other_lan" {
  from = lan.guests
  to   = set.banks
  via  = link.a
}
rule "guests" {
  from = "10.8.0.0/15"                # fine: wider than the lan
  via  = link.a
}
rule "guest" {                        # WARNING: Rule "guests"
  from = lan.guests
  via  = link.a
}
rule "own" {
  from = router
  via  = link.a
}
rule "all" { via = link.a }
rule "never" {                        # WARNING: Rule "all"
  protocol = "tcp"
  port     = 80
  via      = link.a
}
