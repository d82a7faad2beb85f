// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go4.org/netipx"
)

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func up(name string, index int, addresses ...string) Interface {
	i := Interface{Name: name, Index: index, Up: true, Carrier: true}
	for _, a := range addresses {
		i.Addresses = append(i.Addresses, Address{Prefix: prefix(a), Link: prefix(a).Addr().IsLinkLocalUnicast()})
	}
	return i
}

// office is the seed's policy and host.
func office() (Policy, Facts) {
	p := Policy{
		Settings: DefaultSettings(),
		LANs:     []LAN{{Name: "office", Interface: "eth0"}},
		Links: []Link{
			{Name: "virtua", Interface: "eth1", Table: 20},
			{Name: "embratel", Interface: "eth2", Table: 30, Gateway: [2]netip.Addr{addr("200.252.10.1")}},
		},
		Groups:  []Group{{Name: "both", Table: 40, Members: []Member{{"virtua", 2, 1}, {"embratel", 1, 1}}}},
		Default: Target{Kind: ToGroup, Name: "both"},
	}
	f := Facts{
		Interfaces: []Interface{up("eth0", 2, "10.1.0.1/16"), up("eth1", 3, "189.1.0.2/24"), up("eth2", 4, "200.252.10.2/26")},
		Routes: []Route{
			{Dest: prefix("0.0.0.0/0"), Gateway: addr("189.1.0.1"), Interface: "eth1"},
			{Dest: prefix("10.1.0.0/16"), Interface: "eth0"},
			{Dest: prefix("189.1.0.0/24"), Interface: "eth1"},
			{Dest: prefix("200.252.10.0/26"), Interface: "eth2"},
		},
	}
	return p, f
}

func codes(problems []Problem) []Code {
	var out []Code
	for _, p := range problems {
		out = append(out, p.Code)
	}
	return out
}

func TestDeriveOffice(t *testing.T) {
	plan, problems := Derive(office())
	if len(problems) != 0 {
		t.Errorf("problems: %v", problems)
	}
	want := PlannedLink{
		Paths:    [2]*Path{{Address: addr("189.1.0.2"), Gateway: addr("189.1.0.1"), Learned: FromMain}},
		Networks: [2][]Route{{{Dest: prefix("189.1.0.0/24"), Interface: "eth1", Source: addr("189.1.0.2")}}},
	}
	compare := cmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})}
	if d := cmp.Diff(want, PlannedLink{Paths: plan.Links[0].Paths, Networks: plan.Links[0].Networks}, compare); d != "" {
		t.Errorf("path of virtua (-want +got)\n%s", d)
	}
	if plan.Links[1].Mark != 0x02000000 || plan.Links[1].State != Up || plan.Links[1].Paths[V6] != nil {
		t.Errorf("embratel: %+v", plan.Links[1])
	}
	if d := cmp.Diff([2][]Share{{{0, 2}, {1, 1}}, nil}, plan.Groups[0].Live); d != "" {
		t.Errorf("live members (-want +got)\n%s", d)
	}
	if d := cmp.Diff([2]Verdict{{Kind: ToGroup, Flows: Failover}, {Kind: ToMain}}, plan.Default); d != "" {
		t.Errorf("default (-want +got)\n%s", d)
	}
}

// TestGateway: where a link's gateway comes from, in order.
func TestGateway(t *testing.T) {
	none := netip.Addr{}
	for _, c := range []struct {
		name   string
		change func(*Policy, *Facts)
		want   netip.Addr
		codes  []Code
	}{
		{"main", func(*Policy, *Facts) {}, addr("189.1.0.1"), nil},
		{"the policy wins", func(p *Policy, _ *Facts) { p.Links[0].Gateway[V4] = addr("189.1.0.9") }, addr("189.1.0.9"), nil},
		{"the lowest metric wins", func(_ *Policy, f *Facts) {
			f.Routes[0].Metric = 200
			f.Routes = append(f.Routes, Route{Dest: prefix("0.0.0.0/0"), Gateway: addr("189.1.0.7"), Interface: "eth1", Metric: 100})
		}, addr("189.1.0.7"), nil},
		{"of another interface", func(_ *Policy, f *Facts) { f.Routes[0].Interface = "eth2" }, none, []Code{NoGateway}},
		{"a lease", func(_ *Policy, f *Facts) { f.Routes, f.Leases = f.Routes[1:], leased("189.1.0.2", "189.1.0.8") }, addr("189.1.0.8"), nil},
		{"a lease that main's route is older than", func(_ *Policy, f *Facts) {
			f.Routes[0].Left, f.Leases = true, leased("189.1.0.2", "189.1.0.8")
		}, addr("189.1.0.8"), nil},
		{"a route that its maker keeps right", func(_ *Policy, f *Facts) { f.Leases = leased("189.1.0.2", "189.1.0.8") }, addr("189.1.0.1"), nil},
		{"a lease of another address", func(_ *Policy, f *Facts) { f.Routes, f.Leases = f.Routes[1:], leased("10.9.0.2", "189.1.0.8") }, none, []Code{NoGateway}},
		{"a lease without an address", func(_ *Policy, f *Facts) { f.Routes, f.Leases = f.Routes[1:], leased("", "189.1.0.8") }, addr("189.1.0.8"), nil},
		{"a lease with the router's own address first", func(_ *Policy, f *Facts) {
			f.Routes, f.Leases = f.Routes[1:], leased("", "189.1.0.2", "189.1.0.8")
		}, addr("189.1.0.8"), nil},
		{"outside", func(p *Policy, _ *Facts) { p.Links[0].Gateway[V4] = addr("172.31.1.1") }, addr("172.31.1.1"), []Code{GatewayOutside}},
		{"its own address", func(p *Policy, _ *Facts) { p.Links[0].Gateway[V4] = addr("189.1.0.2") }, none, []Code{GatewayUnusable, NoGateway}},
		{"the broadcast address", func(p *Policy, _ *Facts) { p.Links[0].Gateway[V4] = addr("189.1.0.255") }, none, []Code{GatewayUnusable, NoGateway}},
		{"no address", func(_ *Policy, f *Facts) { f.Interfaces[1].Addresses = nil }, none, []Code{NoAddress}},
		{"no carrier", func(_ *Policy, f *Facts) { f.Interfaces[1].Carrier = false }, none, []Code{NoCarrier}},
		{"switched off", func(_ *Policy, f *Facts) { f.Interfaces[1].Up = false }, none, []Code{InterfaceDown}},
		{"missing", func(_ *Policy, f *Facts) { f.Interfaces[1].Name = "eth7" }, none, []Code{InterfaceMissing}},
	} {
		p, f := office()
		c.change(&p, &f)
		plan, problems := Derive(p, f)
		got := none
		if path := plan.Links[0].Paths[V4]; path != nil {
			got = path.Gateway
		}
		if got != c.want {
			t.Errorf("%s: gateway %v, want %v", c.name, got, c.want)
		}
		if d := cmp.Diff(c.codes, codes(problems)); d != "" {
			t.Errorf("%s: problems (-want +got)\n%s", c.name, d)
		}
	}
}

// leased is a lease for virtua's interface.
func leased(address string, gateways ...string) []Lease {
	l := Lease{Interface: "eth1", Source: "a client"}
	if address != "" {
		l.Address = addr(address)
	}
	for _, g := range gateways {
		l.Gateways = append(l.Gateways, addr(g))
	}
	return []Lease{l}
}

func TestPointToPointNeedsNoGateway(t *testing.T) {
	p, f := office()
	f.Routes = f.Routes[1:]
	f.Interfaces[1] = Interface{Name: "eth1", Index: 3, Up: true, Carrier: true, PointToPoint: true, Addresses: []Address{
		{Prefix: prefix("189.1.0.2/32"), Peer: addr("10.64.64.1")},
	}}
	plan, problems := Derive(p, f)
	path := plan.Links[0].Paths[V4]
	if path == nil || path.Gateway.IsValid() || path.Address != addr("189.1.0.2") || len(problems) != 0 {
		t.Fatalf("path %+v, problems %v", path, problems)
	}
	if networks := plan.Links[0].Networks[V4]; len(networks) == 0 || networks[0].Dest != prefix("10.64.64.1/32") {
		t.Errorf("networks %v, want the far end first", networks)
	}
}

// TestSource: a fading IPv6 address is chosen only when there is no other, and one in the gateway's network before others.
func TestSource(t *testing.T) {
	i := Interface{Addresses: []Address{
		{Prefix: prefix("fe80::1/64"), Link: true},
		{Prefix: prefix("2001:db8:1::a/64"), Fading: true},
		{Prefix: prefix("2001:db8:2::a/64")},
		{Prefix: prefix("2001:db8:3::a/64")},
	}}
	for gateway, want := range map[string]string{"fe80::9": "2001:db8:2::a", "2001:db8:3::1": "2001:db8:3::a"} {
		if got, ok := i.source(V6, addr(gateway)); !ok || got.Prefix.Addr() != addr(want) {
			t.Errorf("with gateway %s: %v, want %s", gateway, got, want)
		}
	}
	if got, _ := (Interface{Addresses: i.Addresses[:2]}).source(V6, addr("fe80::9")); got.Prefix.Addr() != addr("2001:db8:1::a") {
		t.Errorf("a fading address alone: %v, want it", got)
	}
	if _, ok := i.source(V4, addr("10.0.0.1")); ok {
		t.Error("an IPv4 source was found among IPv6 addresses")
	}
}

// TestVerdicts: what becomes of a rule's target when links die.
func TestVerdicts(t *testing.T) {
	virtua, embratel := Target{ToLink, "virtua"}, Target{ToLink, "embratel"}
	main, reject := Verdict{Kind: ToMain}, Verdict{Kind: ToReject}
	for _, c := range []struct {
		name                string
		via, otherwise, def Target
		dead                []int // places in Facts.Interfaces
		want                Verdict
	}{
		{"alive", virtua, Target{Kind: ToDefault}, embratel, nil, Verdict{Kind: ToLink, Flows: Failover}},
		{"dead, default", virtua, Target{Kind: ToDefault}, embratel, []int{1}, Verdict{Kind: ToLink, Index: 1, Flows: Failover}},
		{"dead, reject", virtua, Target{Kind: ToReject}, embratel, []int{1}, reject},
		{"dead, other link", virtua, embratel, Target{}, []int{1}, Verdict{Kind: ToLink, Index: 1, Flows: Failover}},
		{"all dead", virtua, Target{Kind: ToDefault}, embratel, []int{1, 2}, main},
		{"no default", virtua, Target{Kind: ToDefault}, Target{}, []int{1}, main},
		{"group, one dead", Target{ToGroup, "both"}, reject0, embratel, []int{1}, Verdict{Kind: ToGroup, Flows: Failover}},
		{"group, all dead", Target{ToGroup, "both"}, reject0, embratel, []int{1, 2}, reject},
		{"main", Target{Kind: ToMain}, Target{}, embratel, nil, main},
	} {
		p, f := office()
		p.Default = c.def
		p.Rules = []Rule{{Name: "r", Via: c.via, Otherwise: c.otherwise}}
		for _, i := range c.dead {
			f.Interfaces[i].Carrier = false
		}
		plan, _ := Derive(p, f)
		if got := plan.Rules[0].Via[V4]; got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

var reject0 = Target{Kind: ToReject}

// TestAddresses: what a rule names becomes ranges, and a LAN without addresses matches nothing instead of everything.
func TestAddresses(t *testing.T) {
	p, f := office()
	p.Sets = []Set{{Name: "banks", Ranges: []netipx.IPRange{netipx.RangeOfPrefix(prefix("186.202.0.0/16"))}}}
	p.Rules = []Rule{{
		Name: "r", Via: Target{Kind: ToMain},
		Match: Match{From: []Operand{{Kind: OfLAN, Name: "office"}}, To: []Operand{{Kind: OfSet, Name: "banks"}, {Range: netipx.RangeOfPrefix(prefix("186.203.0.0/16"))}}},
	}}
	plan, _ := Derive(p, f)
	from, to := plan.Rules[0].From, plan.Rules[0].To
	if from.Any || from.Name != "lan.office" || len(from.Ranges) != 1 || from.Ranges[0].String() != "10.1.0.0-10.1.255.255" || from.Takes(V6) {
		t.Errorf("from: %+v", from)
	}
	if to.Name != "" || len(to.Ranges) != 1 || to.Ranges[0].String() != "186.202.0.0-186.203.255.255" {
		t.Errorf("to: %+v, want both merged", to)
	}
	f.Interfaces[0].Name = "lan0"
	plan, problems := Derive(p, f)
	if from := plan.Rules[0].From; from.Any || from.Takes(V4) || from.Takes(V6) {
		t.Errorf("from of a missing LAN: %+v, want a match of nothing", from)
	}
	if d := cmp.Diff([]Code{LANMissing}, codes(problems)); d != "" {
		t.Errorf("problems (-want +got)\n%s", d)
	}
}

func TestMarkInUse(t *testing.T) {
	p, f := office()
	f.Marks = []MaskedMark{{0x8000, 0x8000}, {0x10000000, 0x30000000}}
	_, problems := Derive(p, f)
	if d := cmp.Diff([]Code{MarkInUse}, codes(problems)); d != "" {
		t.Errorf("problems (-want +got)\n%s", d)
	}
}

// TestSpecificRoutes: what main reaches through a link by other routes than the default is the link's, too.
func TestSpecificRoutes(t *testing.T) {
	p, f := office()
	f.Routes = append(f.Routes,
		Route{Dest: prefix("200.1.0.0/16"), Gateway: addr("200.252.10.9"), Interface: "eth2"},
		Route{Dest: prefix("224.0.0.0/4"), Interface: "eth2"})
	plan, _ := Derive(p, f)
	var got []string
	for _, r := range plan.Links[1].Networks[V4] {
		got = append(got, r.Dest.String())
	}
	if d := cmp.Diff([]string{"200.252.10.0/26", "200.1.0.0/16"}, got); d != "" {
		t.Errorf("networks of embratel (-want +got)\n%s", d)
	}
}

// TestDeriveIsStable: the same input gives the same plan, byte for byte.
func TestDeriveIsStable(t *testing.T) {
	first := ""
	for range 20 {
		plan, _ := Derive(office())
		b, err := json.Marshal(plan.Links)
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = string(b)
		}
		if string(b) != first {
			t.Fatalf("plans differ:\n%s\n%s", first, b)
		}
	}
}
