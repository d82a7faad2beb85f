// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"enlace/e2e/lab"
)

// three is the beginning of policies with three links.
const three = links + `
link "vivo" {
  interface = "eth3"
  gateway   = ["177.3.0.1", "2001:db8:177::1"]
  health { hold = "0s" }
}
`

// TestPain19_BySource: two thousand hosts are divided among three links by their addresses. When one link dies, only its hosts move, and they
// return to it; the shares are those of the weights all the time.
func TestPain19_BySource(t *testing.T) {
	r := newRouter(t, lab.Virtua.OnlyV4(), lab.Embratel.OnlyV4(), lab.Vivo.OnlyV4())
	inner := netip.MustParsePrefix("10.1.128.0/17")
	must(t, r.Behind(inner, 50))
	d := r.fresh(three, `
group "every" {
  by = "source"
  member "virtua"   { weight = 3 }
  member "embratel" { weight = 2 }
  member "vivo"     { weight = 1 }
}
default { via = group.every }`)
	for _, l := range []string{"virtua", "embratel", "vivo"} {
		d.link(l, "up", "")
	}
	clients := make([]netip.Addr, 2000)
	for i, a := 0, inner.Addr().Next(); i < len(clients); i, a = i+1, a.Next() {
		clients[i] = a
	}
	home := r.linksOf(clients)
	sharesWithin(t, home, map[string]int{"virtua": 3, "embratel": 2, "vivo": 1})
	for _, dies := range []string{"virtua", "embratel", "vivo"} {
		must(t, r.ISP(dies).Unplug())
		d.link(dies, "down", "")
		now := r.linksOf(clients)
		weights := map[string]int{"virtua": 3, "embratel": 2, "vivo": 1}
		delete(weights, dies)
		sharesWithin(t, now, weights)
		for i, a := range clients {
			if home[i] != dies && now[i] != home[i] {
				t.Fatalf("%s died, and %s moved from %s to %s", dies, a, home[i], now[i])
			}
		}
		must(t, r.ISP(dies).PlugIn())
		d.link(dies, "up", "")
		for i, link := range r.linksOf(clients) {
			if link != home[i] {
				t.Fatalf("%s is back, and %s is on %s instead of %s", dies, clients[i], link, home[i])
			}
		}
	}
}

// linksOf opens a flow from each client, to the same server, and returns the links that they left by.
func (r *router) linksOf(clients []netip.Addr) []string {
	r.t.Helper()
	flows := make([]lab.Flow, len(clients))
	for i, a := range clients {
		flows[i] = lab.Flow{Network: "udp", From: a, To: server(1, 443, false)}
	}
	seen, err := r.LAN.AskAll(flows)
	must(r.t, err)
	out := make([]string, len(seen))
	for i, a := range seen {
		out[i] = r.LinkOf(a)
	}
	return out
}

// sharesWithin tests that the shares are those of the weights, within two points.
func sharesWithin(t *testing.T, links []string, weights map[string]int) {
	t.Helper()
	counts, total := map[string]int{}, 0
	for _, l := range links {
		counts[l]++
	}
	for _, w := range weights {
		total += w
	}
	for l, w := range weights {
		got, want := 100*float64(counts[l])/float64(len(links)), 100*float64(w)/float64(total)
		if math.Abs(got-want) > 2 {
			t.Errorf("%s has %.1f %% of the hosts, want %.1f", l, got, want)
		}
	}
	t.Logf("shares %v of %d", counts, len(links))
}

// TestPain19_BySourceAndDestination: all flows between two hosts use one link, and the pairs all.
func TestPain19_BySourceAndDestination(t *testing.T) {
	r := newRouter(t)
	r.apply(links, `
group "both" {
  by = "source+destination"
  member "virtua"   {}
  member "embratel" {}
}
default { via = group.both }`)
	both(t, func(t *testing.T, v6 bool) {
		counts := map[string]int{}
		for n := range 200 {
			link := r.ask(r.LAN, lab.Flow{Network: "tcp", From: lab.Host(50, v6), To: server(n+1, 443, v6)})
			for range 2 {
				if again := r.ask(r.LAN, lab.Flow{Network: "tcp", From: lab.Host(50, v6), To: server(n+1, 25, v6)}); again != link {
					t.Errorf("two flows to server %d left by %s and %s", n+1, link, again)
				}
			}
			counts[link]++
		}
		if counts["virtua"] < 70 || counts["embratel"] < 70 {
			t.Errorf("200 pairs: %v, want about half each", counts)
		}
	})
}

// TestPain03_TwoFailAtOnce: two links fail within 10 ms, and the standby takes over; they return in the other order. What is used is what the
// tiers say, and flows that moved do not flip back by themselves.
func TestPain03_TwoFailAtOnce(t *testing.T) {
	r := newRouter(t, lab.Virtua.OnlyV4(), lab.Embratel.OnlyV4(), lab.Vivo.OnlyV4())
	d := r.fresh(three, `
group "every" {
  member "virtua"   {}
  member "embratel" {}
  member "vivo"     { tier = 2 }
}
default { via = group.every }`)
	for _, l := range []string{"virtua", "embratel", "vivo"} {
		d.link(l, "up", "")
	}
	r.wantShares("both up", map[string]int{"virtua": 10, "embratel": 10})
	flow := r.heldBy("virtua")
	began := time.Now()
	must(t, r.ISP("virtua").Unplug())
	must(t, r.ISP("embratel").Unplug())
	apart := time.Since(began)
	flow.AwaitVia("vivo", 10)
	d.link("virtua", "down", "")
	d.link("embratel", "down", "")
	r.wantShares("both down", map[string]int{"vivo": 20})
	must(t, r.ISP("embratel").PlugIn())
	d.link("embratel", "up", "")
	r.wantShares("embratel back", map[string]int{"embratel": 20})
	must(t, r.ISP("virtua").PlugIn())
	d.link("virtua", "up", "")
	r.wantShares("virtua back", map[string]int{"virtua": 10, "embratel": 10})
	flow.AwaitVia("vivo", 600)
	result := flow.Stop()
	t.Logf("they failed %v apart; the flow: %v, %d lost", apart, result.Links, result.Lost)
	if result.Links["embratel"] > 5 || result.Links["vivo"] < 500 || result.Lost > 30 {
		t.Errorf("the flow that moved: %v, %d lost", result.Links, result.Lost)
	}
	if apart > 10*time.Millisecond {
		t.Errorf("the links failed %v apart, want 10 ms at most", apart)
	}
}

// wantShares opens twenty flows and wants them to leave as they should.
func (r *router) wantShares(when string, want map[string]int) {
	r.t.Helper()
	counts := r.shares(50, 20, false)
	for link, n := range want {
		if counts[link] != n {
			r.t.Errorf("%s: shares %v, want %v", when, counts, want)
		}
	}
}
