// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/ti-mo/conntrack"

	"enlace/e2e/inject"
	"enlace/e2e/lab"
)

// BenchmarkPacketCost measures what a packet costs the router: one of an established flow from the LAN (est), its answer (down),
// and the first of a new flow (new). The rulesets take turns in one run. The figures are ratios to plain masquerade, 1 is as fast,
// medians of the rounds; differences below 0.05 mean nothing. It needs root: the packets are injected by an XDP program.
func BenchmarkPacketCost(b *testing.B) {
	need(b, "ip")
	need(b, "iptables-legacy")
	all := contestants()
	for i := range all {
		all[i].build(b)
	}
	rounds := 0
	for b.Loop() {
		rounds++
		for i := range all {
			all[i].measureKnown(b)
		}
		for i := range all {
			all[i].measureNew(b)
		}
	}
	defer func() {
		for i := range all {
			all[i].down.Close()
		}
	}()
	b.ReportMetric(0, "ns/op")
	plain := all[0].medians()
	b.Logf("%d rounds; plain masquerade: est %v, down %v, new %v", rounds, plain[0], plain[1], plain[2])
	for _, c := range all {
		m := c.medians()
		var ratio [3]float64
		for i := range ratio {
			ratio[i] = float64(plain[i]) / float64(m[i])
		}
		b.Logf("%-34s est %.2f  down %.2f  new %.2f", c.name, ratio[0], ratio[1], ratio[2])
		for i, kind := range []string{"est", "down", "new"} {
			if ratio[i] < c.least[i] {
				b.Errorf("%s: %s is %.2f of plain masquerade, want at least %.2f", c.name, kind, ratio[i], c.least[i])
			}
		}
	}
	two, many := all[len(all)-2].medians()[2], all[len(all)-1].medians()[2]
	if times := float64(many) / float64(two); times > mostForPins {
		b.Errorf("new flows cost %.2f times as much with 10,000 rules for hosts as with 2, want at most %.2f", times, mostForPins)
	}
}

// mostForPins is how many times as much a new flow may cost with the last ruleset as with the one before it.
const mostForPins = 1.3

// ruleset is a router to be measured.
type ruleset struct {
	name   string
	links  int
	policy string // for enlace; otherwise the script is run
	list   int    // entries of the policy's list
	odd    bool   // entries are ranges that are no prefixes
	script string
	least  [3]float64 // est, down, new

	router   *lab.Namespace
	est, new *inject.Injector
	down     *inject.Injector
	took     [3][]time.Duration
}

// Numbers of flows that are measured: established ones fit into the caches, as those of a quiet office do; new ones are many
// enough to fill a measurement, and fewer than connection tracking takes.
const (
	knownFlows = 64
	newFlows   = 1 << 16
)

// build makes the router and its cables. What leaves it ends at the other end, where nobody has an address.
func (c *ruleset) build(b *testing.B) {
	namespace := func(name string) *lab.Namespace {
		n, err := lab.NewNamespace(name)
		must(b, err)
		b.Cleanup(func() { must(b, n.Close()) })
		return n
	}
	c.router = namespace("router")
	far := namespace("far")
	run := func(name string, args ...string) {
		if out, err := c.router.Run(name, args...); err != nil {
			b.Fatalf("%s: %s %v: %v\n%s", c.name, name, args, err, out)
		}
	}
	must(b, c.router.Connect("eth0", far, "lan"))
	must(b, c.router.AddAddress("eth0", netip.MustParsePrefix("10.1.0.1/16")))
	run("ip", "neigh", "add", "10.1.0.100", "lladdr", "02:00:00:00:00:01", "dev", "eth0", "nud", "permanent")
	for i := range c.links {
		must(b, c.router.Connect(uplink(i), far, fmt.Sprintf("far%d", i)))
		must(b, c.router.AddAddress(uplink(i), netip.MustParsePrefix(fmt.Sprintf("100.64.%d.2/24", i))))
		run("ip", "neigh", "add", fmt.Sprintf("100.64.%d.1", i), "lladdr", "02:00:00:00:00:01", "dev", uplink(i), "nud", "permanent")
	}
	must(b, c.router.Sysctl("netfilter/nf_conntrack_udp_timeout", "3600"))
	dir := b.TempDir()
	file := filepath.Join(dir, "policy")
	if c.policy != "" {
		must(b, os.WriteFile(file, []byte(c.policy), 0o600))
		if c.list > 0 {
			writeList(b, filepath.Join(dir, "list.txt"), c.list, c.odd)
		}
		run(os.Getenv(binaryVariable), "--root", dir, "apply", file)
	} else {
		must(b, os.WriteFile(file, []byte(c.script), 0o600))
		run("sh", file)
	}
	c.flows(b)
}

// flows prepares the same flows for every ruleset, and makes some of them established.
func (c *ruleset) flows(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	from := func(port int) netip.AddrPort { return netip.AddrPortFrom(lab.Host(100, false), uint16(port)) }
	known := make([]inject.UDPFlow, knownFlows)
	for i := range known {
		known[i] = inject.UDPFlow{From: from(1024 + i), To: netip.AddrPortFrom(destination(random), 443)}
	}
	fresh := make([]inject.UDPFlow, newFlows)
	for i := range fresh {
		fresh[i] = inject.UDPFlow{From: from(1024 + i%60_000), To: netip.AddrPortFrom(destination(random), uint16(5000+i/60_000))}
	}
	c.est, c.new = c.injector(b, "eth0", known), c.injector(b, "eth0", fresh)
	c.establish(b)
}

// establish makes the known flows known, and has each answered through the link that it left by.
func (c *ruleset) establish(b *testing.B) {
	_, err := c.est.Send(knownFlows)
	must(b, err)
	answers := map[byte][]inject.UDPFlow{}
	for _, f := range c.tracked(b) {
		if to := f.To.Addr().As4(); to[0] == 100 {
			answers[to[2]] = append(answers[to[2]], f)
		}
	}
	if len(answers) == 0 {
		b.Fatalf("%s: no flow left through a link", c.name)
	}
	if c.down != nil {
		c.down.Close()
		c.down = nil
	}
	for link := range 256 { // answers are measured on the first link that has any
		flows := answers[byte(link)]
		if len(flows) == 0 {
			continue
		}
		in, err := inject.New(c.router, uplink(link), flows)
		must(b, err)
		_, err = in.Send(len(flows))
		must(b, err)
		if c.down != nil {
			in.Close()
			continue
		}
		c.down = in
	}
}

func (c *ruleset) injector(b *testing.B, device string, flows []inject.UDPFlow) *inject.Injector {
	i, err := inject.New(c.router, device, flows)
	must(b, err)
	b.Cleanup(i.Close)
	return i
}

// tracked are the answers of all flows that connection tracking knows.
func (c *ruleset) tracked(b *testing.B) []inject.UDPFlow {
	var out []inject.UDPFlow
	c.conntrack(b, func(ct *conntrack.Conn) error {
		list, err := ct.Dump(nil)
		for _, f := range list {
			r := f.TupleReply
			out = append(out, inject.UDPFlow{
				From: netip.AddrPortFrom(r.IP.SourceAddress, r.Proto.SourcePort), To: netip.AddrPortFrom(r.IP.DestinationAddress, r.Proto.DestinationPort),
			})
		}
		return err
	})
	return out
}

func (c *ruleset) conntrack(b *testing.B, f func(*conntrack.Conn) error) {
	must(b, c.router.Do(func() error {
		ct, err := conntrack.Dial(&netlink.Config{})
		if err != nil {
			return err
		}
		defer func() { _ = ct.Close() }()
		return f(ct)
	}))
}

// measureKnown measures flows that are established. A measurement takes some tenths of a second.
func (c *ruleset) measureKnown(b *testing.B) {
	const frames = 200_000
	for i, in := range []*inject.Injector{c.est, c.down} {
		took, err := in.Send(frames)
		must(b, err)
		c.took[i] = append(c.took[i], took)
	}
}

// measureNew measures new flows, on an empty table of connections.
func (c *ruleset) measureNew(b *testing.B) {
	flush := func(ct *conntrack.Conn) error { return ct.Flush() }
	c.conntrack(b, flush)
	took, err := c.new.Send(newFlows)
	must(b, err)
	c.took[2] = append(c.took[2], took)
	c.conntrack(b, flush)
	c.establish(b)
}

func (c *ruleset) medians() (out [3]time.Duration) {
	for i, list := range c.took {
		sorted := slices.Clone(list)
		slices.Sort(sorted)
		out[i] = sorted[len(sorted)/2]
	}
	return out
}
