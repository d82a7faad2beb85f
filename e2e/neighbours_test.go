// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"enlace/e2e/lab"
)

// foreign is what other programs left on the router: a table, rules, routes, and a route in a table that is ours.
var foreign = [][]string{
	{"nft", "add table inet firewall"},
	{"nft", "add chain inet firewall input { type filter hook input priority 0; policy accept; }"},
	{"nft", "add rule inet firewall input tcp dport 9 counter drop"},
	{"ip", "rule", "add", "priority", "1005", "from", "172.16.0.0/12", "lookup", "99"},
	{"ip", "rule", "add", "priority", "2000", "dsfield", "0x10", "lookup", "99"},
	{"ip", "rule", "add", "priority", "2001", "fwmark", "0x8000/0x8000", "lookup", "99"},
	{"ip", "-6", "rule", "add", "priority", "2002", "uidrange", "0-0", "lookup", "99"},
	{"ip", "route", "add", "172.20.0.0/16", "via", "10.1.0.20", "table", "99", "proto", "static"},
	{"ip", "route", "add", "172.21.0.0/16", "via", "10.1.0.20"},
	{"ip", "route", "add", "172.23.0.0/16", "via", "10.1.0.20", "proto", "225"},
	{"sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/eth0/forwarding; echo 0 > /proc/sys/net/ipv4/conf/all/accept_redirects; echo 1 > /proc/sys/net/ipv6/conf/eth2/forwarding"},
	{"ip", "route", "add", "172.22.0.0/16", "via", "10.1.0.20", "table", "20", "proto", "static"},
}

// addForeign plays the other programs.
func (r *router) addForeign() {
	r.t.Helper()
	for _, c := range foreign {
		r.lines(c[0], c[1:]...)
	}
	// A rule with an attribute that rule libraries do not know: FRA_DSCP came with Linux 6.13.
	must(r.t, r.Router.Do(func() error {
		c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		ae := netlink.NewAttributeEncoder()
		ae.Uint32(unix.FRA_PRIORITY, 2003)
		ae.Uint32(unix.FRA_TABLE, 99)
		const dscp = 25 // FRA_DSCP of linux/fib_rules.h
		ae.Uint8(dscp, 46)
		attrs, err := ae.Encode()
		if err != nil {
			return err
		}
		_, err = c.Execute(netlink.Message{
			Header: netlink.Header{Type: unix.RTM_NEWRULE, Flags: netlink.Request | netlink.Acknowledge | netlink.Create},
			Data:   append([]byte{unix.AF_INET, 0, 0, 0, 0, 0, 0, unix.FR_ACT_TO_TBL, 0, 0, 0, 0}, attrs...),
		})
		if errors.Is(err, unix.EINVAL) {
			return nil // an older kernel does not know it either
		}
		return err
	}))
}

// TestPain14_NeighboursSurvive: what others own is the same after apply and after down, and after down nothing is left of ours.
func TestPain14_NeighboursSurvive(t *testing.T) {
	r := newRouter(t)
	r.addForeign()
	before := r.listing()
	policy := []string{links, balanced, web, `default { via = group.balanced }`}
	r.apply(policy...)
	r.unchanged()
	during := r.listing()
	for _, c := range []string{"table inet firewall", "2000:\tfrom all tos 0x10 lookup 99", "1005:\tfrom 172.16.0.0/12 lookup 99", "172.22.0.0/16 via 10.1.0.20 dev eth0 table 20"} {
		if !strings.Contains(during, c) && !strings.Contains(during, strings.ReplaceAll(c, "tos 0x10", "tos lowdelay")) {
			t.Errorf("after apply %q is gone", c)
		}
	}
	if out, status := r.enlace("down", r.write(policy...)); status != 0 {
		t.Fatalf("down: exit %d\n%s", status, out)
	}
	diff(t, strings.Split(before, "\n"), strings.Split(r.listing(), "\n"))
	if out, status := r.enlace("down", r.write(policy...)); status != 0 || out != "nothing to remove\n" {
		t.Errorf("a second down: exit %d, %s", status, out)
	}
}

// TestForeignRouteInTheWay: a table that somebody else filled is not taken over, and nothing is half done.
func TestForeignRouteInTheWay(t *testing.T) {
	r := newRouter(t)
	r.lines("ip", "route", "add", "default", "via", "189.1.0.1", "table", "30") // as the seed's script leaves it
	before := r.listing()
	out, status := r.enlace("apply", r.write(links, `default { via = link.embratel }`))
	if status != 1 || !strings.Contains(out, "table 30 already has a route to 0.0.0.0/0 that is not enlace's") {
		t.Errorf("exit %d\n%s", status, out)
	}
	diff(t, strings.Split(before, "\n"), strings.Split(r.listing(), "\n"))
	if _, err := os.Stat(filepath.Join(r.root, "run/enlace/sysctls.json")); err == nil {
		t.Error("a note of sysctls is left, which the next down would put back")
	}
}

// TestPain11_OtherMarksKept: bits of marks that are not ours survive the router, in packets and in connections.
func TestPain11_OtherMarksKept(t *testing.T) {
	r := newRouter(t)
	need(t, "nft")
	r.lines("nft", "add table inet other")
	// Another program marks packets and connections before us, and counts what is left of its bits behind us.
	r.lines("nft", "add chain inet other before { type filter hook prerouting priority -160; }")
	r.lines("nft", "add rule inet other before iifname eth0 meta mark set 0x00ab0010 ct mark set ct mark | 0x0000cafe")
	r.lines("nft", "add chain inet other behind { type filter hook postrouting priority 300; }")
	r.lines("nft", "add rule inet other behind iifname eth0 oifname eth2 meta mark & 0x00ffffff == 0x00ab0010 ct mark & 0x00ffffff == 0x0000cafe counter")
	r.apply(links, `default { via = link.embratel }`)
	for i := range 5 {
		if _, err := r.LAN.Ask(lab.Flow{Network: "udp", From: lab.Host(50, false), To: server(i+1, 443, false)}); err != nil {
			t.Error(err)
		}
	}
	if got := strings.Join(r.lines("nft", "list", "chain", "inet", "other", "behind"), " "); !strings.Contains(got, "counter packets 5 ") {
		t.Errorf("the other program's marks were changed: %s", got)
	}
}
