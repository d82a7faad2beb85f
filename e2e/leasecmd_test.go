// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"

	"enlace/e2e/lab"
)

// TestLease: `enlace lease` tells a gateway; it counts for the address that it names, and until it ends.
func TestLease(t *testing.T) {
	t.Parallel()
	quiet := lab.Virtua.OnlyV4()
	quiet.Default = false // nobody says what virtua's gateway is
	r := newRouter(t, quiet, lab.Embratel.OnlyV4())
	d := r.watch(dynamic)
	d.link("virtua", "incomplete", "")
	lease := func(args ...string) {
		t.Helper()
		if out, status := r.enlace(append([]string{"lease"}, args...)...); status != 0 || out != "" {
			t.Fatalf("enlace lease %v: exit %d\n%s", args, status, out)
		}
	}
	lease("set", "--interface", "eth1", "--gateway", "189.1.0.1")
	d.link("virtua", "up", "189.1.0.1")
	r.expect("virtua", 50, server(1, 443, false))
	lease("clear", "--interface", "eth1")
	d.link("virtua", "incomplete", "")
	lease("set", "--interface", "eth1", "--gateway", "189.1.0.1", "--address", "189.1.0.2/24", "--lifetime", "2")
	d.link("virtua", "up", "189.1.0.1")
	d.link("virtua", "incomplete", "") // by itself
	lease("set", "--interface", "eth2", "--gateway", "200.252.10.1", "--address", "200.252.10.77")
	lease("set", "--interface", "eth1", "--gateway", "189.1.0.2,189.1.0.1") // the first is the router itself
	d.link("virtua", "up", "189.1.0.1")
	d.link("embratel", "incomplete", "") // has another address
	for _, args := range [][]string{
		{"set", "--interface", "eth1"},
		{"set", "--interface", "eth1", "--gateway", "nobody"},
		{"set", "--interface", "eth1", "--gateway", "1.2.3.4", "--address", "x"},
		{"set", "--interface", "eth1", "--gateway", "1.2.3.4", "--lifetime", "-3s"},
		{"set", "--interface", "../etc", "--gateway", "1.2.3.4"},
		{"set", "--interface", "eth1", "--gateway", "1.2.3.4", "--lifetime", "soon"},
		{"set", "--gateway", "1.2.3.4"},
		{"sett", "--interface", "eth1", "--gateway", "1.2.3.4"},
		{"--interface", "eth1"},
		{"clear"},
	} {
		if out, status := r.enlace(append([]string{"lease"}, args...)...); status != 1 || !strings.HasPrefix(out, "enlace: ") {
			t.Errorf("enlace lease %v: exit %d\n%s", args, status, out)
		}
	}
}
