// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"enlace/e2e/lab"
)

// Every line of the seed's two scripts has a test here, on real packets.

func TestSeedNamedTables(t *testing.T) { // 1: 20 VIRTUA, 30 EMBRATEL, 40 BALANCEAMENTO
	r := newRouter(t)
	r.apply(links, balanced)
	b, err := os.ReadFile(filepath.Join(r.root, "etc/iproute2/rt_tables.d/enlace.conf"))
	must(t, err)
	for _, line := range []string{"20\tvirtua", "30\tembratel", "40\tbalanced"} {
		if !strings.Contains(string(b), line+"\n") {
			t.Errorf("table names lack %q:\n%s", line, b)
		}
	}
}

func TestSeedLinkTable(t *testing.T) { // 2.1, 2.2: connected network, src, default
	r := newRouter(t)
	r.apply(links)
	got := r.routes("table", "20")
	want := []string{
		"default via 189.1.0.1 dev eth1 proto 225 src 189.1.0.2",
		"unreachable default proto 225 metric 4294967295",
		"189.1.0.0/24 dev eth1 proto 225 scope link src 189.1.0.2",
	}
	diff(t, want, got)
	diff(t, []string{
		"default via 200.252.10.1 dev eth2 proto 225 src 200.252.10.2",
		"unreachable default proto 225 metric 4294967295",
		"200.252.10.0/24 dev eth2 proto 225 scope link src 200.252.10.2",
	}, r.routes("table", "30"))
}

func TestSeedMultipathTable(t *testing.T) { // 2.3: the weighted multipath table, its choice made by the kernel
	r := newRouter(t)
	r.apply(links, strings.Replace(balanced, "table = 40", "table = 40\n  by = \"route\"", 1), `rule "all" {
  from = lan.office
  via  = group.balanced
}`)
	diff(t, []string{
		"default proto 225",
		"nexthop via 189.1.0.1 dev eth1 weight 2",
		"nexthop via 200.252.10.1 dev eth2 weight 1",
		"unreachable default proto 225 metric 4294967295",
	}, r.routes("table", "40"))
	both(t, func(t *testing.T, v6 bool) {
		counts := r.shares(100, 600, v6)
		t.Logf("the kernel's hash gave %v of 600 flows at 2:1", counts)
		if counts["virtua"] == 0 || counts["embratel"] == 0 || counts["virtua"]+counts["embratel"] != 600 {
			t.Errorf("shares %v, want both links used and nothing else", counts)
		}
	})
	// A flow stays where the kernel put it, although the answer to its next packet could be another.
	s, err := r.StreamUDP(r.LAN, lab.Flow{From: lab.Host(100, false), To: server(9, 443, false)}, 200)
	must(t, err)
	s.Await(20)
	r.apply(links, strings.Replace(balanced, "table = 40", "by = \"route\"\n  table = 41", 1), `rule "all" {
  from = lan.office
  via  = group.balanced
}`)
	s.Await(20)
	r.unbroken("held by its mark", s.Stop())
}

func TestSeedBalancePerConnection(t *testing.T) {
	r := newRouter(t)
	r.apply(links, balanced, `rule "all" {
  from = lan.office
  via  = group.balanced
}`)
	both(t, func(t *testing.T, v6 bool) {
		if counts := r.shares(100, 300, v6); counts["virtua"] != 200 || counts["embratel"] != 100 {
			t.Errorf("shares %v, want exactly 200:100", counts)
		}
	})
}

func TestSeedFromAddress(t *testing.T) { // 2.4: ip rule add from ADDRESS
	r := newRouter(t)
	must(t, r.ServeIn(r.Router, 8080))
	r.apply(links, `default { via = link.embratel }`)
	both(t, func(t *testing.T, v6 bool) {
		for _, i := range r.ISPs {
			client, address := lab.Remote(7, v6), i.Address(v6).Addr()
			for _, network := range []string{"tcp", "udp"} {
				if _, err := r.Internet.Ask(lab.Flow{Network: network, From: client, To: netip.AddrPortFrom(address, 8080)}); err != nil {
					t.Errorf("%s to the router at %s: %v", network, i.Name, err)
				}
			}
			if err := r.Internet.Ping(client, address); err != nil {
				t.Errorf("ping the router at %s: %v", i.Name, err)
			}
			// The router's own sockets that are bound to the address leave through its link.
			if got := r.ask(r.Router, lab.Flow{Network: "tcp", From: address, To: server(8, 80, v6)}); got != i.Name {
				t.Errorf("a socket bound to %s left through %s, want %s", address, got, i.Name)
			}
		}
	})
}

func TestSeedByMark(t *testing.T) { // 2.4: ip rule add fwmark N
	r := newRouter(t)
	r.apply(links, `rule "vpn" {
  from = router
  mark = 0x10
  via  = link.virtua
}
default { via = link.embratel }`)
	both(t, func(t *testing.T, v6 bool) {
		for mark, want := range map[int]string{0x01000000: "virtua", 0x02000000: "embratel", 0x10: "virtua", 0x11: "embratel", 0: "embratel"} {
			if got := r.ask(r.Router, lab.Flow{Network: "tcp", To: server(3, 80, v6), Mark: mark}); got != want {
				t.Errorf("a socket with mark %#x left through %s, want %s", mark, got, want)
			}
		}
	})
}

func TestSeedDefaultOneLink(t *testing.T) { // 2.5: ip route add default via EMBRATEL_GAT
	r := newRouter(t)
	r.apply(links, `default { via = link.embratel }`)
	both(t, func(t *testing.T, v6 bool) {
		r.expect("embratel", 50, server(5, 443, v6))
		if got := r.ask(r.Router, lab.Flow{Network: "tcp", To: server(5, 443, v6)}); got != "embratel" {
			t.Errorf("the router's own flow left through %s, want embratel", got)
		}
	})
}

func TestSeedBalanceByDefault(t *testing.T) { // 7.2: the multipath route as default
	r := newRouter(t)
	r.apply(links, balanced, `default { via = group.balanced }`)
	both(t, func(t *testing.T, v6 bool) {
		if counts := r.shares(50, 300, v6); counts["virtua"] != 200 || counts["embratel"] != 100 {
			t.Errorf("shares %v, want exactly 200:100", counts)
		}
		// The router's own flows take the multipath route, each with the source of its own link.
		own := map[string]int{}
		for i := range 60 {
			own[r.ask(r.Router, lab.Flow{Network: "tcp", To: server(i+1, 443, v6)})]++
		}
		if own["virtua"] == 0 || own["embratel"] == 0 || own["virtua"]+own["embratel"] != 60 {
			t.Errorf("the router's own flows: %v, want both links", own)
		}
	})
}

const web = `
forward "web" {
  link     = link.embratel
  protocol = "tcp"
  port     = 80
  to       = "10.1.0.20:80"
}
forward "web6" {
  link     = link.embratel
  protocol = "tcp"
  port     = 80
  to       = "[fd00:a::14]:80"
}
`

func TestSeedForward(t *testing.T) { // 3.1: DNAT of port 80 on embratel, answers through embratel
	r := newRouter(t)
	must(t, r.ServeIn(r.LAN, 80))
	r.apply(links, balanced, web, `rule "all" {
  from = lan.office
  via  = group.balanced
}`)
	both(t, func(t *testing.T, v6 bool) {
		address := netip.AddrPortFrom(r.ISP("embratel").Address(v6).Addr(), 80)
		for i := range 12 {
			// The server inside sees the true client, and the client gets an answer: a strict provider lets only those of its own pass.
			client := lab.Remote(i+1, v6)
			seen, err := r.Internet.Ask(lab.Flow{Network: "tcp", From: client, To: address})
			if err != nil || seen != client {
				t.Errorf("through the forward: seen as %s, %v; want %s", seen, err, client)
			}
		}
		// The same host's own flows are balanced meanwhile.
		if counts := r.shares(20, 30, v6); counts["virtua"] != 20 || counts["embratel"] != 10 {
			t.Errorf("own flows of the forward's host: %v, want 20:10", counts)
		}
		// The other link has no such forward.
		other := netip.AddrPortFrom(r.ISP("virtua").Address(v6).Addr(), 80)
		if _, err := r.Internet.Ask(lab.Flow{Network: "tcp", From: lab.Remote(3, v6), To: other}); err == nil {
			t.Errorf("port 80 of virtua answers, want it closed")
		}
	})
}

func TestSeedBalanceHost(t *testing.T) { // 3.2, 5: one machine uses the balancing table, the others the default
	r := newRouter(t)
	r.apply(links, balanced, `rule "one" {
  from = ["10.1.0.100", "fd00:a::64"]
  via  = group.balanced
}
default { via = link.embratel }`)
	both(t, func(t *testing.T, v6 bool) {
		if counts := r.shares(100, 30, v6); counts["virtua"] != 20 || counts["embratel"] != 10 {
			t.Errorf("the balanced host: %v, want 20:10", counts)
		}
		r.expect("embratel", 101, server(1, 443, v6))
	})
}

func TestSeedBalanceSubnet(t *testing.T) { // 3.2: -s 10.1.x.x/24
	r := newRouter(t)
	r.apply(links, balanced, `rule "subnet" {
  from = ["10.1.1.0/24", "fd00:a::100/120"]
  via  = group.balanced
}
default { via = link.embratel }`)
	both(t, func(t *testing.T, v6 bool) {
		for _, host := range []int{257, 258} { // 10.1.1.1, 10.1.1.2
			if counts := r.shares(host, 30, v6); counts["virtua"] != 20 || counts["embratel"] != 10 {
				t.Errorf("host %d: %v, want 20:10", host, counts)
			}
		}
		r.expect("embratel", 100, server(1, 443, v6))
	})
}

func TestSeedMasquerade(t *testing.T) { // 3.3
	r := newRouter(t)
	r.apply(links, balanced, `default { via = group.balanced }`)
	both(t, func(t *testing.T, v6 bool) {
		seen := map[netip.Addr]bool{}
		for i := range 6 {
			a, err := r.LAN.Ask(lab.Flow{Network: "tcp", From: lab.Host(50, v6), To: server(i+1, 443, v6)})
			must(t, err)
			seen[a] = true
		}
		for _, i := range r.ISPs {
			if !seen[i.Address(v6).Addr()] {
				t.Errorf("servers saw %v, want the address at %s among them", seen, i.Name)
			}
		}
		if len(seen) != 2 {
			t.Errorf("servers saw %v, want the two addresses of the router", seen)
		}
	})
}

func TestSeedForwarding(t *testing.T) { // 3.4: ip_forward
	r := newRouter(t)
	r.apply(links, `settings { forwarding = false }`, `default { via = link.embratel }`)
	if _, err := r.LAN.Ask(lab.Flow{Network: "tcp", From: lab.Host(50, false), To: server(1, 443, false), Wait: short}); err == nil {
		t.Error("with settings { forwarding = false } the LAN reaches the internet, want forwarding left off")
	}
	r.apply(links, `default { via = link.embratel }`)
	r.expect("embratel", 50, server(1, 443, false))
	r.expect("embratel", 50, server(1, 443, true))
}

func TestSeedDestination(t *testing.T) { // 7: a site always through one link
	r := newRouter(t)
	r.apply(links, balanced, `rule "bank" {
  from = lan.office
  to   = ["186.202.0.0/24", "2001:db8:ffff::10"]
  via  = link.embratel
}
rule "rest" {
  from = lan.office
  via  = group.balanced
}`)
	r.expect("embratel", 50, netip.MustParseAddrPort("186.202.0.7:443"))
	r.expect("embratel", 50, netip.MustParseAddrPort("[2001:db8:ffff::10]:443"))
	both(t, func(t *testing.T, v6 bool) {
		if counts := r.shares(50, 30, v6); counts["virtua"] < 18 {
			t.Errorf("other destinations: %v, want them balanced", counts)
		}
	})
}

func TestSeedMail(t *testing.T) { // 7: SMTP always through embratel
	r := newRouter(t)
	r.apply(links, balanced, `rule "mail" {
  from      = lan.office
  protocol  = "tcp"
  port      = "smtp"
  via       = link.embratel
  otherwise = reject
}
rule "rest" {
  from = lan.office
  via  = link.virtua
}`)
	both(t, func(t *testing.T, v6 bool) {
		for i := range 6 {
			if got := r.ask(r.LAN, lab.Flow{Network: "tcp", From: lab.Host(50, v6), To: server(i+1, 25, v6)}); got != "embratel" {
				t.Errorf("mail left through %s, want embratel", got)
			}
			// UDP to the same port is not mail, and TCP to another port is not either.
			for _, f := range []lab.Flow{{Network: "udp", To: server(i+1, 25, v6)}, {Network: "tcp", To: server(i+1, 443, v6)}} {
				f.From = lab.Host(50, v6)
				if got := r.ask(r.LAN, f); got != "virtua" {
					t.Errorf("%s to %s left through %s, want virtua", f.Network, f.To, got)
				}
			}
		}
	})
}

func TestSeedAgain(t *testing.T) { // running the scripts again is harmless
	r := newRouter(t)
	policy := []string{links, balanced, web, `default { via = group.balanced }`}
	r.apply(policy...)
	r.unchanged()
	events := r.watchWrites()
	before := r.listing()
	for range 3 {
		if out, status := r.enlace("apply", r.write(policy...)); status != 0 || out != "no changes\n" {
			t.Errorf("second apply: exit %d, %s", status, out)
		}
	}
	if n := events.stop(); n != 0 {
		t.Errorf("three more applies caused %d netlink notifications, want 0", n)
	}
	if after := r.listing(); after != before {
		diff(t, strings.Split(before, "\n"), strings.Split(after, "\n"))
	}
}
