// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"slices"
	"testing"
)

// TestInterfaceMadeAnew: an interface that is deleted and made again has another number. Rules still hold, and the next apply knows
// the new number.
func TestInterfaceMadeAnew(t *testing.T) {
	r := newRouter(t)
	r.apply(links, `rule "all" {
  from = lan.office
  via  = link.embratel
}`)
	r.expect("embratel", 50, server(1, 443, false))
	must(t, r.Replug("virtua"))
	// main's default leads to the new interface now. Without a look at its name flows would follow it.
	r.expect("embratel", 50, server(2, 443, false))
	r.apply(links, `rule "all" {
  from = lan.office
  via  = link.virtua
}
default { via = link.virtua }`)
	r.expect("virtua", 50, server(3, 443, false))
	must(t, r.Replug("virtua"))
	out, status := r.enlace("plan", r.root+"/policy.hcl")
	if status != 2 {
		t.Errorf("plan after the interface was made anew: exit %d, want changes\n%s", status, out)
	}
	r.apply(links, `rule "all" {
  from = lan.office
  via  = link.virtua
}
default { via = link.virtua }`)
	r.expect("virtua", 50, server(4, 443, false))
	r.unchanged()
	need(t, "nft")
	chain := r.lines("nft", "list", "chain", "inet", "enlace", "prerouting")
	if !slices.Contains(chain, `iif { "eth2", "eth1" } goto arriving comment "from a link"`) { // nft shows a number that nobody has as a number
		t.Errorf("the rule that matches links by number was not made anew: %q", chain)
	}
}
