link "a" { interface = "eth1" }
link "b" { interface = "eth2" }
group "kernel" {                              # ERROR: With by = "route" the kernel chooses, and flows are those of failover
  by    = "route"
  flows = "keep"
  member "a" {}
}
rule "r" {                                    # ERROR: via = main leaves flows to the main table, so enlace cannot say what becomes of them
  to    = "192.0.2.1"
  via   = main
  flows = "keep"
}
rule "s" {                                    # ERROR: In group "kernel" the kernel chooses the link
  via   = group.kernel
  flows = "failback"
}
default { via = link.a }
