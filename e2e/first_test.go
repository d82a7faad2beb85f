// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"testing"

	"enlace/e2e/lab"
)

// TestFirstApply: flows that are under way when enlace is applied for the first time are translated from then on, and none of their
// packets leaves with an address of the inside. The router does not forward before, or it does and loses them to the provider.
func TestFirstApply(t *testing.T) {
	for _, forwards := range []bool{false, true} {
		t.Run(fmt.Sprintf("forwarding before %v", forwards), func(t *testing.T) {
			o, err := lab.NewOffice([]int{50, 100}, lab.Virtua, lab.Embratel)
			must(t, err)
			t.Cleanup(func() { must(t, o.Close()) })
			r := &router{Office: o, t: t, root: t.TempDir()}
			must(t, o.Serve(443))
			need(t, "nft")
			// Another program's table makes the kernel track flows before enlace does.
			r.lines("nft", "add table inet other")
			r.lines("nft", "add chain inet other c { type filter hook prerouting priority 0; }")
			r.lines("nft", "add rule inet other c ct state established counter")
			if forwards {
				must(t, r.Router.Sysctl("ipv4/ip_forward", "1"))
			}
			var streams []*lab.Stream
			for i := range 5 {
				s, err := r.StreamUDP(r.LAN, lab.Flow{From: lab.Host(50, false), To: server(i+1, 443, false)}, 200)
				must(t, err)
				s.AwaitSent(5)
				streams = append(streams, s)
			}
			before, err := o.Foreign()
			must(t, err)
			r.apply(links, balanced, `default { via = group.balanced }`)
			for i, s := range streams {
				s.Await(20)
				if got := s.Stop(); len(got.Links) != 1 {
					t.Errorf("flow %d: %d of %d lost, links %v; want it to work through one link", i, got.Lost, got.Sent, got.Links)
				}
			}
			after, err := o.Foreign()
			must(t, err)
			if !forwards && after != 0 {
				t.Errorf("%d packets left untranslated, want 0", after)
			}
			if forwards && before == 0 {
				t.Error("nothing left untranslated before: the test tests nothing")
			}
			again := r.shares(100, 30, false)
			last, err := o.Foreign()
			must(t, err)
			if last != after || again["virtua"] != 20 {
				t.Errorf("afterwards: %d more untranslated packets, shares %v", last-after, again)
			}
		})
	}
}
