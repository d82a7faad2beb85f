link "virtua" {
  interface = "eth1"
  weight    = 2               # ERROR: "weight" of a link is part of the language's design, but does not work in this version.
  metered   = true            # ERROR: does not work in this version
}
link "embratel" { interface = "eth2" }
group "g" {
  member "virtua" {}
}
rule "r" {
  domain = "example.org"      # ERROR: does not work in this version
  hours  = "8-18"             # ERROR: does not work in this version
  days   = "mon-fri"          # ERROR: does not work in this version
  cgroup = "x"                # ERROR: does not work in this version
  via    = link.virtua
}
