// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"go4.org/netipx"

	"enlace/policy"
)

// runPlan has random rules for hosts and networks of a small space: in runs of one shape, with exceptions, ports, masks and users that
// break them, and with targets that differ between the families.
func runPlan(r *rand.Rand) policy.Plan {
	p := policy.Policy{Settings: policy.DefaultSettings()}
	var f policy.Facts
	for i := range 2 {
		name := fmt.Sprint("l", i)
		addresses := []policy.Address{{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, byte(i), 2}), 24)}}
		gateways := [2]netip.Addr{netip.AddrFrom4([4]byte{100, 64, byte(i), 1})}
		if i == 0 { // the other link has no IPv6
			addresses = append(addresses, policy.Address{Prefix: netip.MustParsePrefix("2001:db8::2/64")})
			gateways[1] = netip.MustParseAddr("2001:db8::1")
		}
		p.Links = append(p.Links, policy.Link{Name: name, Interface: name, Masquerade: true, Gateway: gateways})
		f.Interfaces = append(f.Interfaces, policy.Interface{Name: name, Index: i + 1, Up: true, Carrier: true, Addresses: addresses})
	}
	shapes := []policy.Match{
		{},
		{Protocols: []policy.Protocol{policy.TCP}},
		{Marks: []policy.MaskedMark{{Value: 1, Mask: 3}, {Value: 4, Mask: 4}}},
		{NotTo: []policy.Operand{{Range: netipx.RangeOfPrefix(netip.MustParsePrefix("198.51.100.0/25"))}}},
		{MACs: []policy.MAC{{2, 0, 0, 0, 0, 1}}},
		{Interfaces: []string{"wg0"}},
		{DSCP: []uint8{46}},
		{NotFrom: []policy.Operand{{Range: netipx.RangeOfPrefix(netip.MustParsePrefix("10.1.0.8/29"))}}},
		{Users: []uint32{13}},
	}
	for len(p.Rules) < 150 {
		shape := shapes[r.IntN(len(shapes))]
		for range 1 + r.IntN(40) {
			m := shape
			m.From = []policy.Operand{{Range: hostsAround(r, r.IntN(3) == 0)}}
			rule := policy.Rule{Name: fmt.Sprint("r", len(p.Rules)), Match: m, Via: policy.Target{Kind: policy.ToLink, Name: fmt.Sprint("l", r.IntN(2))}}
			rule.Otherwise = policy.Target{Kind: []policy.TargetKind{policy.ToDefault, policy.ToReject, policy.ToDrop}[r.IntN(3)]}
			p.Rules = append(p.Rules, rule)
		}
	}
	plan, _ := policy.Derive(p, f)
	return plan
}

// hostsAround is one of 64 hosts, or some of them in a row.
func hostsAround(r *rand.Rand, v6 bool) netipx.IPRange {
	first := r.IntN(64)
	last := first + r.IntN(2)*r.IntN(64-first)
	at := func(n int) netip.Addr {
		if v6 {
			b := netip.MustParseAddr("fd00:a::").As16()
			b[15] = byte(n)
			return netip.AddrFrom16(b)
		}
		return netip.AddrFrom4([4]byte{10, 1, 0, byte(n)})
	}
	return netipx.IPRangeFrom(at(first), at(last))
}

// TestFoldingKeepsTheFirstMatch: every host gets the same verdict for every kind of flow from a table with folded rules as from one where
// each rule is written out.
func TestFoldingKeepsTheFirstMatch(t *testing.T) {
	folded := 0
	for seed := range uint64(60) {
		plan := runPlan(rand.New(rand.NewPCG(seed, 7)))
		table := Compile(plan)
		c := compiler{plan: plan, mask: plan.Settings.MarkMask, parts: map[string][]part{}, relevant: [2]bool{true, true}}
		var single []Rule
		for _, r := range plan.Rules {
			single = append(single, c.policyRule(r)...)
		}
		rules := table.Chain("rules").Rules
		folded += strings.Count(table.Text(), " rules, r")
		for family := range 2 {
			for host := range 64 {
				for _, kind := range kindsOfFlows {
					got, want := walk(table.Sets, rules, family, host, kind), walk(c.table.Sets, single, family, host, kind)
					if want == "" {
						want = "accept" // the default rules, which the other table has too
					}
					if got != want {
						t.Fatalf("seed %d: host %d, family %d, %v: %s, want %s", seed, host, family, kind, got, want)
					}
				}
			}
		}
	}
	if folded < 60 {
		t.Errorf("%d rules were folded in all, want some in every policy", folded)
	}
}

// kindsOfFlows are the conditions, besides addresses, that a flow fulfils, as nft writes them.
var kindsOfFlows = [][]string{
	{},
	{"meta l4proto tcp"},
	{"meta mark & 0x00000003 0x00000001"},
	{"meta mark & 0x00000004 0x00000004"},
	{"ip daddr != 198.51.100.0/25"},
	{"ether saddr 02:00:00:00:00:01"},
	{`iifname "wg0"`},
	{"ip dscp 0x2e", "ip6 dscp 0x2e"},
	{"meta skuid 13"},
	{"meta l4proto tcp", "meta mark & 0x00000003 0x00000001", "ip daddr != 198.51.100.0/25", `iifname "wg0"`},
}

// walk goes through rules as the kernel does, for a flow from a host that fulfils some conditions.
func walk(sets []Set, rules []Rule, family, host int, fulfilled []string) string {
	for _, r := range rules {
		matches := true
		for _, s := range r.Statements {
			switch m := s.(type) {
			case counter:
			case Verdict:
				if matches {
					return m.text()
				}
			case inPrefix:
				holds := m.family == 1+family && m.prefix.Contains(hostAddress(family, host)) != m.not
				if !strings.HasSuffix(m.name, "saddr") {
					holds = contains(fulfilled, m.text())
				}
				matches = matches && holds
			case inSet:
				matches = matches && m.family == 1+family && inNamed(sets, m.set, hostAddress(family, host).AsSlice())
			case ofFamily:
				matches = matches && int(m) == family
			default:
				matches = matches && contains(fulfilled, s.text())
			}
		}
	}
	return ""
}

func hostAddress(family, host int) netip.Addr {
	if family == 0 {
		return netip.AddrFrom4([4]byte{10, 1, 0, byte(host)})
	}
	b := netip.MustParseAddr("fd00:a::").As16()
	b[15] = byte(host)
	return netip.AddrFrom16(b)
}

func inNamed(sets []Set, name string, key []byte) bool {
	for _, s := range sets {
		if s.Name != name {
			continue
		}
		for _, e := range s.Elements {
			if bytes.Compare(e.From, key) <= 0 && bytes.Compare(key, e.last()) <= 0 {
				return true
			}
		}
	}
	return false
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// TestIdentityHasNumbers: a rule that matches an interface by number is another rule when the number is another.
func TestIdentityHasNumbers(t *testing.T) {
	of := func(index int) Rule { return rule(oneOf(iif, []Element{numbered("eth1", index)}), accept) }
	two := func(index int) Rule {
		return rule(dispatch{selector: fibDaddrOIF, elems: []Element{numbered("eth1", index), numbered("eth2", 9)}})
	}
	for name, f := range map[string]func(int) Rule{"one": of, "several": two} {
		if a, b := f(1), f(2); a.text() != b.text() || a.identity() == b.identity() || a.identity() != f(1).identity() {
			t.Errorf("%s: texts %q and %q, identities %q and %q", name, a.text(), b.text(), a.identity(), b.identity())
		}
	}
}

// longSet is a list of n hosts that is not read back.
func longSet(n int) Set {
	s := Set{Name: "set.x.hosts4", Key: ipv4}
	for i := range n {
		s.Elements = append(s.Elements, Element{From: []byte{20, 0, byte(i >> 8), byte(i)}, Comment: strings.Repeat("c", i%3)})
	}
	return s
}

// TestRecallIsNotTrusted: elements that are remembered wrongly are not used: the whole list is replaced.
func TestRecallIsNotTrusted(t *testing.T) {
	old, want := longSet(2000), longSet(2001)
	said := content{old.Name, old.count(), old.hash()}
	for name, c := range map[string]struct {
		kept     []byte
		replaced bool
	}{
		"right":       {old.pack(), false},
		"another":     {longSet(1999).pack(), true},
		"nothing":     {nil, true},
		"cut off":     {old.pack()[:5000], true},
		"not a list":  {[]byte("rubbish"), true},
		"wrong count": {old.pack(), true},
	} {
		have := &observedSet{key: ipv4.typ.Magic, count: said.count}
		if name == "wrong count" {
			have.count--
		}
		d := differ{
			have: &Observed{exists: true, sets: map[string]*observedSet{old.Name: have}, lists: map[string]content{old.Name: said}},
			want: Table{Sets: []Set{want}}, change: &Change{main: newBatch(), tidy: newBatch()},
			recall: func(set, hash string) []byte {
				if set != old.Name || hash != old.hash() {
					t.Errorf("%s: asked for %s %s", name, set, hash)
				}
				return c.kept
			},
		}
		d.sets()
		replaced := strings.HasPrefix(d.change.Lines()[0], "~ set")
		if replaced != c.replaced || d.change.Len() != 1 {
			t.Errorf("%s: %q", name, d.change.Lines())
		}
	}
}

// FuzzUnpack: whatever a file holds, unpack does not fail, and what it accepts it gives back.
func FuzzUnpack(f *testing.F) {
	f.Add(longSet(5).pack())
	f.Add([]byte{4, 1, 2, 3, 4, 1, 2, 3, 9, 0})
	f.Add([]byte{255})
	f.Fuzz(func(t *testing.T, b []byte) {
		elems, ok := unpack(b)
		if !ok {
			return
		}
		again, ok := unpack(Set{Elements: elems}.pack())
		if !ok || fmt.Sprint(again) != fmt.Sprint(elems) {
			t.Fatalf("%v became %v", elems, again)
		}
	})
}
