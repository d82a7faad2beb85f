// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"enlace/e2e/lab"
)

// TestPain13_ReapplyUnderTraffic changes weights, pins and forwards 300 times while flows go on: none of their packets is lost
// or leaves through another link, and whatever is opened meanwhile works.
func TestPain13_ReapplyUnderTraffic(t *testing.T) {
	const applies, udpFlows, tcpFlows, perSecond = 300, 20, 4, 50
	r := newRouter(t)
	must(t, r.ServeIn(r.LAN, 80))
	r.apply(changing(0))
	streams := map[string]*lab.Stream{}
	for i := range udpFlows {
		host, v6 := []int{20, 50, 100, 101}[i%4], i%5 == 0
		s, err := r.StreamUDP(r.LAN, lab.Flow{From: lab.Host(host, v6), To: server(i+1, 443, v6)}, perSecond)
		must(t, err)
		streams[fmt.Sprintf("udp flow %d", i)] = s
	}
	for i := range tcpFlows {
		s, err := r.StreamTCP(r.LAN, lab.Flow{From: lab.Host(100, false), To: server(100+i, 80, false)})
		must(t, err)
		streams[fmt.Sprintf("download %d", i)] = s
	}
	newcomers := r.openFlows()
	began := time.Now()
	for i := 1; i <= applies; i++ {
		if out, status := r.enlace("apply", r.write(changing(i))); status != 0 {
			t.Fatalf("apply %d: exit %d\n%s", i, status, out)
		}
	}
	took := time.Since(began)
	opened, failed := newcomers()
	sent := 0
	for name, s := range streams {
		got := s.Stop()
		sent += got.Sent
		r.unbroken(name, got)
	}
	t.Logf("%d applies in %v; %d packets and chunks in %d flows; %d new flows, %d failed", applies, took.Round(time.Millisecond), sent, len(streams), opened, failed)
	if failed != 0 || opened < applies/2 {
		t.Errorf("%d of %d new flows failed, want 0 of many", failed, opened)
	}
	r.unchanged()
}

// changing is the policy of round i: other weights, pins (to destinations of living flows, too), forwards and ways to choose.
func changing(i int) string {
	var b strings.Builder
	b.WriteString(links)
	fmt.Fprintf(&b, "group \"balanced\" {\n  table = 40\n  member \"virtua\" { weight = %d }\n  member \"embratel\" { weight = %d }\n}\n", i%4+1, i%3+1)
	for pin := range i % 6 {
		link := []string{"virtua", "embratel"}[(i+pin)%2]
		n := (i+pin*7)%24 + 1
		fmt.Fprintf(&b, "rule \"pin%d\" {\n  to  = [%q, %q]\n  via = link.%s\n}\n", pin, lab.Remote(n, false), lab.Remote(n, true), link)
	}
	if i%2 == 0 {
		b.WriteString(web)
	}
	if i%3 == 0 {
		b.WriteString("rule \"some\" {\n  from = lan.office\n  to   = \"198.51.100.0/25\"\n  via  = link.embratel\n}\n")
	}
	b.WriteString("default { via = group.balanced }\n")
	return b.String()
}

// openFlows opens flows one after the other until the returned function is called, which says how many there were, and how
// many failed.
func (r *router) openFlows() (stop func() (opened, failed int)) {
	var quit atomic.Bool
	done := make(chan [2]int)
	go func() {
		opened, failed := 0, 0
		for ; !quit.Load(); opened++ {
			f := lab.Flow{Network: []string{"tcp", "udp"}[opened%2], From: lab.Host(257, opened%3 == 0), To: server(opened%20+1, 443, opened%3 == 0)}
			if seen, err := r.LAN.Ask(f); err != nil || r.LinkOf(seen) == "" {
				failed++
				r.t.Logf("new %s flow to %s: seen as %v, %v", f.Network, f.To, seen, err)
			}
		}
		done <- [2]int{opened, failed}
	}()
	return func() (int, int) {
		quit.Store(true)
		n := <-done
		return n[0], n[1]
	}
}
