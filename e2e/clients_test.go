// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/netip"
	"strings"
	"testing"

	"enlace/e2e/lab"
	"enlace/watch"
)

// dynamic are links that learn everything.
const dynamic = `
lan "office" { interface = "eth0" }
link "virtua" {
  health { hold = "0s" }
  interface = "eth1"
  table     = 20
}
link "embratel" {
  health { hold = "0s" }
  interface = "eth2"
  table     = 30
}
rule "v" {
  from = "10.1.0.50"
  via  = link.virtua
}
default { via = link.embratel }
`

// TestPain04_TwoDhclients: main takes only the first client's default route, so the second gateway is in its lease file and nowhere
// else. Both links work.
func TestPain04_TwoDhclients(t *testing.T) {
	t.Parallel()
	need(t, "dnsmasq")
	r := newRouter(t, lab.Virtua.OnlyV4().ByDHCP(), lab.Embratel.OnlyV4().ByDHCP())
	r.serveDHCP("virtua", "189.1.0.2", "189.1.0.1")
	r.serveDHCP("embratel", "200.252.10.2", "200.252.10.1")
	d := r.watch(dynamic)
	r.client("dhclient", "eth1")
	d.link("virtua", "up", "189.1.0.1")
	r.client("dhclient", "eth2")
	second := d.link("embratel", "up", "200.252.10.1")
	if !strings.HasPrefix(second.IPv4.Learned, "dhclient, ") {
		t.Errorf("embratel's gateway is known from %q, want dhclient's lease file", second.IPv4.Learned)
	}
	need(t, "ip")
	if defaults := r.routes("default"); len(defaults) != 1 || !strings.Contains(defaults[0], "eth1") {
		t.Errorf("main has %q, want one default route through eth1: otherwise this tests nothing", defaults)
	}
	r.expect("virtua", 50, server(1, 443, false))
	r.expect("embratel", 20, server(1, 443, false))
	r.unchanged()
}

// TestPain04_Renumbering: with each client, virtua gets another address and another gateway, then another gateway for the same address.
// Tables, rules and translation are right afterwards, new flows work, and embratel's flows lose nothing.
func TestPain04_Renumbering(t *testing.T) {
	for _, client := range []string{"dhclient", "udhcpc", "dhcpcd"} {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			need(t, "dnsmasq")
			r := newRouter(t, lab.Virtua.OnlyV4().ByDHCP(), lab.Embratel)
			server1 := r.serveDHCP("virtua", "189.1.0.2", "189.1.0.1")
			d := r.watch(strings.Replace(dynamic, `interface = "eth2"`, "interface = \"eth2\"\n  gateway = \"200.252.10.1\"", 1))
			c := r.client(client, "eth1")
			d.link("virtua", "up", "189.1.0.1")
			r.expect("virtua", 50, server(1, 443, false))
			steady, err := r.StreamUDP(r.LAN, lab.Flow{From: lab.Host(20, false), To: server(7, 443, false)}, 500)
			must(t, err)
			steady.Await(20)

			server1.stopServer()
			must(t, r.Renumber("virtua", netip.MustParsePrefix("177.9.0.0/24")))
			server2 := r.serveDHCP("virtua", "177.9.0.2", "177.9.0.1")
			r.moved(client, c)
			d.link("virtua", "up", "177.9.0.1")
			must(t, r.Settled("virtua"))
			r.expect("virtua", 50, server(2, 443, false))
			need(t, "ip")
			diff(t, []string{
				"default via 177.9.0.1 dev eth1 proto 225 src 177.9.0.2", "unreachable default proto 225 metric 4294967295",
				"177.9.0.0/24 dev eth1 proto 225 scope link src 177.9.0.2",
			},
				r.routes("table", "20"))

			// The same address, another gateway: one route message, and no flow touched.
			held, err := r.StreamUDP(r.LAN, lab.Flow{From: lab.Host(50, false), To: server(8, 443, false)}, 500)
			must(t, err)
			held.Await(20)
			must(t, r.ISP("virtua").AddAddress("customer", netip.MustParsePrefix("177.9.0.254/24")))
			server2.stopServer()
			r.serveDHCP("virtua", "177.9.0.2", "177.9.0.254")
			r.renew(client, c)
			d.link("virtua", "up", "177.9.0.254")
			s := d.status()
			if s.LastDone.Writes != 1 || s.LastDone.Changes != 1 {
				t.Errorf("the new gateway took %d writes for %d changes (%s), want one route message", s.LastDone.Writes, s.LastDone.Changes, s.LastDone.Reasons)
			}
			held.Await(50)
			r.unbroken("virtua's flow while its gateway changes", held.Stop())
			r.expect("virtua", 50, server(3, 443, false))
			steady.Await(50)
			r.unbroken("embratel's flow meanwhile", steady.Stop())
			r.unchanged()
		})
	}
}

// TestLeaseExpires: when the provider's server is silent until the lease ends, the address goes and the link is out of use; when
// it is back, so is the link.
func TestLeaseExpires(t *testing.T) {
	t.Parallel()
	need(t, "dnsmasq")
	r := newRouter(t, lab.Virtua.OnlyV4().ByDHCP(), lab.Embratel)
	server1 := r.serveDHCP("virtua", "189.1.0.2", "189.1.0.1")
	d := r.watch(links, balanced, `default { via = group.balanced }`)
	r.client("dhclient", "eth1")
	d.link("virtua", "up", "189.1.0.1")
	server1.stopServer()
	d.link("virtua", "incomplete", "")
	if counts := r.shares(50, 12, false); counts["embratel"] != 12 {
		t.Errorf("shares without virtua: %v, want all through embratel", counts)
	}
	r.serveDHCP("virtua", "189.1.0.2", "189.1.0.1")
	d.link("virtua", "up", "189.1.0.1")
	if counts := r.shares(50, 12, false); counts["virtua"] != 8 {
		t.Errorf("shares with virtua again: %v, want 8:4", counts)
	}
	r.unchanged()
	d.await("nothing to complain about", func(s *watch.Status) bool { return len(s.Problems) == 0 })
}
