link "virtua" {
  interface = "eth1"
  snat      = "189.1.0.2"     # ERROR: "snat" of a link is part of the language's design, but does not work in this version.
  weight    = 2               # ERROR: does not work in this version
  mss_clamp = true            # ERROR: does not work in this version
  metered   = true            # ERROR: does not work in this version
  flowtable = true            # ERROR: does not work in this version
  health {}                   # ERROR: "health" of a link is part of the language's design
}
link "embratel" { interface = "eth2" }
group "g" {
  by    = "source"            # ERROR: by = "source" is part of the language's design
  flows = "keep"              # ERROR: does not work in this version
  member "virtua" { tier = 2 } # ERROR: does not work in this version
}
group "h" {
  by = "source+destination"   # ERROR: does not work in this version
  member "virtua" {}
}
rule "r" {
  domain = "example.org"      # ERROR: does not work in this version
  hours  = "8-18"             # ERROR: does not work in this version
  days   = "mon-fri"          # ERROR: does not work in this version
  cgroup = "x"                # ERROR: does not work in this version
  flows  = "keep"             # ERROR: does not work in this version
  via    = link.virtua
}
forward "f" {
  link     = link.virtua
  protocol = "tcp"
  port     = [80, 443]        # ERROR: "port" of a forward is one port
  to       = "10.1.0.20"
  hairpin  = true             # ERROR: does not work in this version
  from     = "192.0.2.0/24"   # ERROR: does not work in this version
}
