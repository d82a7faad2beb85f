// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go4.org/netipx"

	"enlace/policy"
	"enlace/policy/lang"
)

var update = flag.Bool("update", false, "write the golden files anew")

// facts are the seed's host: both links up with IPv4, IPv6 on virtua only.
func facts() policy.Facts {
	i := func(name string, index int, addresses ...string) policy.Interface {
		i := policy.Interface{Name: name, Index: index, Up: true, Carrier: true}
		for _, a := range addresses {
			i.Addresses = append(i.Addresses, policy.Address{Prefix: netip.MustParsePrefix(a)})
		}
		return i
	}
	return policy.Facts{
		Interfaces: []policy.Interface{i("eth0", 2, "10.1.0.1/16", "fd00:a::1/64"), i("eth1", 3, "189.1.0.2/24", "2001:db8:189::2/64"), i("eth2", 4, "200.252.10.2/24")},
		Routes: []policy.Route{
			{Dest: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("189.1.0.1"), Interface: "eth1"},
			{Dest: netip.MustParsePrefix("::/0"), Gateway: netip.MustParseAddr("2001:db8:189::1"), Interface: "eth1"},
		},
	}
}

func compiled(t *testing.T, text string, f policy.Facts) Table {
	t.Helper()
	p, report := lang.Parse(lang.Source{Name: "office.hcl", Text: []byte(text)})
	if report.HasErrors() {
		t.Fatal(report.Diagnostics)
	}
	plan, _ := policy.Derive(p, f)
	return Compile(plan)
}

// TestGolden compares the whole table of the demo's policy with a file: what an administrator sees.
func TestGolden(t *testing.T) {
	text, err := os.ReadFile("../cmd/enlace/demo.hcl")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/demo.nft", compiled(t, string(text), facts()).Text())
}

// TestGoldenForward does that for what stands in the forward hook.
func TestGoldenForward(t *testing.T) {
	text := compiled(t, strings.Replace(bypassing, `interface = "eth1"`, "\n  interface = \"eth1\"\n  mss_clamp = 1400\n", 1), facts()).Text()
	from := strings.Index(text, "\tflowtable")
	to := strings.Index(text, "\tchain to_virtua")
	if from < 0 || to < from {
		t.Fatalf("no flowtable:\n%s", text)
	}
	forward := text[strings.Index(text, "\tchain forward"):to]
	golden(t, "testdata/forward.nft", text[from:strings.Index(text, "\tchain prerouting")]+forward)
}

// golden compares a text with a file.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); d != "" {
		t.Errorf("(-want +got), go test ./nft -update writes it\n%s", d)
	}
}

const twoLinks = `
lan "office" { interface = "eth0" }
link "virtua" { interface = "eth1" }
link "embratel" {
  interface = "eth2"
  gateway   = "200.252.10.1"
}
`

func rules(t *testing.T, text, chain string) string {
	t.Helper()
	table := compiled(t, twoLinks+text, facts())
	c := table.Chain(chain)
	if c == nil {
		t.Fatalf("no chain %s", chain)
	}
	var out []string
	for _, r := range c.Rules {
		r.Comment = ""
		out = append(out, r.text())
	}
	return strings.Join(out, "\n")
}

// TestRules: what a rule of the policy becomes.
func TestRules(t *testing.T) {
	for _, c := range []struct{ name, policy, want string }{
		{"any", `via = link.virtua`, "counter goto to_virtua"},
		{"families differ", `via = link.embratel`, "meta nfproto ipv4 counter goto to_embratel\nmeta nfproto ipv6 counter accept"},
		{"lan", "from = lan.office\n via = link.virtua", "ip saddr 10.1.0.0/16 counter goto to_virtua\nip6 saddr fd00:a::/64 counter goto to_virtua"},
		{"host", "to = \"1.2.3.4\"\n via = link.virtua", "ip daddr 1.2.3.4 counter goto to_virtua"},
		{"list", "to = [\"1.2.3.4\", \"9.0.0.0/8\"]\n via = link.virtua", "ip daddr @rule.r.to4 counter goto to_virtua"},
		{"family mismatch", "from = lan.office\n to = \"1.2.3.4\"\n via = link.virtua", "ip saddr 10.1.0.0/16 ip daddr 1.2.3.4 counter goto to_virtua"},
		{"port", "protocol = \"tcp\"\n port = 25\n via = link.virtua", "tcp dport 25 counter goto to_virtua"},
		{"ports", "protocol = \"tcp\"\n port = [587, 25, \"20-26\"]\n via = link.virtua", "tcp dport { 20-26, 587 } counter goto to_virtua"},
		{"protocols", "protocol = [\"udp\", \"tcp\"]\n source_port = 53\n via = link.virtua", "meta l4proto { tcp, udp } th sport 53 counter goto to_virtua"},
		{"protocol", "protocol = \"gre\"\n via = link.virtua", "meta l4proto 47 counter goto to_virtua"},
		{"dscp", "tos = 0x20\n via = link.virtua", "ip dscp 0x08 counter goto to_virtua\nip6 dscp 0x08 counter goto to_virtua"},
		{"mark", "mark = 0x10\n via = link.virtua", "meta mark & 0x00ffffff 0x00000010 counter goto to_virtua"},
		{"marks of several masks", "mark = [\"0x10/0xff\", \"0x1000/0xff00\", \"0x20/0xff\"]\n via = link.virtua", "meta mark & 0x000000ff { 0x00000010, 0x00000020 } counter goto to_virtua\nmeta mark & 0x0000ff00 0x00001000 counter goto to_virtua"},
		{"interface", "interface = \"wg0\"\n via = link.virtua", `iifname "wg0" counter goto to_virtua`},
		{"main", "via = main", "counter accept"},
		{"reject", "protocol = \"tcp\"\n via = link.embratel\n otherwise = reject", "meta nfproto ipv4 meta l4proto tcp counter goto to_embratel\nmeta nfproto ipv6 meta l4proto tcp counter goto refuse"},
		{"drop", "via = link.embratel\n otherwise = drop", "meta nfproto ipv4 counter goto to_embratel\nmeta nfproto ipv6 counter drop"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.TrimSuffix(rules(t, "rule \"r\" {\n"+c.policy+"\n}\n", "rules"), "\ncounter accept")
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

// TestNobodyTwice: the kernel refuses a set with the same element twice.
func TestNobodyTwice(t *testing.T) {
	got := rules(t, "rule \"r\" {\n protocol = [\"tcp\", 6]\n dscp = [8, \"cs1\"]\n via = link.virtua\n}", "rules")
	if !strings.HasPrefix(got, "ip dscp 0x08 meta l4proto tcp counter") {
		t.Errorf("%s", got)
	}
}

// TestCompileIsStable: the same plan gives the same messages, byte for byte.
func TestCompileIsStable(t *testing.T) {
	var first []byte
	for range 10 {
		b := newBatch()
		d := differ{have: &Observed{}, want: Compile(manyLinks(8)), change: &Change{main: b, tidy: newBatch()}}
		d.diff()
		var all []byte
		for _, m := range b.msgs {
			all = append(all, m.Data...)
		}
		if first == nil {
			first = all
		}
		if !bytes.Equal(first, all) {
			t.Fatal("the messages differ")
		}
	}
}

// TestCommentFits: nft refuses comments of more than 127 characters.
func TestCommentFits(t *testing.T) {
	long := strings.Repeat("x", 200)
	if got := rule(accept).because("%s", long).Comment; len(got) != longestComment {
		t.Errorf("a comment of %d characters, want %d", len(got), longestComment)
	}
}

// TestAfter: the end of an interval, up to the highest value, which has none.
func TestAfter(t *testing.T) {
	for _, c := range []struct{ in, want []byte }{{[]byte{10, 255, 255, 255}, []byte{11, 0, 0, 0}}, {[]byte{0, 80}, []byte{0, 81}}, {[]byte{255, 255}, nil}} {
		if got := after(c.in); !bytes.Equal(got, c.want) {
			t.Errorf("after %v comes %v, want %v", c.in, got, c.want)
		}
	}
}

// TestSetNamesDiffer: names in a policy that look like parts of generated names do not make two sets one.
func TestSetNamesDiffer(t *testing.T) {
	hosts := func(b byte) []netipx.IPRange {
		var out []netipx.IPRange
		for i := range byte(3) {
			a := netip.AddrFrom4([4]byte{198, 51, b, 2 * i})
			out = append(out, netipx.IPRangeFrom(a, a))
		}
		return out
	}
	nets := []netipx.IPRange{netipx.RangeOfPrefix(netip.MustParsePrefix("10.0.0.0/8")), netipx.RangeOfPrefix(netip.MustParsePrefix("172.16.0.0/12"))}
	operands := func(list []netipx.IPRange) (out []policy.Operand) {
		for _, r := range list {
			out = append(out, policy.Operand{Range: r})
		}
		return out
	}
	p := policy.Policy{Settings: policy.DefaultSettings(), Sets: []policy.Set{{Name: "x", Ranges: hosts(1)}, {Name: "x_hosts", Ranges: nets}, {Name: "x_hosts4", Ranges: hosts(2)}}}
	var f policy.Facts
	for i, name := range []string{"c", "b_to_c", "reject"} {
		p.Links = append(p.Links, policy.Link{Name: name, Interface: name, Masquerade: true, Gateway: [2]netip.Addr{netip.AddrFrom4([4]byte{100, 64, byte(i), 1})}})
		f.Interfaces = append(f.Interfaces, policy.Interface{Name: name, Index: i + 1, Up: true, Carrier: true, Addresses: []policy.Address{{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, byte(i), 2}), 24)}}})
	}
	add := func(name string, m policy.Match, to string) {
		p.Rules = append(p.Rules, policy.Rule{Name: name, Match: m, Via: policy.Target{Kind: policy.ToLink, Name: to}})
	}
	for _, s := range p.Sets {
		add("set_"+s.Name, policy.Match{To: []policy.Operand{{Kind: policy.OfSet, Name: s.Name}}}, "c")
	}
	add("r", policy.Match{NotTo: operands(hosts(3)), Protocols: []policy.Protocol{policy.TCP}}, "c")
	add("r_not", policy.Match{To: operands(hosts(4))}, "c")
	for i, run := range []struct{ name, to string }{{"a", "b_to_c"}, {"a_to_b", "c"}, {"a_to_link", "reject"}} {
		add(fmt.Sprint("between", i), policy.Match{Protocols: []policy.Protocol{policy.UDP}}, "c")
		for n := range byte(8) {
			a := netip.AddrFrom4([4]byte{10, 1, byte(i), n})
			add(fmt.Sprintf("%s%.*d", run.name, min(int(n), 1), n), policy.Match{From: operands([]netipx.IPRange{netipx.IPRangeFrom(a, a)})}, run.to)
		}
	}
	plan, _ := policy.Derive(p, f)
	seen := map[string]bool{}
	for _, s := range Compile(plan).Sets {
		if seen[s.Name] {
			t.Errorf("two sets are called %s", s.Name)
		}
		seen[s.Name] = true
	}
	for _, want := range []string{"set.x.hosts4", "set.x_hosts4", "rule.r.not_to.hosts4", "rule.r_not.to.hosts4", "run.a.to.link.b_to_c.hosts4", "run.a_to_b.to.link.c.hosts4"} {
		if !seen[want] {
			t.Errorf("there is no set %s among %v", want, seen)
		}
	}
}
