// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/netip"
	"testing"

	"enlace/e2e/lab"
)

const alone = `
lan "office" { interface = "eth0" }
link "embratel" {
  interface = "eth2"
  gateway   = ["200.252.10.1", "2001:db8:200::1"]
  table     = 30
}
`

// TestLinkRemoved: when a link goes from the policy, the numbers of those behind it move up. Flows that carry an old number are
// released, so that none of their packets leaves through a link that it does not belong to (newRouter's providers count them).
func TestLinkRemoved(t *testing.T) {
	r := newRouter(t)
	must(t, r.ServeIn(r.LAN, 80))
	dns := "\nforward \"udp\" {\n  link = link.embratel\n  protocol = \"udp\"\n  port = 80\n  to = \"10.1.0.20\"\n}\n"
	r.apply(links, dns, `rule "v" {
  from = "10.1.0.50"
  via  = link.virtua
}
default { via = link.embratel }`)
	inward, err := r.StreamUDP(r.Internet, lab.Flow{From: lab.Remote(5, false), To: netip.AddrPortFrom(r.ISP("embratel").Address(false).Addr(), 80)}, 200)
	must(t, err)
	onEmbratel, err := r.StreamUDP(r.LAN, lab.Flow{From: lab.Host(100, false), To: server(7, 443, false)}, 200)
	must(t, err)
	onVirtua, err := r.StreamUDP(r.LAN, lab.Flow{From: lab.Host(50, false), To: server(8, 443, false)}, 200)
	must(t, err)
	for _, s := range []*lab.Stream{inward, onEmbratel, onVirtua} {
		s.Await(30)
	}
	r.apply(alone, dns, `default { via = link.embratel }`)
	for _, s := range []*lab.Stream{inward, onEmbratel, onVirtua} {
		s.Await(30)
	}
	if got := inward.Stop(); got.Lost > 5 {
		t.Errorf("through the forward: %+v, want it to go on", got)
	}
	if got := onEmbratel.Stop(); len(got.Links) != 1 || got.Links["embratel"] < 60 {
		t.Errorf("a flow of the link that stays: %+v", got)
	}
	if got := onVirtua.Stop(); len(got.Links) != 2 || got.Links["embratel"] < 20 {
		t.Errorf("a flow of the link that went: %+v, want it to go on through embratel", got)
	}
	r.expect("embratel", 50, server(1, 443, false))
	// And back: virtua is the first again.
	r.apply(links, `default { via = link.virtua }`)
	r.expect("virtua", 50, server(1, 443, false))
	r.unchanged()
}

// TestSettingsMove: numbers of the settings change between applies, and nothing of the old ones is left.
func TestSettingsMove(t *testing.T) {
	r := newRouter(t)
	r.apply(links, balanced, `default { via = group.balanced }`)
	r.apply(links, balanced, `settings {
  mark_mask     = 0x0f000000
  rule_priority = 5000
}
default { via = group.balanced }`)
	r.unchanged()
	for _, l := range r.lines("ip", "rule") {
		if len(l) > 5 && l[0] == '1' && l[4] == ':' {
			t.Errorf("an old rule is left: %s", l)
		}
	}
	if counts := r.shares(50, 30, false); counts["virtua"] != 20 {
		t.Errorf("shares %v, want 20:10", counts)
	}
}
