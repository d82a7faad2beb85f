// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"enlace/policy"
)

// Where our ip rules stand, counted from settings.rule_priority. Rules of one kind exclude each other, so they share a
// priority.
//
// The first rule takes forwarded packets past everything that is only about the router's own, because every rule costs every
// packet that passes it. The router's own packets come to the rules for marks before those for addresses: one that a policy
// rule moved to another link still has the source address of the first until it is translated.
const (
	forwardedSkip = 0  // not iif lo: goto what concerns forwarded packets
	manySkip      = 5  // the same with many links; it has a place of its own because the kernel takes rules with other targets for equal
	specificFirst = 10 // connected and specific routes of main first
	markedSkip    = 20 // goto byMark
	byAddress     = 30 // what the router answers leaves where it was asked
	byDefault     = 40 // what nothing else takes
	unmarkedFirst = 50 // with many links: unmarked packets need not be compared with every mark
	byMark        = 60
)

// LastResort is the priority of the rule behind those of main (32766) and default (32767): for unmarked packets that main
// knows no way for.
const LastResort = 33000

// manyLinks is from how many marks on unmarked packets get a rule of their own.
const manyLinks = 5

// Compile turns a plan into routes, rules and sysctls, in the order in which they can be added.
func Compile(p policy.Plan) State {
	var s State
	for _, f := range policy.Families {
		if !p.Active[f] {
			continue
		}
		for _, l := range p.Links {
			s.Routes = append(s.Routes, linkRoutes(l, f)...)
		}
		for _, g := range p.Groups {
			s.Routes = append(s.Routes, groupRoutes(p, g, f)...)
		}
		s.Rules = append(s.Rules, rules(p, f)...)
	}
	s.Sysctls = sysctls(p)
	return s
}

func metric(f policy.Family) uint32 {
	if f == policy.V6 {
		return metricV6
	}
	return 0
}

// leakStop ends a table: a flow that belongs to a link whose way is gone gets an ICMP error instead of another link.
func leakStop(table uint32, f policy.Family) Route {
	return Route{Key: Key{Family: f, Table: table, Dest: f.Default(), Metric: metricLast}}
}

// linkRoutes are a link's table: what its interface reaches by itself, the default route, and the leak stop.
func linkRoutes(l policy.PlannedLink, f policy.Family) []Route {
	p := l.Paths[f]
	var out []Route
	for _, n := range l.Networks[f] {
		source := n.Source
		if !source.IsValid() && p != nil {
			source = p.Address
		}
		out = append(out, Route{
			Key: Key{Family: f, Table: l.Table, Dest: n.Dest, Metric: metric(f)}, Source: source,
			Hops: []Hop{{Interface: l.Interface, Index: l.Index, Gateway: n.Gateway, Weight: 1}},
		})
	}
	if p != nil {
		out = append(out, Route{
			Key: Key{Family: f, Table: l.Table, Dest: f.Default(), Metric: metric(f)}, Source: p.Address,
			Hops: []Hop{{Interface: l.Interface, Index: l.Index, Gateway: p.Gateway, OnLink: p.OnLink, Weight: 1}},
		})
	}
	return append(out, leakStop(l.Table, f))
}

// groupRoutes are a group's table: the multipath default with the weights of the live members. Each hop's source is the
// address of its own interface, which is why the route has none.
func groupRoutes(p policy.Plan, g policy.PlannedGroup, f policy.Family) []Route {
	stop := leakStop(g.Table, f)
	if len(g.Live[f]) == 0 {
		return []Route{stop}
	}
	r := Route{Key: Key{Family: f, Table: g.Table, Dest: f.Default(), Metric: metric(f)}}
	for _, share := range g.Live[f] {
		l := p.Links[share.Link]
		path := l.Paths[f]
		r.Hops = append(r.Hops, Hop{Interface: l.Interface, Index: l.Index, Gateway: path.Gateway, OnLink: path.OnLink, Weight: share.Weight})
	}
	if len(r.Hops) == 1 {
		r.Hops[0].Weight = 1
		r.Source = p.Links[g.Live[f][0].Link].Paths[f].Address
	}
	return []Route{r, stop}
}

// rules are the ip rules of one family.
func rules(p policy.Plan, f policy.Family) []Rule {
	first := p.Settings.RulePriority
	var out []Rule
	add := func(r Rule, offset uint32) {
		r.Family, r.Protocol, r.Priority = f, p.Settings.Protocol, first+offset
		out = append(out, r)
	}
	marks := markRules(p)
	many := len(marks) >= manyLinks
	if many {
		add(Rule{Not: true, Local: true, Goto: first + unmarkedFirst}, manySkip)
	} else {
		add(Rule{Not: true, Local: true, Goto: first + byMark}, forwardedSkip)
	}
	add(Rule{Local: true, Table: unix.RT_TABLE_MAIN, NoDefault: true}, specificFirst)
	add(Rule{Not: true, Mask: p.Settings.MarkMask, Goto: first + byMark}, markedSkip)
	for _, l := range p.Links {
		for _, a := range l.Addresses {
			if policy.FamilyOf(a) == f {
				add(Rule{Local: true, From: netip.PrefixFrom(a, a.BitLen()), Table: l.Table}, byAddress)
			}
		}
	}
	if table := tableOf(p, p.Default[f]); table != 0 {
		add(Rule{Local: true, Table: table}, byDefault)
	}
	if many {
		add(Rule{Mask: p.Settings.MarkMask, Table: unix.RT_TABLE_MAIN}, unmarkedFirst)
	}
	for _, r := range marks {
		add(r, byMark)
	}
	if table := lastResort(p, f); table != 0 {
		out = append(out, Rule{Family: f, Protocol: p.Settings.Protocol, Priority: LastResort, Table: table})
	}
	return out
}

// markRules lead marked packets to their tables, those of dead links too: the leak stop there is better than another link.
func markRules(p policy.Plan) []Rule {
	var out []Rule
	for _, l := range p.Links {
		out = append(out, Rule{Mark: l.Mark, Mask: p.Settings.MarkMask, Table: l.Table})
	}
	for _, g := range p.Groups {
		if g.Number != 0 {
			out = append(out, Rule{Mark: g.Mark, Mask: p.Settings.MarkMask, Table: g.Table})
		}
	}
	return out
}

// tableOf is the table of a live link or group, 0 for everything else.
func tableOf(p policy.Plan, v policy.Verdict) uint32 {
	switch v.Kind {
	case policy.ToLink:
		return p.Links[v.Index].Table
	case policy.ToGroup:
		return p.Groups[v.Index].Table
	}
	return 0
}

// lastResort is where packets go that have no mark and no route in main: where the default block says, otherwise through the
// first link that works.
func lastResort(p policy.Plan, f policy.Family) uint32 {
	if table := tableOf(p, p.Default[f]); table != 0 {
		return table
	}
	table := uint32(0)
	for _, l := range p.Links {
		if l.Paths[f] != nil && (table == 0 || !l.Dead[f]) {
			if table = l.Table; !l.Dead[f] {
				break
			}
		}
	}
	return table
}
