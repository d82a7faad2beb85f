// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"enlace/e2e/lab"
)

// TestMatches: every match of the language takes the flows that it should, and no others, in both families. Flows that the rule
// takes leave through virtua, the rest through embratel.
func TestMatches(t *testing.T) {
	r := newRouter(t)
	need(t, "nft")
	// Another program marks what comes from host 101.
	r.lines("nft", "add table inet other")
	r.lines("nft", "add chain inet other before { type filter hook prerouting priority -160; }")
	r.lines("nft", "add rule inet other before ip saddr 10.1.0.101 meta mark set 0x51")
	r.lines("nft", "add rule inet other before ip6 saddr fd00:a::65 meta mark set 0x51")
	flow := func(network string, host, remote, port, tos int) func(bool) lab.Flow {
		return func(v6 bool) lab.Flow {
			return lab.Flow{Network: network, From: lab.Host(host, v6), To: server(remote, uint16(port), v6), TOS: tos}
		}
	}
	usual := flow("tcp", 50, 1, 443, 0)
	mac, _, err := r.LAN.Device("eth0")
	must(t, err)
	for _, c := range []struct {
		match  string
		yes    []func(bool) lab.Flow
		no     []func(bool) lab.Flow
		policy string // further blocks
	}{
		{match: `from = ["10.1.0.100", "fd00:a::64"]`, yes: flows(flow("tcp", 100, 1, 443, 0)), no: flows(usual)},
		{match: `from = ["10.1.0.96-10.1.0.100", "fd00:a::60-fd00:a::64"]`, yes: flows(flow("udp", 100, 1, 443, 0)), no: flows(usual, flow("tcp", 101, 1, 443, 0))},
		{match: `from = lan.few`, policy: "lan \"few\" {\n  interface = \"eth0\"\n  networks = [\"10.1.1.0/24\", \"fd00:a::100/120\"]\n}", yes: flows(flow("tcp", 257, 1, 443, 0)), no: flows(usual)},
		{match: `to = set.s`, policy: `set "s" { elements = ["198.51.100.16/28", "198.51.100.3", "2001:db8:ffff::10/124", "2001:db8:ffff::3"] }`, yes: flows(flow("tcp", 50, 17, 443, 0), flow("udp", 50, 3, 443, 0)), no: flows(usual, flow("tcp", 50, 4, 443, 0))},
		{match: "protocol = \"udp\"", yes: flows(flow("udp", 50, 1, 443, 0)), no: flows(usual)},
		{match: "protocol = [\"udp\", \"tcp\"]\n  port = [25, \"80-90\"]", yes: flows(flow("tcp", 50, 1, 25, 0), flow("udp", 50, 1, 80, 0)), no: flows(usual)},
		{match: "protocol = \"tcp\"\n  port = \"https\"", yes: flows(usual), no: flows(flow("udp", 50, 1, 443, 0), flow("tcp", 50, 1, 80, 0))},
		{match: "protocol = \"tcp\"\n  source_port = \"1024-65535\"", yes: flows(usual), no: flows(flow("udp", 50, 1, 443, 0))},
		{match: "protocol = \"tcp\"\n  source_port = \"1-1023\"", no: flows(usual)},
		{match: `tos = 0x20`, yes: flows(flow("tcp", 50, 1, 443, 0x20), flow("udp", 50, 1, 443, 0x20)), no: flows(usual, flow("tcp", 50, 1, 443, 0x28))},
		{match: `dscp = ["ef", "cs1"]`, yes: flows(flow("tcp", 50, 1, 443, 0xb8), flow("udp", 50, 1, 443, 0x20)), no: flows(usual)},
		{match: `mark = "0x10/0xf0"`, no: flows(usual, flow("tcp", 101, 1, 443, 0))},
		{match: `mark = "0x50/0xf0"`, yes: flows(flow("tcp", 101, 1, 443, 0)), no: flows(usual)},
		{match: `mark = [0x50, 0x51]`, yes: flows(flow("udp", 101, 1, 443, 0)), no: flows(usual)},
		{match: `mac = ["52:54:00:12:34:56", "` + mac.String() + `"]`, yes: flows(usual)},
		{match: `mac = "52:54:00:12:34:56"`, no: flows(usual)},
		{match: `not_from = ["10.1.0.50", "fd00:a::32"]`, yes: flows(flow("tcp", 100, 1, 443, 0)), no: flows(usual)},
		{match: "from = lan.office\n  not_from = [\"10.1.0.96-10.1.0.101\", \"10.1.0.200\", \"fd00:a::60/124\", \"fd00:a::1:0/120\"]", yes: flows(usual, flow("tcp", 257, 1, 443, 0)), no: flows(flow("udp", 100, 1, 443, 0))},
		{match: `not_to = set.s`, policy: `set "s" { elements = ["198.51.100.16/28", "198.51.100.3", "2001:db8:ffff::10/124", "2001:db8:ffff::3"] }`, yes: flows(usual, flow("tcp", 50, 4, 443, 0)), no: flows(flow("tcp", 50, 17, 443, 0), flow("udp", 50, 3, 443, 0))},
		{match: "to = [\"198.51.100.0/24\", \"2001:db8:ffff::/64\"]\n  not_to = [\"198.51.100.1\", \"2001:db8:ffff::1\"]", yes: flows(flow("tcp", 50, 2, 443, 0)), no: flows(usual)},
		{match: `interface = "eth0"`, yes: flows(usual)},
		{match: `interface = "eth7"`, no: flows(usual)},
		{match: `from = router`, no: flows(usual)},
	} {
		t.Run(c.match, func(t *testing.T) {
			r.apply(links, c.policy, fmt.Sprintf("rule \"r\" {\n  %s\n  via = link.virtua\n}\ndefault { via = link.embratel }", c.match))
			both(t, func(t *testing.T, v6 bool) {
				for link, list := range map[string][]func(bool) lab.Flow{"virtua": c.yes, "embratel": c.no} {
					for _, f := range list {
						if got := r.ask(r.LAN, f(v6)); got != link {
							t.Errorf("%+v left through %s, want %s", f(v6), got, link)
						}
					}
				}
			})
		})
	}
}

// TestExceptionOfOneFamily: an exception of IPv4 addresses leaves IPv6 alone.
func TestExceptionOfOneFamily(t *testing.T) {
	r := newRouter(t)
	r.apply(links, `rule "r" {
  not_to = "198.51.100.0/24"
  via    = link.virtua
}
default { via = link.embratel }`)
	r.expect("embratel", 50, server(1, 443, false))
	r.expect("virtua", 50, server(1, 443, true))
}

func flows(list ...func(bool) lab.Flow) []func(bool) lab.Flow { return list }

// TestMasqueradeOff: without masquerade the LAN's addresses leave as they are, which these providers drop.
func TestMasqueradeOff(t *testing.T) {
	o, err := lab.NewOffice([]int{50}, lab.Virtua, lab.Embratel)
	must(t, err)
	t.Cleanup(func() { must(t, o.Close()) })
	r := &router{Office: o, t: t, root: t.TempDir()}
	must(t, o.Serve(443))
	r.apply(`
link "virtua" { interface = "eth1" }
link "embratel" {
  interface  = "eth2"
  gateway    = ["200.252.10.1", "2001:db8:200::1"]
  masquerade = false
}
default { via = link.embratel }`)
	if _, err := r.LAN.Ask(lab.Flow{Network: "udp", From: lab.Host(50, false), To: server(1, 443, false), Wait: short}); err == nil {
		t.Error("an untranslated flow got an answer")
	}
	if n, err := r.ISP("embratel").Foreign(); err != nil || n == 0 {
		t.Errorf("embratel saw %d untranslated packets, %v; want some", n, err)
	}
}

// TestSpoofedSources: from outside nobody comes with an address of the inside, or one of the router's own.
func TestSpoofedSources(t *testing.T) {
	r := newRouter(t)
	must(t, r.ServeIn(r.LAN, 80))
	must(t, r.ServeIn(r.Router, 8080))
	r.apply(links, web)
	router := netip.AddrPortFrom(r.ISP("embratel").Address(false).Addr(), 8080)
	must(t, r.ISP("embratel").AddRoute(netip.MustParsePrefix("10.1.0.0/16"), r.ISP("embratel").Address(false).Addr(), "customer"))
	for _, source := range []string{"10.1.0.77", "10.1.0.1", "189.1.0.2"} {
		must(t, r.ISP("embratel").AddAddress("lo", netip.PrefixFrom(netip.MustParseAddr(source), 32)))
		for _, to := range []netip.AddrPort{router, netip.AddrPortFrom(lab.Host(20, false), 80)} {
			_, _ = r.ISP("embratel").Ask(lab.Flow{Network: "udp", From: netip.MustParseAddr(source), To: to, Wait: short / 4})
		}
	}
	need(t, "nft")
	dropped := 0
	for _, l := range r.lines("nft", "list", "chain", "inet", "enlace", "arriving") {
		var packets int
		if n, _ := fmt.Sscanf(after(l, "counter packets "), "%d", &packets); n == 1 {
			dropped += packets
		}
	}
	if dropped != 6 {
		t.Errorf("%d spoofed packets dropped, want 6", dropped)
	}
}

// TestAddressDetectionPasses: the guard lets the router's own packets without a flow and without an address leave, by which IPv6
// finds out whether an address is taken.
func TestAddressDetectionPasses(t *testing.T) {
	r := newRouter(t)
	need(t, "nft")
	need(t, "ip")
	r.apply(links, `default { via = link.embratel }`)
	must(t, r.Router.Sysctl("ipv6/conf/eth1/accept_dad", "1"))
	seen := r.ISP("virtua")
	_, err := seen.Run("nft", "add table inet probe")
	must(t, err)
	for _, c := range []string{
		"add chain inet probe in { type filter hook prerouting priority -400; }",
		"add rule inet probe in ip6 saddr :: icmpv6 type nd-neighbor-solicit counter",
	} {
		if out, err := seen.Run("nft", c); err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
	r.lines("ip", "-6", "address", "add", "2001:db8:189::77/64", "dev", "eth1")
	for deadline := time.Now().Add(3 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		out, err := seen.Run("nft", "list", "table", "inet", "probe")
		must(t, err)
		if strings.Contains(string(out), "counter packets ") && !strings.Contains(string(out), "counter packets 0 ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no question for the address reached the provider:\n%s", strings.Join(r.lines("nft", "list", "chain", "inet", "enlace", "guard"), "\n"))
		}
	}
}

// TestGuard: another program's ip rule leads a flow to the wrong link. Its packets are dropped and counted, and the flow goes on when
// the rule is gone.
func TestGuard(t *testing.T) {
	r := newRouter(t)
	need(t, "nft")
	need(t, "ip")
	r.apply(links, `default { via = link.virtua }`)
	s, err := r.StreamUDP(r.LAN, lab.Flow{From: lab.Host(50, false), To: server(1, 443, false)}, 200)
	must(t, err)
	s.Await(10)
	r.lines("ip", "rule", "add", "priority", "500", "from", "10.1.0.50", "lookup", "30")
	s.AwaitSent(60)
	guard := strings.Join(r.lines("nft", "list", "chain", "inet", "enlace", "guard"), "\n")
	r.lines("ip", "rule", "del", "priority", "500")
	s.Await(10)
	got := s.Stop()
	if !strings.Contains(guard, `drop comment "its flow belongs to another link"`) || strings.Contains(guard, `counter packets 0 bytes 0 drop comment "its flow belongs`) {
		t.Errorf("the guard dropped nothing:\n%s", guard)
	}
	if len(got.Links) != 1 || got.Links["virtua"] < 20 {
		t.Errorf("%v answered through %v, want virtua alone, before and after", got.Sent-got.Lost, got.Links)
	}
}

// TestSecondAddress: a socket of the router that is bound to another address of a link keeps it.
func TestSecondAddress(t *testing.T) {
	r := newRouter(t)
	second := netip.MustParsePrefix("200.252.10.77/24")
	must(t, r.Router.AddAddress("eth2", second))
	r.apply(links, `default { via = link.virtua }`)
	seen, err := r.Router.Ask(lab.Flow{Network: "tcp", From: second.Addr(), To: server(1, 443, false)})
	if err != nil || seen != second.Addr() {
		t.Errorf("seen as %v, %v; want %s", seen, err, second.Addr())
	}
}

// TestModemOfIncompleteLink: what is connected to a link is asked through it, also while the link has no gateway.
func TestModemOfIncompleteLink(t *testing.T) {
	r := newRouter(t)
	must(t, r.ServeIn(r.ISP("embratel").Namespace, 8080))
	out, status := r.enlace("apply", r.write(`
lan "office" { interface = "eth0" }
link "virtua" { interface = "eth1" }
link "embratel" { interface = "eth2" }
default { via = link.virtua }`))
	if status != 0 || !strings.Contains(out, "no-gateway") {
		t.Fatalf("exit %d\n%s", status, out)
	}
	modem := netip.AddrPortFrom(r.ISP("embratel").Gateway(false), 8080)
	if got := r.ask(r.LAN, lab.Flow{Network: "tcp", From: lab.Host(50, false), To: modem}); got != "embratel" {
		t.Errorf("the modem was asked through %s, want embratel", got)
	}
}
