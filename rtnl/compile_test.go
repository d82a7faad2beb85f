// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"enlace/policy"
)

// office is the plan of the seed's office, for n links.
func office(t *testing.T, n int, change func(*policy.Policy, *policy.Facts)) policy.Plan {
	t.Helper()
	p := policy.Policy{Settings: policy.DefaultSettings(), LANs: []policy.LAN{{Name: "lan", Interface: "eth0"}}}
	f := policy.Facts{Interfaces: []policy.Interface{{Name: "eth0", Index: 1, Up: true, Carrier: true}}}
	g := policy.Group{Name: "both", Table: 40}
	for i := range n {
		name, device := fmt.Sprintf("l%d", i), fmt.Sprintf("wan%d", i)
		p.Links = append(p.Links, policy.Link{Name: name, Interface: device, Table: uint32(20 + i), Gateway: [2]netip.Addr{netip.AddrFrom4([4]byte{100, 64, byte(i), 1})}})
		f.Interfaces = append(f.Interfaces, policy.Interface{Name: device, Index: i + 2, Up: true, Carrier: true, Addresses: []policy.Address{
			{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, byte(i), 2}), 24)},
		}})
		g.Members = append(g.Members, policy.Member{Link: name, Weight: i + 1})
	}
	p.Groups = []policy.Group{g}
	p.Default = policy.Target{Kind: policy.ToLink, Name: "l1"}
	if change != nil {
		change(&p, &f)
	}
	plan, _ := policy.Derive(p, f)
	return plan
}

func script(p policy.Plan) []string {
	s := Compile(p)
	var out []string
	for _, r := range s.Routes {
		out = append(out, r.Command(p.Settings.Protocol))
	}
	for _, r := range s.Rules {
		out = append(out, r.Command())
	}
	return out
}

func TestCompile(t *testing.T) {
	want := []string{
		"ip route replace 100.64.0.0/24 dev wan0 proto 225 table 20 src 100.64.0.2",
		"ip route replace default via 100.64.0.1 dev wan0 proto 225 table 20 src 100.64.0.2",
		"ip route replace unreachable default proto 225 table 20 metric 4294967295",
		"ip route replace 100.64.1.0/24 dev wan1 proto 225 table 21 src 100.64.1.2",
		"ip route replace default via 100.64.1.1 dev wan1 proto 225 table 21 src 100.64.1.2",
		"ip route replace unreachable default proto 225 table 21 metric 4294967295",
		"ip route replace default proto 225 table 40 nexthop via 100.64.0.1 dev wan0 weight 1 nexthop via 100.64.1.1 dev wan1 weight 2",
		"ip route replace unreachable default proto 225 table 40 metric 4294967295",
		"ip rule add not priority 1000 iif lo goto 1060 protocol 225",
		"ip rule add priority 1010 iif lo lookup main suppress_prefixlength 0 protocol 225",
		"ip rule add not priority 1020 fwmark 0x0/0xff000000 goto 1060 protocol 225",
		"ip rule add priority 1030 iif lo from 100.64.0.2 lookup 20 protocol 225",
		"ip rule add priority 1030 iif lo from 100.64.1.2 lookup 21 protocol 225",
		"ip rule add priority 1040 iif lo lookup 21 protocol 225",
		"ip rule add priority 1060 fwmark 0x1000000/0xff000000 lookup 20 protocol 225",
		"ip rule add priority 1060 fwmark 0x2000000/0xff000000 lookup 21 protocol 225",
		"ip rule add priority 33000 lookup 21 protocol 225",
	}
	if d := cmp.Diff(want, script(office(t, 2, nil))); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// TestDeadLink: its table keeps the leak stop and nothing else, its rules stay, and nothing new leads there.
func TestDeadLink(t *testing.T) {
	got := script(office(t, 2, func(_ *policy.Policy, f *policy.Facts) { f.Interfaces[2].Carrier = false }))
	for _, line := range []string{
		"ip route replace unreachable default proto 225 table 21 metric 4294967295",
		"ip rule add priority 1060 fwmark 0x2000000/0xff000000 lookup 21 protocol 225",
		"ip route replace default via 100.64.0.1 dev wan0 proto 225 table 40 src 100.64.0.2",
		"ip rule add priority 33000 lookup 20 protocol 225",
	} {
		if !slices.Contains(got, line) {
			t.Errorf("lacks %q:\n%s", line, strings.Join(got, "\n"))
		}
	}
	for _, line := range got {
		if strings.Contains(line, "dev wan1") || strings.Contains(line, "iif lo lookup 21") {
			t.Errorf("has %q", line)
		}
	}
}

// TestManyLinks: with many marks unmarked packets leave before them.
func TestManyLinks(t *testing.T) {
	got := strings.Join(script(office(t, manyLinks, nil)), "\n")
	for _, line := range []string{"not priority 1005 iif lo goto 1050", "rule add priority 1050 fwmark 0x0/0xff000000 lookup main"} {
		if !strings.Contains(got, line) {
			t.Errorf("lacks %q:\n%s", line, got)
		}
	}
}

// TestSettings: every number of the settings block is used.
func TestSettings(t *testing.T) {
	got := strings.Join(script(office(t, 2, func(p *policy.Policy, _ *policy.Facts) {
		p.Settings = policy.Settings{MarkMask: 0xf00, RulePriority: 5000, TableBase: 700, Protocol: 99, Forwarding: true, RPFilter: true}
		p.Links[0].Table = 0
	})), "\n")
	for _, want := range []string{"priority 5060 fwmark 0x100/0xf00 lookup 701 protocol 99", "proto 99 table 701"} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
	names := func(change func(*policy.Settings)) string {
		return fmt.Sprint(Compile(office(t, 2, func(p *policy.Policy, _ *policy.Facts) { change(&p.Settings) })).Sysctls)
	}
	all := names(func(*policy.Settings) {})
	for _, want := range []string{"ip_forward 1", "wan0/rp_filter 0", "accept_local 1", "ignore_routes_with_linkdown 1", "fib_multipath_hash_policy 1"} {
		if !strings.Contains(all, want) {
			t.Errorf("sysctls lack %q: %s", want, all)
		}
	}
	six := sysctlsOf(office(t, 2, func(p *policy.Policy, f *policy.Facts) {
		p.Links[0].Gateway[policy.V6] = netip.MustParseAddr("2001:db8::1")
		f.Interfaces[1].Addresses = append(f.Interfaces[1].Addresses, policy.Address{Prefix: netip.MustParsePrefix("2001:db8::2/64")})
	}))
	for _, want := range []string{"wan0/accept_ra 2", "ipv6/conf/all/forwarding 1", "ipv6/conf/all/ignore_routes_with_linkdown 1", "ipv6/fib_multipath_hash_policy 1"} {
		if !strings.Contains(six, want) {
			t.Errorf("sysctls lack %q: %s", want, six)
		}
	}
	if got := names(func(s *policy.Settings) { s.Forwarding = false }); strings.Contains(got, "forward") {
		t.Errorf("with forwarding = false: %s", got)
	}
	if got := names(func(s *policy.Settings) { s.RPFilter = false }); strings.Contains(got, "rp_filter") || strings.Contains(got, "accept_local") {
		t.Errorf("with rp_filter = false: %s", got)
	}
}

func sysctlsOf(p policy.Plan) string { return fmt.Sprint(Compile(p).Sysctls) }

// TestDiff: only what differs is written, and additions come before removals.
func TestDiff(t *testing.T) {
	two := Compile(office(t, 2, nil))
	if ch := Diff(two, two, State{}); ch.Len() != 0 {
		t.Errorf("nothing changed, but: %v", ch.Lines())
	}
	moved := Compile(office(t, 2, func(_ *policy.Policy, f *policy.Facts) {
		f.Interfaces[1].Addresses[0].Prefix = netip.MustParsePrefix("100.64.0.3/24")
	}))
	want := []string{
		"~ ip route 100.64.0.0/24 dev wan0 table 20 src 100.64.0.3 (was dev wan0 src 100.64.0.2)",
		"~ ip route default via 100.64.0.1 dev wan0 table 20 src 100.64.0.3 (was via 100.64.0.1 dev wan0 src 100.64.0.2)",
		"+ ip rule priority 1030 iif lo from 100.64.0.3 lookup 20 protocol 225",
		"- ip rule priority 1030 iif lo from 100.64.0.2 lookup 20 protocol 225",
	}
	if d := cmp.Diff(want, Diff(two, moved, State{}).Lines()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	// The same address and a new gateway: two routes are replaced, no rule is touched.
	gateway := Compile(office(t, 2, func(p *policy.Policy, _ *policy.Facts) {
		p.Links[0].Gateway[policy.V4] = netip.MustParseAddr("100.64.0.9")
	}))
	if ch := Diff(two, gateway, State{}); len(ch.AddRoutes) != 2 || ch.Len() != 2 {
		t.Errorf("a new gateway: %v", ch.Lines())
	}
	// A rule that is there twice is removed once.
	twice := two
	twice.Rules = append(slices.Clone(two.Rules), two.Rules[3])
	// A route that somebody else put in the place of ours is replaced; one that was there before is not.
	empty := State{}
	if ch := Diff(empty, two, two); len(ch.NewRoutes) != 0 || len(ch.AddRoutes) == 0 {
		t.Errorf("%d of %d routes that were in force are taken for new", len(ch.NewRoutes), len(ch.AddRoutes))
	}
	if ch := Diff(empty, two, empty); len(ch.NewRoutes) != len(ch.AddRoutes) {
		t.Errorf("%d of %d routes are taken for new, want all", len(ch.NewRoutes), len(ch.AddRoutes))
	}
	if ch := Diff(twice, two, State{}); len(ch.DelRules) != 1 || ch.Len() != 1 {
		t.Errorf("a doubled rule: %v", ch.Lines())
	}
}
