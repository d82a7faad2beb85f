// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"enlace/e2e/lab"
)

// BenchmarkApply brings an untouched router to the policy of n links: within a process, with a process for it, and as the
// seed's scripts do it, with processes of ip and iptables. The three take turns in one run; figures are medians in milliseconds.
func BenchmarkApply(b *testing.B) {
	for _, c := range []struct {
		links int
		least float64 // how many times faster than the scripts it has to be
	}{{2, 30}, {8, 50}, {64, 100}} {
		b.Run(fmt.Sprintf("links=%d", c.links), func(b *testing.B) { benchmarkApply(b, c.links, c.least) })
	}
}

func benchmarkApply(b *testing.B, n int, least float64) {
	need(b, "ip")
	need(b, "iptables")
	w := newWideRouter(b, n)
	var inProcess, process, scripts []time.Duration
	for b.Loop() {
		inProcess = append(inProcess, w.applier.apply())
		w.down()
		process = append(process, w.run(w.router, os.Getenv(binaryVariable), "--root", w.root, "apply", w.file))
		w.down()
		scripts = append(scripts, w.run(w.peer, "sh", w.script))
	}
	ms := func(list []time.Duration) float64 {
		slices.Sort(list)
		return float64(list[len(list)/2].Microseconds()) / 1000
	}
	b.ReportMetric(0, "ns/op") // of the three together, which says nothing
	b.ReportMetric(ms(inProcess), "ms-in-process")
	b.ReportMetric(ms(process), "ms-as-process")
	b.ReportMetric(ms(scripts), "ms-scripts")
	times := ms(scripts) / ms(inProcess)
	b.ReportMetric(times, "times-faster")
	b.ReportMetric(ms(scripts)/ms(process), "times-faster-as-process")
	b.Logf("%d links: %.1f ms in process, %.1f ms as a process, %.0f ms with scripts", n, ms(inProcess), ms(process), ms(scripts))
	if times < least {
		b.Errorf("%.0f times faster than the scripts, want at least %.0f", times, least)
	}
}

// wideRouter is a router with many links, and another that the scripts work on.
type wideRouter struct {
	b            *testing.B
	router, peer *lab.Namespace
	root         string
	file, script string
	applier      *applier
}

func newWideRouter(b *testing.B, n int) *wideRouter {
	w := &wideRouter{b: b, root: b.TempDir()}
	far := w.namespace("far")
	w.router, w.peer = w.namespace("router"), w.namespace("scripts")
	for side, ns := range []*lab.Namespace{w.router, w.peer} {
		must(b, ns.Connect("eth0", far, fmt.Sprintf("lan%d", side)))
		must(b, ns.AddAddress("eth0", netip.MustParsePrefix("10.1.0.1/16")))
		for i := range n {
			must(b, ns.Connect(uplink(i), far, fmt.Sprintf("far%d-%d", side, i)))
			must(b, ns.AddAddress(uplink(i), netip.MustParsePrefix(fmt.Sprintf("100.64.%d.2/24", i))))
		}
	}
	w.file, w.script = filepath.Join(w.root, "policy.hcl"), filepath.Join(w.root, "rc.sh")
	must(b, os.WriteFile(w.file, []byte(widePolicy(n)), 0o600))
	must(b, os.WriteFile(w.script, []byte(seedScript(n)), 0o600))
	w.applier = w.startApplier()
	return w
}

func (w *wideRouter) namespace(name string) *lab.Namespace {
	n, err := lab.NewNamespace(name)
	must(w.b, err)
	w.b.Cleanup(func() { must(w.b, n.Close()) })
	return n
}

func (w *wideRouter) down() {
	w.run(w.router, os.Getenv(binaryVariable), "--root", w.root, "down", w.file)
}

// run runs a program and returns how long it took from start to end.
func (w *wideRouter) run(n *lab.Namespace, name string, args ...string) (took time.Duration) {
	must(w.b, n.Do(func() error {
		began := time.Now()
		out, err := exec.Command(name, args...).CombinedOutput()
		took = time.Since(began)
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", name, err, out)
		}
		return nil
	}))
	return took
}

func uplink(i int) string { return fmt.Sprintf("wan%d", i) }

// manyLinks are a lan, n links and a group of all.
func manyLinks(n int) string {
	var b strings.Builder
	b.WriteString("lan \"office\" { interface = \"eth0\" }\n")
	for i := range n {
		fmt.Fprintf(&b, "link \"l%d\" {\n  interface = %q\n  gateway = \"100.64.%d.1\"\n}\n", i, uplink(i), i)
	}
	b.WriteString("group \"balanced\" {\n")
	for i := range n {
		fmt.Fprintf(&b, "  member \"l%d\" {}\n", i)
	}
	return b.String() + "}\n"
}

// widePolicy is the seed's policy with n links: each has a site that is always reached through it, and a forward.
func widePolicy(n int) string {
	var b strings.Builder
	b.WriteString(manyLinks(n))
	for i := range n {
		fmt.Fprintf(&b, "rule \"site%d\" {\n  from = lan.office\n  to = \"186.202.%d.0/24\"\n  via = link.l%d\n}\n", i, i, i)
		fmt.Fprintf(&b, "forward \"web%d\" {\n  link = link.l%d\n  protocol = \"tcp\"\n  port = 80\n  to = \"10.1.0.%d:80\"\n}\n", i, i, i+20)
	}
	b.WriteString("rule \"host\" {\n  from = \"10.1.0.100\"\n  via = group.balanced\n}\ndefault { via = link.l1 }\n")
	return b.String()
}

// seedScript does with n links what the seed's two scripts do with two, command by command.
func seedScript(n int) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	quiet := func(format string, args ...any) { line(format+" 2>/dev/null", args...) }
	for i := range n {
		quiet("ip route flush table %d", 1000+i)
	}
	quiet("ip route flush table 999")
	for i := range n {
		quiet("ip rule del from 100.64.%d.2 table %d", i, 1000+i)
		quiet("ip rule del fwmark %d table %d", i+1, 1000+i)
	}
	quiet("ip rule del fwmark 999 table 999")
	quiet("ip route del default")
	hops := ""
	for i := range n {
		line("ip route add 100.64.%d.0/24 dev %s src 100.64.%d.2 table %d", i, uplink(i), i, 1000+i)
		line("ip route add default via 100.64.%d.1 table %d", i, 1000+i)
		line("ip rule add from 100.64.%d.2 table %d", i, 1000+i)
		line("ip rule add fwmark %d table %d", i+1, 1000+i)
		hops += fmt.Sprintf(" nexthop via 100.64.%d.1 dev %s weight 1", i, uplink(i))
	}
	line("ip rule add fwmark 999 table 999")
	line("ip route add default scope global table 999%s", hops)
	line("ip route add default via 100.64.1.1")
	line("ip route flush cache")
	for _, t := range [][]string{{"filter", "INPUT", "FORWARD", "OUTPUT"}, {"nat", "PREROUTING", "OUTPUT", "POSTROUTING"}, {"mangle", "PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}} {
		line("iptables -t %s -F", t[0])
		for _, chain := range t[1:] {
			line("iptables -t %s -P %s ACCEPT", t[0], chain)
		}
		line("iptables -t %s -X", t[0])
	}
	line("echo 1 > /proc/sys/net/ipv4/ip_forward")
	line("iptables -A PREROUTING -t mangle -s 10.1.0.100/32 -d 0/0 -j MARK --set-mark 999")
	for i := range n {
		line("iptables -t nat -A PREROUTING -i %s -d 100.64.%d.2 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.1.0.%d:80", uplink(i), i, i+20)
		line("iptables -t mangle -A PREROUTING -i eth0 -s 10.1.0.%d -p tcp --sport 80 -j MARK --set-mark %d", i+20, i+1)
		line("iptables -A PREROUTING -t mangle -s 10.1.0.0/16 -d 186.202.%d.0/24 -j MARK --set-mark %d", i, i+1)
	}
	line("iptables -t nat -A POSTROUTING -s 10.1.0.20/24 -j MASQUERADE")
	line("iptables -t nat -A POSTROUTING -s 10.1.0.100/24 -j MASQUERADE")
	return b.String()
}
