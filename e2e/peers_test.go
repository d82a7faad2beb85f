// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"enlace/e2e/lab"
)

// peer is a program on a router that is compared with another.
type peer interface {
	office() *router
	reload()             // with a change of its configuration that changes nothing
	gateway(addr string) // what a person has to do when virtua's gateway is another
}

// mine is the program under test.
type mine struct {
	*daemon
	round int
}

func newMine(b *testing.B) peer {
	r := newRouter(b, lab.Virtua.OnlyV4(), lab.Embratel.OnlyV4())
	d := r.fresh(peerPolicy)
	d.link("virtua", "up", "")
	d.link("embratel", "up", "")
	return &mine{daemon: d}
}

// peerPolicy is what the peers are configured to do, in enlace's language, with no word about health.
const peerPolicy = `
lan "office" { interface = "eth0" }
link "virtua" { interface = "eth1" }
link "embratel" {
  interface = "eth2"
  gateway   = "200.252.10.1"
}
group "balanced" {
  member "virtua" { weight = 2 }
  member "embratel" {}
}
forward "web" {
  link     = [link.virtua, link.embratel]
  protocol = "tcp"
  port     = 80
  to       = "10.1.0.20"
}
default { via = group.balanced }
`

func (m *mine) office() *router { return m.router }
func (m *mine) gateway(string)  {} // it follows
func (m *mine) reload() {
	m.t.Helper()
	m.round++
	file := m.write(peerPolicy, fmt.Sprintf("# change %d", m.round))
	if out, status := m.enlace("apply", file); status != 0 {
		m.t.Fatalf("apply: exit %d\n%s", status, out)
	}
}

func (s *shorewall) office() *router { return s.router }
func (s *shorewall) reload()         { s.shorewall("reload -c") }
func (s *shorewall) gateway(addr string) {
	s.configure(addr)
	s.shorewall("reload -c")
}

// watched is for how long a failure is looked at. What has not healed by then does not heal by itself.
const watched = 8 * time.Second

// BenchmarkPeers compares the program with Debian's Shorewall, each on a router of its own, in turns: what a reload costs, how long after a
// failure new flows succeed again, and what becomes of the flows that there were.
func BenchmarkPeers(b *testing.B) {
	for b.Loop() {
		for name, start := range map[string]func(*testing.B) peer{"enlace": newMine, "shorewall": func(b *testing.B) peer { return newShorewall(b) }} {
			for what, measure := range map[string]func(peer) string{
				"reload": reloadCost, "carrier": carrierCost, "silence": silenceCost, "renumbering": renumberingCost,
			} {
				p := start(b)
				b.Logf("%s, %s: %s", what, name, measure(p))
			}
		}
	}
	b.ReportMetric(0, "ns/op")
}

// onBoth starts a flow that each link carries.
func onBoth(p peer) (virtua, embratel *lab.Stream) {
	r := p.office()
	return r.heldBy("virtua"), r.heldBy("embratel")
}

// reloadCost reloads five times under two flows of 500 packets a second and a new flow every 5 ms.
func reloadCost(p peer) string {
	a, b := onBoth(p)
	flows := p.office().trickle()
	took := time.Duration(0)
	for range 5 {
		began := time.Now()
		p.reload()
		took += time.Since(began)
		time.Sleep(200 * time.Millisecond)
	}
	failed, all := flows.stop().failures()
	return fmt.Sprintf("%v each; 5 reloads lost %d + %d packets of two flows, %d of %d new flows failed", (took / 5).Round(time.Millisecond), a.Stop().Lost, b.Stop().Lost, failed, all)
}

// carrierCost pulls the cable of virtua.
func carrierCost(p peer) string {
	return failureCost(p, func() error { return p.office().ISP("virtua").Unplug() })
}

// silenceCost lets virtua's provider drop everything.
func silenceCost(p peer) string {
	return failureCost(p, func() error { return p.office().ISP("virtua").Lose(100) })
}

func failureCost(p peer, fail func() error) string {
	r := p.office()
	a, b := onBoth(p)
	tcp := r.chatterVia("virtua")
	flows := r.trickle()
	began := time.Now()
	must(r.t, fail())
	time.Sleep(watched)
	return healing(flows.stop(), began) + oldFlows(a, b, tcp, began)
}

// renumberingCost gives virtua another network, as its DHCP would, and, where the program does not follow, does by hand what it needs.
func renumberingCost(p peer) string {
	r := p.office()
	a, b := onBoth(p)
	tcp := r.chatterVia("virtua")
	flows := r.trickle()
	began := time.Now()
	must(r.t, r.Renumber("virtua", netip.MustParsePrefix("189.77.0.0/24")))
	time.Sleep(watched)
	text := healing(flows.stop(), began) + oldFlows(a, b, tcp, began)
	if _, isMine := p.(*mine); !isMine {
		began = time.Now()
		p.gateway("189.77.0.1")
		text += fmt.Sprintf("; by hand %v", time.Since(began).Round(time.Millisecond))
	}
	counts := r.shares(50, 90, false)
	return text + fmt.Sprintf("; shares in the end %d:%d", counts["virtua"], counts["embratel"])
}

// failures are how many of the flows failed.
func (k *trickle) failures() (failed, all int) {
	for _, a := range k.all {
		if a.err != nil {
			failed++
		}
	}
	return failed, len(k.all)
}

// healing says when new flows succeeded again.
func healing(k *trickle, began time.Time) string {
	failed, all := k.failures()
	last := k.lastFailed().Sub(began)
	switch {
	case failed == 0:
		return fmt.Sprintf("no new flow of %d failed", all)
	case last > watched-time.Second:
		return fmt.Sprintf("never heals: %d of %d new flows failed in %v", failed, all, watched)
	}
	return fmt.Sprintf("new flows succeed after %v, %d of %d failed", last.Round(time.Millisecond), failed, all)
}

// oldFlows says what became of flows that there were.
func oldFlows(a, b *lab.Stream, tcp *chatter, began time.Time) string {
	ra, rb := a.Stop(), b.Stop()
	moved := "its flow lost all that followed"
	if ra.Links["embratel"] > 0 {
		moved = fmt.Sprintf("its flow went on by the other link, %d packets lost", ra.Lost)
	} else if ra.Lost < ra.Sent/2 {
		moved = fmt.Sprintf("its flow went on, %d packets lost", ra.Lost)
	}
	reset := "TCP hangs"
	select {
	case err := <-tcp.end:
		reset = fmt.Sprintf("TCP ended after %v (%v)", tcp.at.Sub(began).Round(time.Millisecond), errors.Unwrap(err))
	default:
	}
	return fmt.Sprintf("; %s; %s; the other link's flow lost %d of %d", moved, reset, rb.Lost, rb.Sent)
}

// chatterVia is a chatter over a link.
func (r *router) chatterVia(link string) *chatter {
	r.t.Helper()
	for n := 1; n < 40; n++ {
		flow := lab.Flow{Network: "tcp", From: lab.Host(101, false), To: server(100+n, 443, false)}
		if k, seen := r.chatterSeen(flow); r.LinkOf(seen) == link {
			return k
		}
	}
	r.t.Fatal(errors.New("no connection came to " + link))
	return nil
}
