// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"enlace/e2e/lab"
	"enlace/policy"
	"enlace/watch"
	"enlace/watch/lease"
)

// TestWalk changes the router's world at random, two thousand times: addresses, gateways, leases, carriers, interfaces, what others
// delete of ours, and the policy. After each quiet moment the kernel has what the policy means in that world, as `ip -j` and
// `nft -j` show both.
func TestWalk(t *testing.T) {
	const steps, seed = 2000, 20261122
	t.Logf("%d steps, seed %d", steps, seed)
	need(t, "ip")
	need(t, "nft")
	r := newRouter(t, lab.Virtua.OnlyV4(), lab.Embratel.OnlyV4())
	w := &walk{router: r, random: rand.New(rand.NewPCG(seed, 0)), told: map[string]netip.Addr{}, dark: map[string]bool{}}
	for _, link := range walkLinks {
		must(t, r.ISP(link.name).AddAddress("customer", w.gateway(link, 254)))
	}
	w.d = r.watch(w.policy().text)
	quiet, last := 0, ""
	for step := range steps {
		if step == steps/2 { // the second half as on a kernel that cannot protect the table
			w.d.stop()
			w.d = r.watchFile(r.root+"/policy.hcl", "--protect=false")
		}
		last += fmt.Sprintf("\n%d: %s", step, w.step())
		w.right = kernel{}
		if w.random.IntN(4) > 0 && step != steps-1 {
			continue
		}
		quiet++
		if d := w.awaitRight(); d != "" {
			t.Fatalf("in a quiet moment after these steps%s\nthe kernel differs from what the policy means (-want +got)\n%s", last, d)
		}
		if quiet%10 == 0 {
			w.traffic()
		}
		last = ""
	}
	s := w.d.status()
	t.Logf("%d quiet moments, the longest way to one %v; %+v", quiet, w.longest.Round(time.Millisecond), *s.Counters)
	if w.longest > 15*time.Second {
		t.Errorf("something took %v: only the slow tick found it", w.longest)
	}
	for _, p := range s.Problems {
		if p.Code == policy.NotWritten {
			t.Errorf("problem: %s", p.Text)
		}
	}
}

// walkLink is a link as the walk knows it.
type walkLink struct {
	name, device, mark string
	table              string
	network            string // the first three bytes
	metric             int    // of its default route in main
}

var walkLinks = []walkLink{
	{"virtua", "eth1", "0x1000000", "20", "189.1.0.", 100},
	{"embratel", "eth2", "0x2000000", "30", "200.252.10.", 200},
}

// walkPolicy is a policy of the walk, and what follows from it.
type walkPolicy struct {
	text         string
	weights      map[string]int
	defaultGroup bool
	defaultLink  string
}

var walkPolicies = []walkPolicy{
	{dynamicGroup(2, 1) + "default { via = group.balanced }", map[string]int{"virtua": 2, "embratel": 1}, true, ""},
	{dynamicGroup(2, 1) + "default { via = link.embratel }", map[string]int{"virtua": 2, "embratel": 1}, false, "embratel"},
	{dynamicGroup(1, 3) + "default { via = link.virtua }", map[string]int{"virtua": 1, "embratel": 3}, false, "virtua"},
}

func dynamicGroup(virtua, embratel int) string {
	return fmt.Sprintf(`
lan "office" { interface = "eth0" }
link "virtua" {
  health { hold = "0s" }
  interface = "eth1"
  table     = 20
}
link "embratel" {
  health { hold = "0s" }
  interface = "eth2"
  table     = 30
}
group "balanced" {
  table = 40
  member "virtua"   { weight = %d }
  member "embratel" { weight = %d }
}
rule "balanced" {
  from = "10.1.0.50"
  via  = group.balanced
}
`, virtua, embratel)
}

// walk is a walk under way.
type walk struct {
	*router
	d      *daemon
	random *rand.Rand
	at     int                   // the policy in force
	told   map[string]netip.Addr // gateways by `enlace lease`, by interface
	dark   map[string]bool       // providers whose side is switched off

	longest time.Duration // that anything took to become right
	right   kernel        // what there was in the quiet moment just before this step, if there was one
}

func (w *walk) policy() walkPolicy { return walkPolicies[w.at] }

func (w *walk) gateway(l walkLink, n int) netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf("%s%d/24", l.network, n))
}

// step changes something, and says what. What is impossible at the moment changes nothing: that, too, is a step.
func (w *walk) step() string {
	l := walkLinks[w.random.IntN(len(walkLinks))]
	host := w.gateway(l, 2+w.random.IntN(3))
	gateway := w.gateway(l, []int{1, 254}[w.random.IntN(2)]).Addr()
	switch w.random.IntN(16) {
	case 0, 1:
		_ = w.Router.AddAddress(l.device, host)
		return fmt.Sprintf("add %s to %s", host, l.device)
	case 2:
		_ = w.Router.RemoveAddress(l.device, host)
		return fmt.Sprintf("remove %s from %s", host, l.device)
	case 3, 4, 5:
		_, _ = w.Router.Run("ip", "route", "replace", "default", "via", gateway.String(), "dev", l.device, "metric", fmt.Sprint(l.metric))
		return fmt.Sprintf("default route via %s", gateway)
	case 6:
		_, _ = w.Router.Run("ip", "route", "del", "default", "dev", l.device)
		return "no default route through " + l.device
	case 7:
		w.told[l.device] = gateway
		record := lease.Record{}
		record.Interface, record.Gateways = l.device, []netip.Addr{gateway}
		must(w.t, watch.FilesBelow(w.root).Leases.Set(record))
		return fmt.Sprintf("lease of %s: %s", l.device, gateway)
	case 8:
		delete(w.told, l.device)
		must(w.t, watch.FilesBelow(w.root).Leases.Clear(l.device))
		return "no lease of " + l.device
	case 9, 10:
		return w.carrier(l)
	case 11:
		_, _ = w.Router.Run("ip", "link", "set", l.device, []string{"up", "down"}[w.random.IntN(2)])
		_, _ = w.Router.Run("ip", "link", "set", l.device, "up")
		return "switch " + l.device + " off, or not, and on"
	case 12:
		return w.replug(l)
	case 13, 14:
		return w.meddle()
	}
	w.at = w.random.IntN(len(walkPolicies))
	w.write(w.policy().text)
	must(w.t, w.d.cmd.Process.Signal(syscall.SIGHUP))
	return fmt.Sprintf("policy %d", w.at)
}

// carrier takes the carrier away, or gives it back.
func (w *walk) carrier(l walkLink) string {
	if w.dark[l.name] = !w.dark[l.name]; w.dark[l.name] {
		must(w.t, w.ISP(l.name).Unplug())
		return "unplug " + l.device
	}
	must(w.t, w.ISP(l.name).PlugIn())
	return "plug in " + l.device
}

// replug makes an interface anew, with an address.
func (w *walk) replug(l walkLink) string {
	must(w.t, w.Router.Remove(l.device))
	must(w.t, w.Router.Connect(l.device, w.ISP(l.name).Namespace, "customer"))
	w.dark[l.name] = false
	for _, n := range []int{1, 254} {
		must(w.t, w.ISP(l.name).AddAddress("customer", w.gateway(l, n)))
	}
	must(w.t, w.Router.AddAddress(l.device, w.gateway(l, 2)))
	return "make " + l.device + " anew"
}

// meddle deletes something of ours by hand.
func (w *walk) meddle() string {
	ours := w.objects(false)
	if len(ours) == 0 || w.random.IntN(5) == 0 {
		_, _ = w.Router.Run("nft", "flush", "ruleset")
		return "flush the ruleset"
	}
	o := ours[w.random.IntN(len(ours))]
	// A route in the place of one of ours; what stands where we have none is somebody else's for good.
	if l := walkLinks[w.random.IntN(2)]; w.random.IntN(2) == 0 && w.right.Defaults[l.table] != "" {
		_, _ = w.Router.Run("ip", "route", "replace", "default", "via", w.gateway(l, 99).Addr().String(), "dev", l.device, "table", l.table)
		return "another default route in table " + l.table
	}
	_, _ = w.Router.Run(o.command[0], o.command[1:]...)
	return "delete " + o.what
}

// awaitRight waits until the kernel has what it should have, and returns the difference if it does not come to that.
func (w *walk) awaitRight() string {
	d := ""
	began := time.Now()
	for deadline := began.Add(patience); time.Now().Before(deadline); {
		want, got := w.look()
		if d = cmp.Diff(want, got); d == "" {
			w.right = got
			took := time.Since(began)
			w.longest = max(w.longest, took)
			if out, status := w.enlace("plan", w.root+"/policy.hcl"); status == 2 {
				continue // its last change is under way
			} else if status != 0 {
				return out
			}
			return ""
		}
	}
	return d + "\n" + w.d.log.String()
}

// traffic opens flows of a balanced host: while any link can carry them they are answered, and the providers count what is wrong.
func (w *walk) traffic() {
	want, _ := w.look()
	live := 0
	for _, l := range walkLinks {
		if want.Defaults[l.table] != "" {
			live++
		}
	}
	if live == 0 {
		return
	}
	for range 3 {
		if got := w.ask(w.LAN, lab.Flow{Network: "udp", From: lab.Host(50, false), To: server(5, 443, false)}); got == "" || got == "none" {
			w.t.Errorf("a flow left through %q; live links: %+v", got, want.Defaults)
		}
	}
}
