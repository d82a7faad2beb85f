// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"net/netip"
	"sync"
	"time"

	"enlace/e2e/lab"
)

// knocker opens new flows from two hosts all the time, whatever the router does, and remembers how those that were answered had left.
type knocker struct {
	office *office
	stop   chan struct{}
	once   sync.Once
	done   sync.WaitGroup

	mu      sync.Mutex
	sent    int
	astray  map[string]int // flows of the pinned host, by another link than its own
	links   map[string]int // of the balanced host
	answers int
}

// knock starts it. Each flow is one UDP packet from a new port; ten a second of each host.
func (o *office) knock() *knocker {
	k := &knocker{office: o, stop: make(chan struct{}), astray: map[string]int{}, links: map[string]int{}}
	o.t.Cleanup(k.quiet)
	for _, host := range []int{balanced, pinned} {
		k.done.Add(1)
		go func() {
			defer k.done.Done()
			for n := 0; ; n++ {
				select {
				case <-k.stop:
					return
				case <-time.After(100 * time.Millisecond):
					k.done.Add(1)
					go k.one(host, n)
				}
			}
		}()
	}
	return k
}

func (k *knocker) one(host, n int) {
	defer k.done.Done()
	to := netip.AddrPortFrom(lab.Remote(n%250+1, false), 443)
	k.mu.Lock()
	k.sent++
	k.mu.Unlock()
	seen, err := k.office.LAN.Ask(lab.Flow{Network: "udp", From: lab.Host(host, false), To: to, Wait: 2 * time.Second})
	if err != nil {
		return
	}
	link := k.office.LinkOf(seen)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.answers++
	if host == pinned && link != "embratel" {
		k.astray[link]++
	} else if host == balanced {
		k.links[link]++
	}
}

// quiet stops it.
func (k *knocker) quiet() {
	k.once.Do(func() { close(k.stop) })
	k.done.Wait()
}

// end stops it. No flow of the pinned host may have left through another link.
func (k *knocker) end() {
	k.office.t.Helper()
	k.quiet()
	if k.answers == 0 {
		k.office.t.Error("no new flow was answered")
	}
	if len(k.astray) > 0 {
		k.office.t.Errorf("flows of the pinned host left through %v, want embratel only", k.astray)
	}
	k.office.t.Logf("%d new flows while the machine booted: %d answered, those of the balanced host through %v", k.sent, k.answers, k.links)
}
