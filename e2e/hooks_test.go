// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ti-mo/conntrack"

	"enlace/e2e/lab"
	"enlace/watch"
)

// TestHooks: the package's hooks tell enlace what a client learned whose lease files it does not see, and that a lease is over.
func TestHooks(t *testing.T) {
	for _, c := range []struct{ client, place string }{
		{"dhclient", "/etc/dhcp/dhclient-exit-hooks.d"},
		{"dhcpcd", "/usr/lib/dhcpcd/dhcpcd-hooks"},
		{"udhcpc", ""},
	} {
		t.Run(c.client, func(t *testing.T) {
			need(t, "dnsmasq")
			// Embratel's default route is first in main, so that the client's own is refused there.
			r := newRouter(t, lab.Virtua.OnlyV4().ByDHCP(), lab.Embratel.OnlyV4())
			must(t, r.Router.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), r.ISP("embratel").Gateway(false), "eth2"))
			r.hidden = true
			if c.place != "" {
				hooks := filepath.Join(r.root, "hooks")
				must(t, os.Mkdir(hooks, 0o755))
				must(t, os.Rename(r.hook(c.client), filepath.Join(hooks, "90-enlace")))
				r.mounts = append(r.mounts, fmt.Sprintf("mount --bind %s %s", hooks, c.place))
			}
			r.serveDHCP("virtua", "189.1.0.2", "189.1.0.1")
			d := r.watch(dynamic)
			client := r.client(c.client, "eth1")
			if v := d.link("virtua", "up", "189.1.0.1"); !strings.HasPrefix(v.IPv4.Learned, "enlace lease, ") && c.client == "dhclient" {
				t.Errorf("the gateway is known from %q, want the hook", v.IPv4.Learned)
			}
			told := filepath.Join(r.root, "run/enlace/leases/eth1.json")
			d.await("the hook's word", func(*watch.Status) bool { _, err := os.Stat(told); return err == nil })
			r.expect("virtua", 50, server(1, 443, false))
			if c.client == "dhclient" { // tells nobody when it ends; its lease has an end
				client.kill()
			} else {
				client.release(c.client)
				d.await("the hook's word that the lease is over", func(*watch.Status) bool { _, err := os.Stat(told); return err != nil })
			}
			d.link("virtua", "incomplete", "")
		})
	}
}

// TestPain06_PrefixChange: IPv6 by router advertisements; the provider's prefix changes, and new flows leave with an address of the new one.
func TestPain06_PrefixChange(t *testing.T) {
	need(t, "dnsmasq")
	r := newRouter(t, lab.Virtua.ByDHCP(), lab.Embratel)
	r.run(r.ISP("virtua").Namespace, "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--pid-file=",
		"--log-facility=-", "--interface=customer", "--enable-ra", "--dhcp-range=::,constructor:customer,ra-only,64,2m", "--dhcp-leasefile="+filepath.Join(r.root, "leases6"))
	d := r.watch(strings.ReplaceAll(dynamic, "rule \"v\" {\n  from = \"10.1.0.50\"", "rule \"v\" {\n  from = [\"10.1.0.50\", \"fd00:a::32\"]"))
	v6 := func(prefix string) {
		t.Helper()
		d.await("virtua with an address of "+prefix, func(s *watch.Status) bool {
			p := s.Links[0].IPv6
			return p != nil && netip.MustParsePrefix(prefix).Contains(p.Address) && p.Gateway.IsLinkLocalUnicast()
		})
	}
	v6("2001:db8:189::/64")
	r.expect("virtua", 50, server(1, 443, true))
	must(t, r.Renumber("virtua", netipPrefixes("189.9.0.0/24", "2001:db8:1899::/64")...))
	v6("2001:db8:1899::/64")
	r.expect("virtua", 50, server(2, 443, true))
	d.awaitIdle()
}

// TestPain05_OnlyTheAddressThatWent: a link loses one of two addresses. The flows that came in through it are released, those of the other
// address and of the other link go on without a loss.
func TestPain05_OnlyTheAddressThatWent(t *testing.T) {
	r := newRouter(t)
	must(t, r.ServeIn(r.LAN, 80))
	second := netip.MustParsePrefix("189.1.0.3/24")
	must(t, r.Router.AddAddress("eth1", second))
	r.watch(links, "forward \"dns\" {\n  link = link.virtua\n  protocol = \"udp\"\n  port = 80\n  to = \"10.1.0.20\"\n}\ndefault { via = link.virtua }")
	first := r.ISP("virtua").Address(false)
	streams := map[string]*lab.Stream{}
	start := func(name string, n *lab.Namespace, f lab.Flow) {
		s, err := r.StreamUDP(n, f, 200)
		must(t, err)
		s.Await(20)
		streams[name] = s
	}
	start("in by the first", r.Internet, lab.Flow{From: lab.Remote(5, false), To: netip.AddrPortFrom(first.Addr(), 80)})
	start("in by the second", r.Internet, lab.Flow{From: lab.Remote(6, false), To: netip.AddrPortFrom(second.Addr(), 80)})
	start("out", r.LAN, lab.Flow{From: lab.Host(50, true), To: server(7, 443, true)})
	if r.flows(second.Addr()) == 0 || r.flows(first.Addr()) == 0 {
		t.Fatal("there are no flows to look at")
	}
	streams["in by the second"].Stop() // its packets would be tracked anew while the provider sends them
	must(t, r.Router.RemoveAddress("eth1", second))
	for deadline := time.Now().Add(10 * time.Second); r.flows(second.Addr()) > 0; { // by itself it takes 30 (nf_conntrack_udp_timeout)
		if time.Now().After(deadline) {
			t.Fatal("the flows of the address that went were not released")
		}
	}
	streams["in by the first"].Await(50)
	streams["out"].Await(50)
	if got := streams["in by the first"].Stop(); got.Lost != 0 {
		t.Errorf("the flow of the address that stays: %+v", got)
	}
	r.unbroken("the IPv6 flow", streams["out"].Stop())
	if r.flows(first.Addr()) == 0 {
		t.Error("flows of the address that stays were released")
	}
}

// flows is how many flows the router tracks that are seen outside under an address.
func (r *router) flows(a netip.Addr) int {
	r.t.Helper()
	n := 0
	must(r.t, r.Router.Do(func() error {
		c, err := conntrack.Dial(nil)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		list, err := c.Dump(nil)
		for _, f := range list {
			if f.TupleOrig.IP.DestinationAddress == a || f.TupleReply.IP.DestinationAddress == a {
				n++
			}
		}
		return err
	}))
	return n
}

// unitFiles are the package's.
var unitFiles = []string{"enlace-apply.service", "enlace.service"}

// TestUnits: systemd's own judgement of how exposed the units are is 2.0 or better.
func TestUnits(t *testing.T) {
	need(t, "systemd-analyze")
	for _, u := range unitFiles {
		out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", filepath.Join("../cmd/enlace/host", u)).CombinedOutput()
		must(t, err)
		_, level, found := strings.Cut(string(out), "Overall exposure level for "+u+": ")
		words := strings.Fields(level)
		if !found || len(words) == 0 {
			t.Fatalf("%s: %s", u, out)
		}
		exposure, err := strconv.ParseFloat(words[0], 64)
		must(t, err)
		t.Logf("%s: %.1f", u, exposure)
		if exposure > 2.8 {
			t.Errorf("%s: exposure %.1f, want at most 2.8", u, exposure)
		}
	}
}

// TestFewRights: the daemon does its work with no more than the capabilities that the unit leaves it.
func TestFewRights(t *testing.T) {
	need(t, "setpriv")
	r := newRouter(t)
	text, err := os.ReadFile("../cmd/enlace/host/enlace.service")
	must(t, err)
	set := "-all"
	for l := range strings.Lines(string(text)) {
		if list, ok := strings.CutPrefix(l, "CapabilityBoundingSet="); ok {
			for _, c := range strings.Fields(list) {
				set += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
			}
		}
	}
	r.before = []string{"setpriv", "--bounding-set=" + set, "--inh-caps=-all", "--no-new-privs"}
	d := r.watch(links, balanced, `default { via = group.balanced }`)
	if n := d.procHex("status", "CapEff:"); n == 0 || n&(1<<21) != 0 {
		t.Errorf("the daemon has capabilities %x; CAP_SYS_ADMIN must not be among them", n)
	}
	must(t, r.Renumber("virtua", netipPrefixes("189.77.0.0/24", "2001:db8:1897::/64")...))
	d.link("virtua", "up", "189.77.0.1")
	if counts := r.shares(50, 30, false); counts["virtua"] != 20 {
		t.Errorf("shares %v, want 20:10", counts)
	}
	r.before = nil
	r.unchanged()
}
