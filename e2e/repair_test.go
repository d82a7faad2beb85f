// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"enlace/e2e/lab"
	"enlace/policy"
	"enlace/watch"
)

// object is something of ours, and the command that removes it.
type object struct {
	what    string
	command []string
}

// objects are all objects that enlace made on the router: routes, rules, and, if asked for, what is in the table.
func (r *router) objects(table bool) []object {
	r.t.Helper()
	var out []object
	for _, family := range []string{"-4", "-6"} {
		for _, l := range r.lines("ip", "-o", family, "route", "show", "table", "all", "proto", "225") {
			l = strings.ReplaceAll(l, `\`, "") // stands for the end of a line
			out = append(out, object{l, append([]string{"ip", family, "route", "del"}, strings.Fields(l)...)})
		}
		for _, l := range r.lines("ip", family, "rule") {
			if number, rule, _ := strings.Cut(l, ":"); strings.Contains(l, "proto 225") {
				rule = strings.ReplaceAll(strings.ReplaceAll(rule, " [unresolved]", ""), "proto 225", "protocol 225")
				out = append(out, object{l, append([]string{"ip", family, "rule", "del", "priority", number}, strings.Fields(rule)...)})
			}
		}
	}
	if !table {
		return out
	}
	chain := ""
	handle := regexp.MustCompile(` # handle (\d+)$`)
	for _, l := range r.lines("nft", "-a", "list", "table", "inet", "enlace") {
		words := strings.Fields(l)
		switch m := handle.FindStringSubmatch(l); {
		case len(words) < 2 || words[0] == "type" || words[0] == "elements" || words[0] == "table":
		case words[0] == "chain":
			chain = words[1]
			out = append(out, object{"rules of chain " + chain, []string{"nft", "flush", "chain", "inet", "enlace", chain}})
		case words[0] == "set" || words[0] == "map":
			chain = ""
			out = append(out, object{"elements of set " + words[1], []string{"nft", "flush", words[0], "inet", "enlace", words[1]}})
		case m != nil && chain != "":
			out = append(out, object{l, []string{"nft", "delete", "rule", "inet", "enlace", chain, "handle", m[1]}})
		}
	}
	return append(out, object{"the table", []string{"nft", "delete", "table", "inet", "enlace"}})
}

// foreign are things of other programs.
func (r *router) foreign() {
	for _, c := range [][]string{
		{"nft", "add", "table", "inet", "other"},
		{"nft", "add", "chain", "inet", "other", "in", "{ type filter hook input priority 0 ; }"},
		{"nft", "add", "rule", "inet", "other", "in", "tcp", "dport", "9", "accept"},
		{"ip", "rule", "add", "from", "10.99.0.0/16", "table", "99", "priority", "1001"},
		{"ip", "route", "add", "10.99.0.0/16", "dev", "eth0", "table", "20"},
		{"ip", "route", "add", "10.98.0.0/16", "dev", "eth0"},
	} {
		if out, err := r.Router.Run(c[0], c[1:]...); err != nil {
			r.t.Fatalf("%v: %v\n%s", c, err, out)
		}
	}
}

// TestPain14_Repair: each object that is deleted by hand, one at a time and all at once, is back within 100 ms (median), and what is
// not ours is not touched.
func TestPain14_Repair(t *testing.T) {
	for _, protected := range []bool{true, false} {
		t.Run(fmt.Sprintf("protected=%v", protected), func(t *testing.T) {
			need(t, "nft")
			need(t, "ip")
			r := newRouter(t)
			r.foreign()
			d := r.watchFile(r.write(links, balanced, `rule "bank" {
  to  = ["186.202.0.0/24", "186.203.0.1-186.203.0.9"]
  via = link.embratel
}
default { via = group.balanced }`), fmt.Sprintf("--protect=%v", protected))
			before := sorted(r.listing())
			var took []time.Duration
			objects := r.objects(!protected)
			for at := range objects {
				o := r.objects(!protected)[at] // handles change when rules come back
				repairs := d.status().Counters.Repairs
				if out, err := r.Router.Run(o.command[0], o.command[1:]...); err != nil {
					t.Fatalf("%v: %v\n%s", o.command, err, out)
				}
				began := time.Now()
				d.await("the return of "+o.what, func(s *watch.Status) bool { return s.Counters.Repairs > repairs })
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			t.Logf("%d objects, one at a time: back after %v (median), %v (last)", len(took), took[len(took)/2], took[len(took)-1])
			if last := took[len(took)-1]; len(took) < 30 || took[len(took)/2] > 100*time.Millisecond || last > 2*time.Second {
				t.Errorf("%d objects came back after %v (median), %v (last), want at least 30, 100 ms, 2 s", len(took), took[len(took)/2], last)
			}
			diff(t, before, sorted(r.listing()))

			var all []string
			for _, o := range objects {
				all = append(all, "'"+strings.Join(o.command, "' '")+"'")
			}
			repairs := d.status().Counters.Repairs
			script := strings.Join(all, "\n")
			_, _ = r.Router.Run("sh", "-c", script) // some are gone already, or back
			began := time.Now()
			d.await("the return of everything", func(s *watch.Status) bool { return s.Counters.Repairs > repairs })
			r.awaitListing(before)
			t.Logf("%d at once: back %v after the last", len(objects), time.Since(began))
			complaint := false
			for _, p := range d.status().Problems {
				complaint = complaint || p.Code == policy.ChangedOutside
			}
			if !complaint || !strings.Contains(d.log.String(), "changed from outside") {
				t.Errorf("nobody is told that things were changed from outside: %+v", d.status().Problems)
			}
		})
	}
}

// awaitListing waits until the router is again as it was.
func (r *router) awaitListing(want []string) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if slices.Equal(sorted(r.listing()), want) {
			return
		}
	}
	diff(r.t, want, sorted(r.listing()))
}

// sorted are the lines of a listing in order: ip rules of one priority exclude each other, and come back in any order.
func sorted(listing string) []string { return slices.Sorted(strings.SplitSeq(listing, "\n")) }

// TestPain14_Flush: somebody flushes the whole ruleset every 200 ms for 10 s. The kernel keeps our table, and no packet of the flows
// leaves through a wrong link or untranslated (the providers count those).
func TestPain14_Flush(t *testing.T) {
	need(t, "nft")
	r := newRouter(t)
	d := r.watch(links, balanced, `default { via = group.balanced }`)
	var streams []*lab.Stream
	for n := range 10 {
		s, err := r.StreamUDP(r.LAN, lab.Flow{From: lab.Host([]int{20, 50}[n%2], n%3 == 0), To: server(n+1, 443, n%3 == 0)}, 100)
		must(t, err)
		streams = append(streams, s)
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for range 50 {
		<-tick.C
		if out, err := r.Router.Run("nft", "flush", "ruleset"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		r.ask(r.LAN, lab.Flow{Network: "tcp", From: lab.Host(100, false), To: server(9, 443, false)})
	}
	for n, s := range streams {
		r.unbroken(fmt.Sprintf("flow %d", n), s.Stop())
	}
	if s := d.status(); s.Counters.Repairs != 0 {
		t.Errorf("%d repairs, want none: the table is protected", s.Counters.Repairs)
	}
	r.unchanged()
}
