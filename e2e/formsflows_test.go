// SPDX-License-Identifier: Apache-2.0

package e2e

// held is a policy with everything that is about how flows hold on to their links, and with a link that is dead.
const held = `
lan "office" { interface = "eth0" }
link "virtua" {
  interface = "eth1"
  snat      = ["189.1.0.2", "2001:db8:189::2"]
}
link "embratel" {
  interface = "eth2"
  gateway   = ["200.252.10.1", "2001:db8:200::1"]
}
link "gone" { interface = "eth7" }
link "fixed" {
  interface = "eth8"
  snat      = "192.0.2.7"
}
link "public" {
  interface  = "eth9"
  masquerade = false
}
group "bysource" {
  by    = "source"
  flows = "failback"
  member "virtua" { weight = 2 }
  member "embratel" {}
  member "gone" {}
}
group "bypair" {
  by = "source+destination"
  member "virtua" {}
  member "embratel" {}
}
group "standby" {
  flows = "keep"
  member "gone" {}
  member "embratel" { tier = 2 }
}
rule "keep" {
  from  = "10.1.0.20"
  via   = link.virtua
  flows = "keep"
}
rule "home" {
  from  = "10.1.0.21"
  via   = link.gone
  flows = "failback"
}
rule "away" {
  from  = "10.1.0.22"
  via   = group.bypair
  flows = "failback"
}
rule "tier" {
  from  = "10.1.0.23"
  via   = group.standby
}
rule "tier_home" {
  from  = "10.1.0.24"
  via   = group.standby
  flows = "failback"
}
forward "web" {
  link     = [link.virtua, link.embratel, link.gone]
  protocol = ["tcp", "udp"]
  port     = 80
  to       = "10.1.0.20:8080"
  from     = ["198.51.100.0/24", "203.0.113.1-203.0.113.9"]
}
forward "range" {
  link     = link.embratel
  protocol = "udp"
  port     = "9000-9010"
  to       = "fd00:a::14"
  hairpin  = false
}
default {
  via   = group.bysource
  flows = "failover"
}
`
