link "a" { interface = "eth1" }
group "kernel" {
  by = "route"
  member "a" {}
}
forward "f" {
  link     = [link.a, link.a]                 # ERROR: Link "a" is there twice
  protocol = ["tcp", "icmp"]                  # ERROR: A forward is for protocols that have ports
  port     = [80, 443]                        # ERROR: The port of a forward is one, or one range
  to       = "10.1.0.20"
}
forward "g" {
  link     = group.kernel                     # ERROR: "link" wants link.NAME, without quotes, or a list of them
  protocol = "udp"
  port     = "80-90"
  to       = "10.1.0.20:81"                   # ERROR: A range of ports goes to the same ports
  from     = "2001:db8::/32"                  # ERROR: None of these can reach 10.1.0.20
}
