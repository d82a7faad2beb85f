// SPDX-License-Identifier: Apache-2.0

package lang

import (
	"slices"
	"sort"

	"go4.org/netipx"

	"enlace/policy"
)

// shadowed warns of rules that an earlier rule leaves nothing to match. A LAN without networks of its own counts only as
// itself, because its addresses are not known yet.
func (d *decoder) shadowed() {
	sides := make([][2]side, len(d.out.Rules)) // from, to
	for i, r := range d.out.Rules {
		sides[i] = [2]side{d.sideOf(r.Match.From), d.sideOf(r.Match.To)}
	}
	first := d.shadowedInRuns(sides)
	for i := range d.out.Rules {
		later := &d.out.Rules[i]
		for j := range first[i] { // the rules of its own run have been looked at
			if sides[j][0].covers(&sides[i][0]) && sides[j][1].covers(&sides[i][1]) && covers(&d.out.Rules[j].Match, &later.Match) {
				d.neverReached("rule", later.Name, d.out.Rules[j].Name, d.out.Rules[j].Pos)
				break
			}
		}
	}
	d.shadowedRedirects()
}

// shadowedRedirects warns of redirects in the same way. There are few.
func (d *decoder) shadowedRedirects() {
	for i, later := range d.out.Redirects {
		from, to := d.sideOf(later.Match.From), d.sideOf(later.Match.To)
		for _, earlier := range d.out.Redirects[:i] {
			earlierFrom, earlierTo := d.sideOf(earlier.Match.From), d.sideOf(earlier.Match.To)
			if earlierFrom.covers(&from) && earlierTo.covers(&to) && covers(&earlier.Match, &later.Match) {
				d.neverReached("redirect", later.Name, earlier.Name, earlier.Pos)
				break
			}
		}
	}
}

func (d *decoder) neverReached(kind, later, earlier string, at policy.Pos) {
	d.warn(d.scope.names[kind][later], capital(kind)+" never reached",
		"%s %q (%s) already takes every flow that this one matches. Move this %s before it, or remove one.", capital(kind), earlier, at, kind)
}

// shadowedInRuns looks at runs of rules for literal addresses, of which there may be thousands: comparing each with each would take
// seconds. It returns, for each rule, the first rule of its run, or itself.
func (d *decoder) shadowedInRuns(sides [][2]side) []int {
	rules := d.out.Rules
	begins := make([]int, len(rules))
	for i := range begins {
		begins[i] = i
	}
	for _, run := range policy.Runs(len(rules), func(i, j int, s policy.Side) bool { return literalRun(rules[i].Match, rules[j].Match, s) }) {
		var lists [][]netipx.IPRange
		for i := run.First; i < run.Last; i++ {
			begins[i] = run.First
			lists = append(lists, sides[i][run.Side].known)
		}
		reached := make([]bool, len(lists))
		segments := policy.FirstMatch(lists)
		for _, s := range segments {
			reached[s.Owner] = true
		}
		for i, list := range lists {
			if reached[i] {
				continue
			}
			at := sort.Search(len(segments), func(k int) bool { return !segments[k].Range.To().Less(list[0].From()) })
			earlier := rules[run.First+segments[at].Owner]
			if sides[run.First+segments[at].Owner][run.Side].covers(&sides[run.First+i][run.Side]) {
				d.neverReached("rule", rules[run.First+i].Name, earlier.Name, earlier.Pos)
				continue
			}
			d.warn(d.scope.names["rule"][rules[run.First+i].Name], "Rule never reached",
				"Earlier rules, such as %q (%s), together take every flow that this one matches. Move this rule before them, or remove it.", earlier.Name, earlier.Pos)
		}
	}
	return begins
}

// literalRun tells whether two rules differ in one side's addresses only, and those stand in the rules themselves.
func literalRun(a, b policy.Match, s policy.Side) bool {
	differ, same := [2][]policy.Operand{a.From, b.From}, [2][]policy.Operand{a.To, b.To}
	if s == policy.Destination {
		differ, same = same, differ
	}
	literal := func(ops []policy.Operand) bool {
		return len(ops) > 0 && !slices.ContainsFunc(ops, func(o policy.Operand) bool { return o.Kind != policy.Literal })
	}
	return literal(differ[0]) && literal(differ[1]) && slices.Equal(same[0], same[1]) &&
		slices.Equal(a.NotFrom, b.NotFrom) && slices.Equal(a.NotTo, b.NotTo) && a.SameShape(b)
}

// covers tells whether every flow that b matches is matched by a, addresses aside.
func covers(a, b *policy.Match) bool {
	return a.Router == b.Router &&
		listCovers(a.Protocols, b.Protocols) && listCovers(a.DSCP, b.DSCP) &&
		listCovers(a.Marks, b.Marks) && listCovers(a.Interfaces, b.Interfaces) &&
		listCovers(a.Users, b.Users) && listCovers(a.MACs, b.MACs) &&
		exceptionsCover(a.NotFrom, b.NotFrom) && exceptionsCover(a.NotTo, b.NotTo) &&
		portsCover(a.Ports, b.Ports) && portsCover(a.SourcePorts, b.SourcePorts)
}

// listCovers: an empty list matches everything, otherwise every element of b must be one of a.
func listCovers[T comparable](a, b []T) bool {
	if len(a) == 0 {
		return true
	}
	for _, x := range b {
		if !slices.Contains(a, x) {
			return false
		}
	}
	return len(b) > 0
}

// exceptionsCover: what a leaves out, b must leave out too.
func exceptionsCover(a, b []policy.Operand) bool {
	for _, x := range a {
		if !slices.Contains(b, x) {
			return false
		}
	}
	return true
}

func portsCover(a, b []policy.PortRange) bool {
	if len(a) == 0 {
		return true
	}
	for _, x := range b {
		if !slices.ContainsFunc(a, func(y policy.PortRange) bool { return y.First <= x.First && x.Last <= y.Last }) {
			return false
		}
	}
	return len(b) > 0
}

// side are the addresses of from or to, as far as the policy itself tells them.
type side struct {
	any   bool
	known []netipx.IPRange // sorted, without overlaps
	lans  map[string]bool  // LANs whose addresses are not known yet
}

// covers tells whether every address of b is one of a.
func (a *side) covers(b *side) bool {
	if a.any || b.any {
		return a.any
	}
	if len(b.known) == 0 && len(b.lans) == 0 {
		return false // an empty set is not hidden by anything: it has nothing
	}
	if len(a.known) > 0 && len(b.known) > 0 && b.known[0].From().Less(a.known[0].From()) {
		return false // most pairs of many rules end here
	}
	for lan := range b.lans {
		if !a.lans[lan] {
			return false
		}
	}
	for _, r := range b.known {
		at := sort.Search(len(a.known), func(i int) bool { return !a.known[i].To().Less(r.From()) })
		if at == len(a.known) || r.From().Less(a.known[at].From()) || a.known[at].To().Less(r.To()) {
			return false
		}
	}
	return true
}

func (d *decoder) sideOf(ops []policy.Operand) side {
	s := side{any: len(ops) == 0, lans: map[string]bool{}}
	var list []netipx.IPRange
	for _, o := range ops {
		switch o.Kind {
		case policy.Literal:
			list = append(list, o.Range)
		case policy.OfSet:
			for _, set := range d.out.Sets {
				if set.Name != o.Name {
					continue
				}
				if len(ops) == 1 { // perhaps very long, and in order already
					return side{known: set.Ranges}
				}
				list = append(list, set.Ranges...)
			}
		case policy.OfLAN:
			for _, l := range d.out.LANs {
				if l.Name != o.Name {
					continue
				}
				for _, n := range l.Networks {
					list = append(list, netipx.RangeOfPrefix(n))
				}
				if len(l.Networks) == 0 {
					s.lans[l.Name] = true
				}
			}
		}
	}
	s.known = merged(list)
	return s
}
