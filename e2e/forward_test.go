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

// forwards of every kind: several links and protocols, a range of ports, sources that may, both families.
const forwards = `
lan "containers" {
  interface = "veth0"
  networks  = ["172.17.0.0/16"]
}
forward "web" {
  link     = [link.virtua, link.embratel]
  protocol = ["tcp", "udp"]
  port     = 80
  to       = "10.1.0.20:8080"
}
forward "web6" {
  link     = [link.virtua, link.embratel]
  protocol = "tcp"
  port     = 80
  to       = "[fd00:a::14]:8080"
}
forward "range" {
  link     = link.embratel
  protocol = "udp"
  port     = "9000-9002"
  to       = "10.1.0.20"
  hairpin  = false
}
forward "private" {
  link     = link.virtua
  protocol = "tcp"
  port     = 2222
  to       = "10.1.0.20:8080"
  from     = "198.51.100.0/28"
}
forward "container" {
  link     = [link.virtua, link.embratel]
  protocol = ["tcp", "udp"]
  port     = 81
  to       = "172.17.0.2:8080"
}
default { via = group.balanced }
`

// answerSoon is how long a client waits where no answer is a result.
const answerSoon = 500 * time.Millisecond

// newForwards is a router with these forwards, servers inside, and a container behind a second inside network.
func newForwards(t *testing.T) (*router, *lab.Namespace) {
	r := newRouter(t)
	must(t, r.ServeIn(r.LAN, 8080, 9000, 9001, 9002, 9003))
	container, err := lab.NewNamespace("container")
	must(t, err)
	t.Cleanup(func() { must(t, container.Close()) })
	must(t, container.Connect("eth0", r.Router, "veth0"))
	must(t, r.Router.AddAddress("veth0", netip.MustParsePrefix("172.17.0.1/16")))
	must(t, container.AddAddress("eth0", netip.MustParsePrefix("172.17.0.2/16")))
	must(t, container.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("172.17.0.1"), "eth0"))
	must(t, r.ServeIn(container, 8080))
	r.apply(links, balanced, forwards)
	return r, container
}

// inbound opens a flow from a client on the internet to a port of a link, and tells whether it is answered, by whom it was asked.
func (r *router) inbound(network, link string, port uint16, client netip.Addr) bool {
	r.t.Helper()
	to := netip.AddrPortFrom(r.ISP(link).Address(client.Is6()).Addr(), port)
	seen, err := r.Internet.Ask(lab.Flow{Network: network, From: client, To: to, Wait: answerSoon})
	return err == nil && seen == client
}

// TestPain08_Forwards: answers leave by the link of arrival, for both links, protocols and families, a range of ports, and a container; after a
// reload too. Who may not is not answered.
func TestPain08_Forwards(t *testing.T) {
	r, _ := newForwards(t)
	for round := range 2 {
		for _, link := range []string{"virtua", "embratel"} {
			for _, network := range []string{"tcp", "udp"} {
				for n := 1; n <= 6; n++ {
					if !r.inbound(network, link, 80, lab.Remote(n, false)) {
						t.Errorf("round %d: web on %s is not answered over %s", round, link, network)
					}
					if !r.inbound(network, link, 81, lab.Remote(n, false)) {
						t.Errorf("round %d: the container on %s is not answered over %s", round, link, network)
					}
				}
			}
			if !r.inbound("tcp", link, 80, lab.Remote(7, true)) {
				t.Errorf("round %d: web on %s is not answered over IPv6", round, link)
			}
		}
		for port, want := range map[uint16]bool{9000: true, 9001: true, 9002: true, 9003: false} {
			if got := r.inbound("udp", "embratel", port, lab.Remote(9, false)); got != want {
				t.Errorf("port %d of the range 9000-9002 answers: %v", port, got)
			}
		}
		if !r.inbound("tcp", "virtua", 2222, lab.Remote(8, false)) || r.inbound("tcp", "virtua", 2222, lab.Remote(200, false)) {
			t.Error("a forward with from = 198.51.100.0/28 does not answer 198.51.100.8, or answers 198.51.100.200")
		}
		r.apply(links, balanced, forwards, "# once more")
	}
}

// TestInboundThroughAnyLink: what comes in is answered through a link that is on hold, and through one whose targets alone are silent.
func TestInboundThroughAnyLink(t *testing.T) {
	r := newRouter(t, lab.Virtua.OnlyV4(), lab.Embratel.OnlyV4())
	must(t, r.ServeIn(r.LAN, 8080))
	d := r.fresh(strings.Replace(plain, `link "virtua" { interface = "eth1" }`, "link \"virtua\" {\n  interface = \"eth1\"\n  health { targets = \"198.51.100.2\" }\n}", 1), `
forward "web" {
  link     = link.virtua
  protocol = ["tcp", "udp"]
  port     = 80
  to       = "10.1.0.20:8080"
}`)
	d.link("virtua", "up", "")
	for state, change := range map[string]func() error{
		"down":    func() error { return r.ISP("virtua").Mute([]byte{198, 51, 100, 2}) },
		"holding": func() error { return r.ISP("virtua").Mute() },
	} {
		if state == "holding" {
			must(t, r.ISP("virtua").Mute([]byte{198, 51, 100, 2}))
			d.link("virtua", "down", "")
		}
		must(t, change())
		d.link("virtua", state, "")
		for n := 10; n < 14; n++ {
			for _, network := range []string{"tcp", "udp"} {
				if !r.inbound(network, "virtua", 80, lab.Remote(n, false)) {
					t.Errorf("a forward of a link that is %s does not answer over %s", state, network)
				}
			}
		}
	}
}

// TestHairpin: a host inside reaches a forward by the public address, over whatever link, and the host that it leads to reaches itself.
// Without hairpin, and without permission, it does not.
func TestHairpin(t *testing.T) {
	r, _ := newForwards(t)
	ask := func(network string, from int, v6 bool, link string, port uint16) error {
		to := netip.AddrPortFrom(r.ISP(link).Address(v6).Addr(), port)
		_, err := r.LAN.Ask(lab.Flow{Network: network, From: lab.Host(from, v6), To: to, Wait: answerSoon})
		return err
	}
	for _, link := range []string{"virtua", "embratel"} {
		for _, from := range []int{50, 20} {
			for _, network := range []string{"tcp", "udp"} {
				if err := ask(network, from, false, link, 80); err != nil {
					t.Errorf("host %d to the public address of %s over %s: %v", from, link, network, err)
				}
				if err := ask(network, from, false, link, 81); err != nil {
					t.Errorf("host %d to the container by %s over %s: %v", from, link, network, err)
				}
			}
			if err := ask("tcp", from, true, link, 80); err != nil {
				t.Errorf("host %d to the public IPv6 address of %s: %v", from, link, err)
			}
		}
	}
	if ask("udp", 50, false, "embratel", 9000) == nil {
		t.Error("hairpin = false is ignored")
	}
	if ask("tcp", 50, false, "virtua", 2222) == nil {
		t.Error("from is ignored for hosts inside")
	}
}

// TestPain25_ContainersFollowThePolicy: flows of a container are balanced as those of the LAN are.
func TestPain25_ContainersFollowThePolicy(t *testing.T) {
	r, container := newForwards(t)
	counts := map[string]int{}
	for n := range 30 {
		flow := lab.Flow{Network: "tcp", From: netip.MustParseAddr("172.17.0.2"), To: server(n+1, 443, false)}
		counts[r.ask(container, flow)]++
	}
	if counts["virtua"] != 20 || counts["embratel"] != 10 {
		t.Errorf("the container's flows: %v, want 20:10", counts)
	}
}

// TestSNAT: flows from inside leave with the address of snat, in the family that has one; the router's own sockets keep theirs.
func TestSNAT(t *testing.T) {
	r := newRouter(t)
	for _, a := range []string{"200.252.10.77/24", "2001:db8:200::77/64"} {
		must(t, r.Router.AddAddress("eth2", netip.MustParsePrefix(a)))
	}
	for _, snat := range [][]string{{"200.252.10.77"}, {"200.252.10.77", "2001:db8:200::77"}} {
		text := strings.Replace(links, `interface = "eth2"`, fmt.Sprintf("interface = \"eth2\"\n  snat = [%q]", strings.Join(snat, `", "`)), 1)
		r.apply(strings.ReplaceAll(text, `\"`, `"`), `default { via = link.embratel }`, fmt.Sprintf("# %v", snat))
		for f, v6 := range []bool{false, true} {
			var want netip.Addr
			if f < len(snat) {
				want = netip.MustParseAddr(snat[f])
			}
			for _, network := range []string{"tcp", "udp"} {
				if seen, err := r.LAN.Ask(lab.Flow{Network: network, From: lab.Host(50, v6), To: server(1, 443, v6)}); err != nil || f < len(snat) && seen != want {
					t.Errorf("snat %v: a flow from inside is seen as %s, %v; want %s", snat, seen, err, want)
				}
			}
			own := r.ISP("embratel").Address(v6).Addr()
			if seen, err := r.Router.Ask(lab.Flow{Network: "tcp", From: own, To: server(1, 443, v6)}); err != nil || seen != own {
				t.Errorf("snat %v: the router's own flow is seen as %s, %v; want %s", snat, seen, err, own)
			}
		}
	}
}
