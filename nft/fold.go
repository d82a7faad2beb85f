// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go4.org/netipx"

	"enlace/policy"
)

// foldFrom is how many rules in a row, for each place that they lead to, are worth a set for that place. Fewer are written out, one
// by one: a rule costs a new flow about a fifth of what a look-up costs, and is easier to read.
const foldFrom = 8

// policyRules are the policy's rules for flows from inside, or for the router's own. Rules in a row that differ only in the
// addresses of one side, and in where they lead, are folded: ten thousand of them cost what one costs for each place that they lead
// to. (A map from addresses to marks would need one look-up for all places, but nft can write a mark only as a whole, and bits of
// other programs would be lost.) The elements of the sets are divided so that still the first rule takes a flow, and count
// packets, so that each rule keeps its counter.
func (c *compiler) policyRules(router bool) []Rule {
	var rules []policy.PlannedRule
	for _, r := range c.plan.Rules {
		if r.Match.Router == router {
			rules = append(rules, r)
		}
	}
	runs := policy.Runs(len(rules), func(i, j int, side policy.Side) bool { return foldable(rules[i], rules[j], side) })
	runs = slices.DeleteFunc(runs, func(r policy.Run) bool {
		places := map[[2]policy.Verdict]bool{}
		for _, rule := range rules[r.First:r.Last] {
			places[rule.Via] = true
		}
		return r.Last-r.First < foldFrom*len(places)
	})
	var out []Rule
	at := 0
	for _, run := range append(runs, policy.Run{First: len(rules)}) {
		for ; at < run.First; at++ {
			out = append(out, c.policyRule(rules[at])...)
		}
		if run.Last > run.First {
			out = append(out, c.fold(rules[run.First:run.Last], run.Side)...)
			at = run.Last
		}
	}
	return out
}

// foldable tells whether two rules differ in the addresses of one side only. Addresses with a name have a set of their own, which
// other rules may share.
func foldable(a, b policy.PlannedRule, side policy.Side) bool {
	differ, same := [2]policy.Addresses{a.From, b.From}, [2]policy.Addresses{a.To, b.To}
	if side == policy.Destination {
		differ, same = same, differ
	}
	own := func(x policy.Addresses) bool { return !x.Any && x.Name == "" }
	return own(differ[0]) && own(differ[1]) && sameAddresses(same[0], same[1]) &&
		len(masksOf(a.Match)) < 2 && sameAddresses(a.NotFrom, b.NotFrom) && sameAddresses(a.NotTo, b.NotTo) && a.Match.SameShape(b.Match)
}

func sameAddresses(a, b policy.Addresses) bool {
	return a.Any == b.Any && a.Name == b.Name && (a.Name != "" || slices.Equal(a.Ranges, b.Ranges))
}

// fold makes, in each family, a set and a rule for each verdict of a run of rules.
func (c *compiler) fold(rules []policy.PlannedRule, side policy.Side) []Rule {
	var out []Rule
	for _, f := range policy.Families {
		if other := [2]policy.Addresses{rules[0].To, rules[0].From}[side]; !c.relevant[f] || !other.Takes(f) {
			continue
		}
		lists := make([][]netipx.IPRange, len(rules))
		for i, r := range rules {
			if lists[i] = r.From.In(f); side == policy.Destination {
				lists[i] = r.To.In(f)
			}
		}
		targets := map[policy.Verdict][]policy.Segment{}
		for _, s := range policy.FirstMatch(lists) {
			via := rules[s.Owner].Via[f]
			targets[via] = append(targets[via], s)
		}
		verdicts := make([]policy.Verdict, 0, len(targets))
		for v := range targets {
			verdicts = append(verdicts, v)
		}
		slices.SortFunc(verdicts, func(a, b policy.Verdict) int {
			return cmp.Or(cmp.Compare(a.Kind, b.Kind), a.Index-b.Index, cmp.Compare(c.nameOf(a), c.nameOf(b)))
		})
		for _, v := range verdicts {
			out = append(out, c.foldedRules(rules, side, f, v, targets[v])...)
		}
	}
	return out
}

// foldedRules are for the addresses that lead to one place: single hosts and ranges apart, so that a rule for a network that comes or
// goes among rules for hosts changes one element.
func (c *compiler) foldedRules(rules []policy.PlannedRule, side policy.Side, f policy.Family, v policy.Verdict, segments []policy.Segment) []Rule {
	first, last := rules[0], rules[len(rules)-1]
	rest := first
	if side == policy.Source {
		rest.From = policy.Addresses{Any: true}
	} else {
		rest.To = policy.Addresses{Any: true}
	}
	var out []Rule
	for _, single := range []bool{true, false} {
		elems := segmentElements(rules, segments, single)
		if len(elems) == 0 {
			continue
		}
		name := setName(fmt.Sprintf("run.%s.to.%s", nameOfRun(rules), c.nameOf(v)), int(f), single)
		c.table.Sets = append(c.table.Sets, Set{Name: name, Key: keyOf(int(f)), Interval: !single, Counted: true, Elements: elems})
		do := append([]Statement{inSet{selector: address(int(side), int(f)), set: name}}, c.verdict(v)[1:]...) // no counter: the elements count
		for _, one := range c.matching("rule."+first.Name, rest.Match, rest.Sides, int(f), do...) {
			out = append(out, one.because("%d rules, %s (%s) to %s (%s)", len(rules), first.Name, first.Pos, last.Name, last.Pos))
		}
	}
	return out
}

// nameOfRun is the first name in the order of the alphabet, not of the file: it rarely changes when a rule is added or removed, and
// with it all counters would be lost.
func nameOfRun(rules []policy.PlannedRule) string {
	return slices.MinFunc(rules, func(a, b policy.PlannedRule) int { return cmp.Compare(a.Name, b.Name) }).Name
}

// segmentElements are those segments that are single hosts, or those that are not, as elements with the name of their rule.
func segmentElements(rules []policy.PlannedRule, segments []policy.Segment, single bool) []Element {
	var out []Element
	for _, s := range segments {
		if single != (s.Range.From() == s.Range.To()) {
			continue
		}
		e := Element{From: s.Range.From().AsSlice(), Comment: rules[s.Owner].Name}
		if !single {
			e.To = s.Range.To().AsSlice()
		}
		out = append(out, e)
	}
	return out
}

// nameOf is a verdict as a part of a name.
func (c *compiler) nameOf(v policy.Verdict) string {
	switch v.Kind {
	case policy.ToLink:
		return "link." + c.plan.Links[v.Index].Name + tenureSuffix[v.Tenure(false)]
	case policy.ToGroup:
		return "group." + strings.TrimPrefix(c.groupName(v), "group_")
	case policy.ToReject:
		return "reject"
	case policy.ToDrop:
		return "drop"
	}
	return "main"
}
