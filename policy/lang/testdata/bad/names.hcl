lan "office" { interface = "eth0" }
link "virtua" { interface = "eth1" }
link "embratel" { interface = "eth2" }
group "both" {
  member "virtua" {}
  member "embratl" {}        # ERROR: No link is called "embratl". Did you mean "embratel"?
  member "virtua" {}         # ERROR: is already a member
}
link "main" { interface = "eth7" } # ERROR: and "main" is the kernel's
group "virtua" {             # ERROR: and link "virtua" (names.hcl:2) has this name
  member "virtua" {}
}
linc "x" {}                  # ERROR: There is no block "linc". Did you mean "link"?
rule "a" {
  from = lan.ofice           # ERROR: No lan is called "ofice". Did you mean "office"?
  via  = virtua              # ERROR: Did you mean link.virtua?
}
rule "b" {
  form = lan.office          # ERROR: no attribute "form". Did you mean "from"?
  via  = link.virtua
}
rule "c" {
  from = lan                 # ERROR: Which lan? Write lan.NAME.
  to   = local.nothing       # ERROR: No local is called "nothing".
  via  = rejct               # ERROR: Did you mean "reject"?
}
rule "d" {
  to  = set["banks"]         # ERROR: Write set.NAME, without brackets.
  via = link.virtua
}
rule "d" { via = link.virtua } # ERROR: There is already such a block at names.hcl:27
rule "e e" { via = main }    # ERROR: A name starts with a letter
rule { via = main }          # ERROR: A rule block has one name
settings "x" {}              # ERROR: A settings block has no name
default { via = main }
default { via = main }       # ERROR: There is already such a block
stray = 5                    # ERROR: "stray" stands outside any block
locals {
  a = local.b                # ERROR: refers to itself
  b = local.a                # ERROR: refers to itself
}
