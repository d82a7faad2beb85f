# The office of the two scripts that enlace replaces, as one policy.

lan "office" {
  interface = "eth0"
}

link "virtua" {                  # cable: address and gateway come from DHCP
  interface = "eth1"
  table     = 20
}

link "embratel" {                # leased line: a fixed address
  interface = "eth2"
  gateway   = "200.252.10.1"
  table     = 30
}

group "balanced" {               # virtua is the faster one: two flows of three
  table = 40
  member "virtua"   { weight = 2 }
  member "embratel" { weight = 1 }
}

rule "mail" {                    # rather no mail than mail from the wrong address
  from      = lan.office
  protocol  = "tcp"
  port      = "smtp"
  via       = link.embratel
  otherwise = reject
}

rule "bank" {
  from = lan.office
  to   = "186.202.0.0/16"
  via  = link.embratel
}

rule "balanced" {                # one machine and one subnet use both links
  from = ["10.1.0.100", "10.1.1.0/24"]
  via  = group.balanced
}

rule "web_server" {              # its own flows, not the answers of the forward below
  from = "10.1.0.20"
  via  = group.balanced
}

forward "web" {                  # answers leave through embratel, whatever the rules say
  link     = link.embratel
  protocol = "tcp"
  port     = 80
  to       = "10.1.0.20:80"
}

default { via = link.embratel }
