// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ti-mo/conntrack"
	"golang.org/x/sys/unix"

	"enlace/e2e/lab"
)

// vpn is a network behind a tunnel of the router: 172.20.0.0/16 through wg0. A pair of interfaces stands for the tunnel.
func (r *router) vpn() *lab.Namespace {
	r.t.Helper()
	far, err := lab.NewNamespace("far")
	must(r.t, err)
	r.t.Cleanup(func() { must(r.t, far.Close()) })
	must(r.t, far.Connect("wg0", r.Router, "wg0"))
	must(r.t, r.Router.AddAddress("wg0", netip.MustParsePrefix("10.99.0.1/30")))
	must(r.t, far.AddAddress("wg0", netip.MustParsePrefix("10.99.0.2/30")))
	must(r.t, far.AddAddress("lo", netip.MustParsePrefix("172.20.0.5/32")))
	must(r.t, r.Router.AddRoute(netip.MustParsePrefix("172.20.0.0/16"), netip.MustParseAddr("10.99.0.2"), "wg0"))
	must(r.t, far.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.99.0.1"), "wg0"))
	must(r.t, r.ServeIn(far, 443))
	return far
}

// TestPain21_VPN: the outer packets of a tunnel use the link that a rule pins them to, whatever the default does and whichever other link
// dies; with `keep` they wait for it.
func TestPain21_VPN(t *testing.T) {
	r := newRouter(t, lab.Virtua.OnlyV4(), lab.Embratel.OnlyV4())
	d := r.fresh(links, balanced, `
rule "tunnel" {
  from        = router
  protocol    = "udp"
  source_port = 51820
  via         = link.virtua
  otherwise   = drop
  flows       = "keep"
}
default { via = group.balanced }`)
	d.link("virtua", "up", "")
	outer, err := r.StreamUDP(r.Router, lab.Flow{From: netip.IPv4Unspecified(), Port: 51820, To: server(7, 443, false)}, 200)
	must(t, err)
	outer.Await(50)
	must(t, r.ISP("embratel").Unplug())
	d.link("embratel", "down", "")
	outer.Await(50)
	must(t, r.ISP("embratel").PlugIn())
	d.link("embratel", "up", "")
	must(t, r.ISP("virtua").Lose(100))
	d.link("virtua", "down", "")
	must(t, r.ISP("virtua").Lose(0))
	d.link("virtua", "up", "")
	outer.Await(50)
	if result := outer.Stop(); len(result.Links) != 1 || result.Links["virtua"] == 0 {
		t.Errorf("the tunnel's packets left by %v, want virtua alone", result.Links)
	}
}

// TestPain23_SpecificRoutesFirst: what main reaches specifically is left to it: a network behind a tunnel, another network inside; the far end
// sees the true source. Nothing of it reaches a provider, while links come and go.
func TestPain23_SpecificRoutesFirst(t *testing.T) {
	r := newRouter(t, lab.Virtua.OnlyV4(), lab.Embratel.OnlyV4())
	far := r.vpn()
	d := r.fresh(links, balanced, `default { via = group.balanced }`)
	d.link("virtua", "up", "")
	inner := netip.MustParseAddrPort("172.20.0.5:443")
	through := func(when string) {
		t.Helper()
		for _, network := range []string{"tcp", "udp"} {
			seen, err := r.LAN.Ask(lab.Flow{Network: network, From: lab.Host(50, false), To: inner})
			if err != nil || seen != lab.Host(50, false) {
				t.Errorf("%s: the far end of the tunnel sees %s over %s, %v", when, seen, network, err)
			}
			back, err := far.Ask(lab.Flow{Network: network, From: inner.Addr(), To: server(1, 443, false)})
			if err != nil || r.LinkOf(back) == "" {
				t.Errorf("%s: from behind the tunnel to the internet over %s: %s, %v", when, network, back, err)
			}
		}
	}
	through("all well")
	old, err := r.LAN.Open(lab.Flow{Network: "tcp", From: lab.Host(50, false), To: inner})
	must(t, err)
	defer func() { _ = old.Close() }()
	lines := bufio.NewReader(old)
	_, err = lines.ReadString('\n')
	must(t, err)
	must(t, r.ISP("virtua").Unplug())
	d.link("virtua", "down", "")
	must(t, r.Router.Do(func() error { // the kernel knows the connection no more
		c, err := conntrack.Dial(nil)
		if err != nil {
			return err
		}
		return errors.Join(c.Flush(), c.Close())
	}))
	_, err = old.Write([]byte("1\n"))
	must(t, err)
	_ = old.SetReadDeadline(time.Now().Add(patience))
	if _, err := lines.ReadByte(); err != nil {
		t.Errorf("a connection through the tunnel from before: %v", err)
	}
	through("one link dead")
	must(t, r.ISP("embratel").Unplug())
	d.link("embratel", "down", "")
	if seen, err := r.LAN.Ask(lab.Flow{Network: "tcp", From: lab.Host(50, false), To: inner}); err != nil || seen != lab.Host(50, false) {
		t.Errorf("all links dead: the far end of the tunnel sees %s, %v", seen, err)
	}
}

// TestPain22_ReversePath: a router whose kernel was told to filter strictly answers on both links, and forwards through both.
func TestPain22_ReversePath(t *testing.T) {
	r := newRouter(t)
	for _, name := range []string{"all", "default", "eth0", "eth1", "eth2"} {
		must(t, r.Router.Sysctl("ipv4/conf/"+name+"/rp_filter", "1"))
	}
	must(t, r.ServeIn(r.Router, 8443))
	r.apply(links, balanced, `default { via = group.balanced }`)
	if counts := r.shares(50, 30, false); counts["virtua"] != 20 || counts["embratel"] != 10 {
		t.Errorf("shares %v, want 20:10", counts)
	}
	for _, link := range []string{"virtua", "embratel"} {
		for n := 1; n <= 10; n++ {
			if !r.inbound("tcp", link, 8443, lab.Remote(n, false)) {
				t.Errorf("the router's own service does not answer %d by %s", n, link)
			}
		}
	}
}

// TestErrorsReachTheInside: what the router itself says about a flow goes to whom it concerns, not out by the flow's link: a packet that is too big
// for the link is answered, and the host learns the size.
func TestErrorsReachTheInside(t *testing.T) {
	r := newRouter(t)
	need(t, "ip")
	r.lines("ip", "link", "set", "eth1", "mtu", "1400")
	r.apply(links, `default { via = link.virtua }`)
	both(t, func(t *testing.T, v6 bool) {
		c, err := r.LAN.Open(lab.Flow{Network: "udp", From: lab.Host(50, v6), To: server(3, 443, v6)})
		must(t, err)
		defer func() { _ = c.Close() }()
		raw, err := c.(syscall.Conn).SyscallConn()
		must(t, err)
		must(t, raw.Control(func(fd uintptr) {
			err = errors.Join(unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO))
		}))
		must(t, err)
		_, err = c.Write([]byte("small"))
		must(t, err)
		buf := make([]byte, 2000)
		_ = c.SetReadDeadline(time.Now().Add(patience))
		_, err = c.Read(buf) // the flow is known now
		must(t, err)
		big := bytes.Repeat([]byte("x"), 1430)
		await(t, "the link's size", func() bool {
			_, err := c.Write(big)
			return errors.Is(err, syscall.EMSGSIZE)
		})
	})
}

// TestDefaultOfOneLink: when the only link of the default block dies, whatever works takes its place, and status says so.
func TestDefaultOfOneLink(t *testing.T) {
	r := newRouter(t, lab.Virtua.OnlyV4(), lab.Embratel.OnlyV4())
	d := r.fresh(links, `default { via = link.embratel }`)
	d.link("embratel", "up", "")
	r.wantShares("all well", map[string]int{"embratel": 20})
	must(t, r.ISP("embratel").Lose(100))
	d.link("embratel", "down", "")
	r.wantShares("embratel dead", map[string]int{"virtua": 20})
	for range 6 {
		if link := r.ask(r.Router, lab.Flow{Network: "udp", To: server(5, 443, false)}); link != "virtua" {
			t.Errorf("the router's own flow left by %s", link)
		}
	}
	out, status := r.enlace("status")
	if status != 2 || !strings.Contains(out, "[last-resort]") || !strings.Contains(out, "no answer from gateway") {
		t.Errorf("status: exit %d\n%s", status, out)
	}
	r.settled()
	must(t, r.ISP("virtua").Lose(100)) // now nothing works: what has a gateway is used all the same
	d.link("virtua", "down", "")
	must(t, r.ISP("embratel").Lose(0))
	d.link("embratel", "up", "")
	r.wantShares("embratel back", map[string]int{"embratel": 20})
}
