// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/netip"
	"testing"

	"enlace/e2e/lab"
)

// TestPain02_FlowsByRule: the same failure moves the flow of a failover rule, leaves that of a keep rule where it is, and brings that of a
// failback rule back. Nobody else's flow is forgotten.
func TestPain02_FlowsByRule(t *testing.T) {
	for _, how := range []string{"carrier", "silent"} {
		t.Run(how, func(t *testing.T) {
			r := newRouter(t, lab.Virtua.OnlyV4(), lab.Embratel.OnlyV4())
			d := r.fresh(links, `
rule "moves" {
  from  = "10.1.0.20"
  via   = link.virtua
  flows = "failover"
}
rule "stays" {
  from  = "10.1.0.50"
  via   = link.virtua
  flows = "keep"
}
rule "returns" {
  from  = "10.1.0.100"
  via   = link.virtua
  flows = "failback"
}
default { via = link.embratel }`)
			d.link("virtua", "up", "")
			open := func(host int) *lab.Stream {
				s, err := r.StreamUDP(r.LAN, lab.Flow{From: lab.Host(host, false), To: server(1, 443, false)}, 200)
				must(t, err)
				s.Await(20)
				return s
			}
			r.deafServers()
			moves, stays, returns, other := open(20), open(50), open(100), open(101)
			if how == "carrier" {
				must(t, r.ISP("virtua").Unplug())
			} else {
				must(t, r.ISP("virtua").Lose(100))
			}
			d.link("virtua", "down", "")
			moves.AwaitVia("embratel", 20)
			returns.AwaitVia("embratel", 20)
			guest := r.chatter(lab.Flow{Network: "tcp", From: lab.Host(100, false), To: server(8, 443, false)})
			if how == "carrier" {
				must(t, r.ISP("virtua").PlugIn())
			} else {
				must(t, r.ISP("virtua").Lose(0))
			}
			d.link("virtua", "up", "")
			guest.broken() // it belongs elsewhere
			stays.Await(20)
			returns.AwaitVia("virtua", 100)
			moves.Await(100)
			a, b, c := moves.Stop(), stays.Stop(), returns.Stop()
			t.Logf("failover %v (%d lost), keep %v (%d lost), failback %v (%d lost)", a.Links, a.Lost, b.Links, b.Lost, c.Links, c.Lost)
			if a.Links["embratel"] < 100 {
				t.Errorf("the flow that fails over: %v", a.Links)
			}
			if b.Links["embratel"] != 0 || b.Links["virtua"] < 40 {
				t.Errorf("the flow that stays: %v", b.Links)
			}
			if last := c.Links["virtua"]; c.Links["embratel"] < 20 || last < 100 {
				t.Errorf("the flow that fails back: %v", c.Links)
			}
			r.unbroken("a flow of the other link", other.Stop())
		})
	}
}

// TestDrain: a drained link gets no new flows and keeps those that it has, unless it is drained now; it is drained still after a restart of
// the daemon, and its forwards still answer.
func TestDrain(t *testing.T) {
	r := newRouter(t)
	must(t, r.ServeIn(r.LAN, 8080))
	const rest = `
default { via = group.balanced }
forward "web" {
  link     = link.virtua
  protocol = ["tcp", "udp"]
  port     = 80
  to       = "10.1.0.20:8080"
}
`
	d := r.fresh(links, balanced, rest)
	d.link("virtua", "up", "")
	flow := r.heldBy("virtua")
	drain := func(args ...string) {
		t.Helper()
		if out, status := r.enlace(args...); status != 0 {
			t.Fatalf("enlace %v: exit %d\n%s", args, status, out)
		}
	}
	drain("drain", "virtua")
	d.link("virtua", "drained", "")
	r.wantShares("drained", map[string]int{"embratel": 20})
	flow.Await(50)
	if !flow.On("virtua") {
		t.Error("the flow of the drained link has moved")
	}
	if _, err := r.Internet.Ask(lab.Flow{Network: "tcp", From: lab.Remote(9, false), To: netip.AddrPortFrom(r.ISP("virtua").Address(false).Addr(), 80)}); err != nil {
		t.Errorf("a forward of the drained link: %v", err)
	}
	d.stop()
	d = r.watch(links, balanced, rest)
	d.link("virtua", "drained", "")
	r.settled()
	drain("drain", "--now", "virtua")
	for _, network := range []string{"tcp", "udp"} {
		if !r.inbound(network, "virtua", 80, lab.Remote(9, false)) {
			t.Errorf("a forward of the link that is drained now does not answer over %s", network)
		}
	}
	flow.AwaitVia("embratel", 20)
	if result := flow.Stop(); result.Links["embratel"] < 20 {
		t.Errorf("drained now, the flow stays: %v", result.Links)
	}
	drain("undrain", "virtua")
	d.link("virtua", "up", "")
	if counts := r.shares(50, 30, false); counts["virtua"] != 20 {
		t.Errorf("shares %v after undrain, want 20:10", counts)
	}
	if out, status := r.enlace("drain", "virtau"); status != 1 {
		t.Errorf("drain of a link that is not there: exit %d\n%s", status, out)
	}
	d.stop()
	drain("drain", "--policy", r.root+"/policy.hcl", "embratel") // without a daemon
	r.wantShares("drained by hand", map[string]int{"virtua": 20})
}
