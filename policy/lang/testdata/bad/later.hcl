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
set "s" { file = "banks.txt" } # ERROR: "file" of a set || needs "elements"
rule "r" {
  user   = "proxy"            # ERROR: does not work in this version
  mac    = "02:00:00:00:00:01" # ERROR: does not work in this version
  domain = "example.org"      # ERROR: does not work in this version
  hours  = "8-18"             # ERROR: does not work in this version
  days   = "mon-fri"          # ERROR: does not work in this version
  cgroup = "x"                # ERROR: does not work in this version
  flows  = "keep"             # ERROR: does not work in this version
  not_to = "10.0.0.0/8"       # ERROR: does not work in this version
  via    = link.virtua
}
forward "f" {
  link     = link.virtua
  protocol = "tcp"
  port     = [80, 443]        # ERROR: A forward of several ports is part
  to       = "10.1.0.20"
  hairpin  = true             # ERROR: does not work in this version
  from     = "192.0.2.0/24"   # ERROR: does not work in this version
}
redirect "squid" {}           # ERROR: A block "redirect" is part of the language's design
