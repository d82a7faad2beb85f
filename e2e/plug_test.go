// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"

	"enlace/e2e/lab"
)

// TestPain18_LinkComesAndGoes: unplugged and plugged, switched off and on, deleted and made again: each time tables, rules and
// translation are right afterwards, and the other link's flow loses nothing.
func TestPain18_LinkComesAndGoes(t *testing.T) {
	r := newRouter(t)
	d := r.watch(links, balanced, `default { via = group.balanced }`)
	steady := r.heldBy("embratel")
	for _, c := range []struct {
		what  string
		away  func() error
		state string
		back  func() error
	}{
		{"unplugged", r.ISP("virtua").Unplug, "down", r.ISP("virtua").PlugIn},
		{"switched off", func() error { return r.Router.Down("eth1") }, "down", func() error { return r.switchOn("virtua") }},
		{"deleted", func() error { return r.Router.Remove("eth1") }, "absent", func() error { return r.Plug("virtua") }},
	} {
		for range 2 {
			must(t, c.away())
			d.link("virtua", c.state, "")
			if counts := r.shares(50, 12, false); counts["embratel"] != 12 {
				t.Errorf("virtua %s: shares %v, want all through embratel", c.what, counts)
			}
			r.settled()
			must(t, c.back())
			d.link("virtua", "up", "189.1.0.1")
			d.awaitIdle() // IPv6 comes a moment later
			if counts := r.shares(50, 12, false); counts["virtua"] != 8 {
				t.Errorf("virtua back after %s: shares %v, want 8:4", c.what, counts)
			}
			if counts := r.shares(50, 12, true); counts["virtua"] != 8 {
				t.Errorf("virtua back after %s: IPv6 shares %v, want 8:4", c.what, counts)
			}
			r.unchanged()
		}
	}
	steady.Await(30)
	r.unbroken("embratel's flow meanwhile", steady.Stop())
}

// heldBy starts a UDP flow that a link carries.
func (r *router) heldBy(link string) *lab.Stream {
	r.t.Helper()
	for n := 1; n < 20; n++ {
		s, err := r.StreamUDP(r.LAN, lab.Flow{From: lab.Host(20, false), To: server(n, 443, false)}, 500)
		must(r.t, err)
		s.Await(10)
		if s.On(link) {
			return s
		}
		s.Stop()
	}
	r.t.Fatalf("no flow came to %s", link)
	return nil
}

// switchOn switches a link's interface on again, and sets what the kernel forgot: IPv6 addresses and default routes.
func (r *router) switchOn(link string) error {
	i := r.ISP(link)
	if err := r.Router.Up(i.Interface); err != nil {
		return err
	}
	return r.Restore(link)
}
