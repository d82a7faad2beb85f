// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"flag"
	"slices"
	"testing"
	"time"

	"enlace/e2e/lab"
)

// long makes tests run as often, and for as long, as their figures in BENCHMARKS.md were taken.
var long = flag.Bool("long", false, "run tests of failures as often, and for as long, as BENCHMARKS.md says")

// times is how often, or for how long, something is done: less without -long.
func times[T int | time.Duration](short, whole T) T {
	if *long {
		return whole
	}
	return short
}

// plain is a policy without any word about health: two links and a group of both.
const plain = `
lan "office" { interface = "eth0" }
link "virtua" { interface = "eth1" }
link "embratel" {
  interface = "eth2"
  gateway   = ["200.252.10.1", "2001:db8:200::1"]
}
group "balanced" {
  member "virtua" {}
  member "embratel" {}
}
default { via = group.balanced }
`

// TestPain10_SilentDeath: a provider drops everything, and its carrier stays. With the settings that nobody has touched, new flows of hosts
// and of the router itself use the other link within a second.
func TestPain10_SilentDeath(t *testing.T) {
	r := newRouter(t, lab.Virtua.OnlyV4(), lab.Embratel.OnlyV4())
	var took []time.Duration
	for run := range times(6, 50) {
		d := r.fresh(plain)
		d.link("virtua", "up", "")
		d.link("embratel", "up", "")
		time.Sleep(time.Duration(run*37%50) * 10 * time.Millisecond) // at any moment between two probes
		dies := []string{"virtua", "embratel"}[run%2]
		flows := r.trickle()
		died := time.Now()
		must(t, r.ISP(dies).Lose(100))
		d.link(dies, "down", "")
		for n := range 4 { // the router's own, as its resolver's
			if link := r.ask(r.Router, lab.Flow{Network: "udp", To: server(n+1, 443, false)}); link == dies {
				t.Errorf("the router's own flow left by %s, which is dead", link)
			}
		}
		time.Sleep(200 * time.Millisecond)
		k := flows.stop()
		took = append(took, k.lastFailed().Sub(died))
		must(t, r.ISP(dies).Lose(0))
		d.stop()
	}
	slices.Sort(took)
	p95 := took[len(took)*95/100]
	t.Logf("%d silent deaths: new flows succeed after %v (median), %v (95 %%), %v (last)", len(took), took[len(took)/2], p95, took[len(took)-1])
	if p95 > time.Second {
		t.Errorf("new flows succeed after %v, want a second at most", p95)
	}
}

// fresh starts a daemon that knows nothing of an earlier one.
func (r *router) fresh(policy ...string) *daemon {
	r.t.Helper()
	r.forget()
	return r.watch(policy...)
}

// trickle opens a new flow every now and then.
type trickle struct {
	r       *router
	halt    chan struct{}
	results chan attempt
	ended   chan struct{}
	all     []attempt
}

type attempt struct {
	began time.Time
	err   error
}

// trickle starts a UDP flow from a host every 5 ms.
func (r *router) trickle() *trickle {
	k := &trickle{r: r, halt: make(chan struct{}), results: make(chan attempt, 1000), ended: make(chan struct{})}
	go func() {
		defer close(k.ended)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		open := 0
		for n := 0; ; n++ {
			select {
			case <-k.halt:
				for ; open > 0; open-- {
					k.all = append(k.all, <-k.results)
				}
				return
			case a := <-k.results:
				k.all = append(k.all, a)
				open--
			case now := <-tick.C:
				open++
				go func() {
					_, err := r.LAN.Ask(lab.Flow{Network: "udp", From: lab.Host(50, false), To: server(n%250+1, 443, false), Wait: 150 * time.Millisecond})
					k.results <- attempt{now, err}
				}()
			}
		}
	}()
	return k
}

func (k *trickle) stop() *trickle {
	close(k.halt)
	<-k.ended
	return k
}

// lastFailed is when the last flow began that failed.
func (k *trickle) lastFailed() (last time.Time) {
	for _, a := range k.all {
		if a.err != nil && a.began.After(last) {
			last = a.began
		}
	}
	return last
}
