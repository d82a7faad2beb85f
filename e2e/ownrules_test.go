// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"

	"enlace/e2e/lab"
)

// TestRouterRuleWithoutDefault: rules for the router's own flows hold also in a family in which the default block's link is dead and
// main uses another one.
func TestRouterRuleWithoutDefault(t *testing.T) {
	r := newRouter(t, lab.Virtua, lab.Embratel.OnlyV4())
	r.apply(strings.Replace(links, `["200.252.10.1", "2001:db8:200::1"]`, `"200.252.10.1"`, 1), `rule "mail" {
  from      = router
  protocol  = "tcp"
  port      = 25
  via       = link.embratel
  otherwise = reject
}
default { via = link.embratel }`)
	if got := r.ask(r.Router, lab.Flow{Network: "tcp", To: server(1, 25, false)}); got != "embratel" {
		t.Errorf("mail over IPv4 left through %s, want embratel", got)
	}
	if _, err := r.Router.Ask(lab.Flow{Network: "tcp", To: server(1, 25, true), Wait: short}); err == nil {
		t.Error("mail over IPv6 left, want it rejected: embratel has no IPv6")
	}
	if got := r.ask(r.Router, lab.Flow{Network: "tcp", To: server(1, 443, true)}); got != "virtua" {
		t.Errorf("other flows over IPv6 left through %s, want virtua, which main uses", got)
	}
}

// TestRouterUser: the router's own flows by the user whose they are.
func TestRouterUser(t *testing.T) {
	for user, want := range map[string]string{`"root"`: "virtua", `[13, 0]`: "virtua", `"proxy"`: "embratel", `[1, 2]`: "embratel"} {
		r := newRouter(t)
		r.apply(links, `rule "r" {
  from = router
  user = `+user+`
  via  = link.virtua
}
default { via = link.embratel }`)
		both(t, func(t *testing.T, v6 bool) {
			for _, network := range []string{"tcp", "udp"} {
				if got := r.ask(r.Router, lab.Flow{Network: network, To: server(1, 443, v6)}); got != want {
					t.Errorf("user = %s: root's %s flow left through %s, want %s", user, network, got, want)
				}
			}
		})
	}
}

// TestPain09_RouterRules: rules move the router's own flows, with the source of the link that they leave through, and leave bound sockets
// alone.
func TestPain09_RouterRules(t *testing.T) {
	r := newRouter(t)
	r.apply(links, balanced, `
rule "proxy" {
  from = router
  tos  = 0x20
  via  = group.balanced
}
rule "dns" {
  from     = router
  protocol = "udp"
  port     = 443
  via      = link.virtua
}
default { via = link.embratel }`)
	both(t, func(t *testing.T, v6 bool) {
		counts := map[string]int{}
		for i := range 30 {
			counts[r.ask(r.Router, lab.Flow{Network: "tcp", To: server(i+1, 443, v6), TOS: 0x20})]++
		}
		if counts["virtua"] != 20 || counts["embratel"] != 10 {
			t.Errorf("the proxy's flows: %v, want 20:10", counts)
		}
		for _, c := range []struct {
			flow lab.Flow
			want string
		}{
			{lab.Flow{Network: "tcp"}, "embratel"},
			{lab.Flow{Network: "udp"}, "virtua"},
			{lab.Flow{Network: "tcp", From: r.ISP("virtua").Address(v6).Addr()}, "virtua"},
			{lab.Flow{Network: "tcp", From: r.ISP("virtua").Address(v6).Addr(), TOS: 0x20}, "virtua"},
			{lab.Flow{Network: "tcp", Device: "eth1"}, "virtua"},
			{lab.Flow{Network: "tcp", Device: "eth2"}, "embratel"},
			{lab.Flow{Network: "udp", Mark: 0x02000000}, "embratel"},
		} {
			c.flow.To = server(9, 443, v6)
			if got := r.ask(r.Router, c.flow); got != c.want {
				t.Errorf("%+v left through %s, want %s", c.flow, got, c.want)
			}
		}
	})
}
