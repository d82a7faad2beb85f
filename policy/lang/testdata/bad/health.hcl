link "a" {
  interface = "eth1"
  snat      = ["189.1.0.2", "189.1.0.3"]      # ERROR: Flows of a link leave with one address for ipv4
  on_change = "run me"                        # ERROR: "on_change" wants the absolute path of a program
  health {
    targets  = ["1.1.1.1", "example.org", "tcp://1.1.1.1", "ftp://1.1.1.1/", "https://example.org/", "dns://9.9.9.9", "1.1.1.1"] # ERROR: "example.org" is not a target || "tcp://1.1.1.1" wants a port || "ftp://1.1.1.1/" cannot be probed || wants an address: to look up the name example.org || wants a name to ask for || Target 1.1.1.1 is there twice
    interval = "5"                            # ERROR: "interval" wants a time from 100ms to 1m0s
    loss     = 0                              # ERROR: "loss" wants a whole number from 1 to 100
    latency  = 50                             # ERROR: "latency" wants a time in quotes
    wait     = "1s"                           # ERROR: A health block has no attribute "wait"
  }
}
link "b" {
  interface = "eth2"
  health {
    targets      = ["1.1.1.1", "8.8.8.8"]
    quorum       = 2                          # ERROR: a single one that is switched off takes the link down
    interval     = "2s"
    silence      = "1s"                       # ERROR: is less than the interval
    hold         = "1m"
    longest_hold = "10s"                      # ERROR: longest_hold = "10s" is shorter than hold = "1m0s"
  }
}
link "c" {
  interface = "eth3"
  masquerade = false
  snat       = "192.0.2.1"                    # ERROR: snat translates, and masquerade = false says that nothing is translated
  health {
    quorum = 2                                # ERROR: 2 targets cannot answer: there is only 1 target
  }
  health {}                                   # ERROR: A link has one health block
}
link "d" {
  interface = "eth4"
  snat      = "fe80::1"                       # ERROR: "snat" wants an address of this link
  health "x" {}                               # ERROR: A health block has no name
}
link "e" {
  interface = "eth5"
  health {
    enabled = false
    targets = "1.1.1.1"                       # ERROR: With enabled = false nothing is probed, so "targets" means nothing
  }
}
group "g" {
  by    = "sources"                           # ERROR: "sources" is not a way to choose a link. Did you mean "source"?
  flows = "failed"                            # ERROR: "failed" is not what can become of flows
  member "a" { tier = 0 }                     # ERROR: "tier" wants a whole number from 1 to 100
}
link "f" {
  interface = "eth6"
  health {
    targets = ["1.1.1.1", "8.8.8.8", "2001:db8::1"]
    quorum  = 2                               # ERROR: With quorum = 2 of 2 targets of ipv4
  }
}
link "h" {
  interface = "eth7"
  health = { targets = "1.1.1.1" }            # ERROR: health is a block within a link: write it without =
}
link "i" {
  interface = "eth8"
  health {
    targets = []                              # ERROR: "targets" is an empty list, which says nothing
  }
}
