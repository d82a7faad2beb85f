// SPDX-License-Identifier: Apache-2.0

package policy

import "slices"

// inUse finds the links that verdicts lead to, and says of the others, in each family, that their flows leave them. A drained link keeps those
// that it has.
func (d *deriver) inUse() {
	for _, f := range Families {
		used := map[int]bool{}
		each := func(v Verdict) {
			switch v.Kind {
			case ToLink:
				used[v.Index] = true
			case ToGroup:
				g := d.plan.Groups[v.Index]
				for _, s := range g.Live[f] {
					used[s.Link] = true
				}
				d.plan.abroad[f] = d.plan.abroad[f] || v.Flows == Failback && (v.Away || slices.ContainsFunc(g.Buckets[f], func(b Bucket) bool { return b.Away }))
			}
			d.plan.abroad[f] = d.plan.abroad[f] || v.Away
		}
		each(d.plan.Default[f])
		for _, r := range d.plan.Rules {
			each(r.Via[f])
		}
		for i, l := range d.plan.Links {
			stays := l.States[f] == Drained && !d.facts.Drained[l.Name].Now && d.facts.Standings[l.Name][f].State != Down
			d.plan.Links[i].Dead[f] = d.fitness(i, f) < useful && !stays && !used[i]
		}
	}
}

// Returns tells whether, since an earlier plan of the same rules, flows that fail back may go home.
func (p Plan) Returns(earlier Plan, f Family) bool {
	if len(p.Rules) != len(earlier.Rules) || len(p.Groups) != len(earlier.Groups) {
		return earlier.abroad[f]
	}
	home := earlier.Default[f].Away && !p.Default[f].Away
	for i, r := range p.Rules {
		home = home || earlier.Rules[i].Via[f].Away && !r.Via[f].Away
	}
	for i, g := range p.Groups {
		old := earlier.Groups[i]
		home = home || old.Away[f] && !g.Away[f]
		for b := range g.Buckets[f] {
			home = home || b < len(old.Buckets[f]) && old.Buckets[f][b].Away && !g.Buckets[f][b].Away
		}
	}
	return home
}

// Leaves tells whether flows of a link leave it: when it is dead, all but the steady ones; and guests when nobody is away from home any more.
func (p Plan) Leaves(l PlannedLink, t Tenure, f Family) bool {
	switch t {
	case Steady:
		return false
	case Guest:
		return l.Dead[f] || !p.abroad[f]
	}
	return l.Dead[f]
}

// groups finds the members of every group that are used.
func (d *deriver) groups() {
	numbers := d.policy.Number(d.facts.Numbers).Groups
	_, tables := d.policy.TablesOf()
	for at, g := range d.policy.Groups {
		d.groupAt[g.Name] = at
		planned := PlannedGroup{
			Name: g.Name, Number: numbers[at], Mark: MarkOf(numbers[at], d.policy.Settings.MarkMask), Table: tables[at], By: g.By, Flows: g.Flows, Pos: g.Pos,
		}
		for _, family := range Families {
			d.members(g, family, &planned)
		}
		d.plan.Groups = append(d.plan.Groups, planned)
	}
}

// members chooses those that carry a family: the fittest, and of those the first tier. A degraded link of the first tier is used after a
// link of the second that is up.
func (d *deriver) members(g Group, f Family, planned *PlannedGroup) {
	fitness, tier, first := 0, 0, 0
	for _, m := range g.Members {
		if first == 0 || m.Tier < first {
			first = m.Tier
		}
		switch fit := d.fitness(d.linkAt[m.Link], f); {
		case fit > fitness:
			fitness, tier = fit, m.Tier
		case fit == fitness && m.Tier < tier:
			tier = m.Tier
		}
	}
	if fitness == 0 {
		return
	}
	planned.Desperate[f], planned.Away[f] = fitness < useful, tier != first
	var list []contender
	for _, m := range g.Members {
		if m.Tier != tier {
			continue
		}
		link := d.linkAt[m.Link]
		c := contender{name: m.Link, share: Share{Link: link, Weight: m.Weight}, alive: d.fitness(link, f) == fitness}
		list = append(list, c)
		if c.alive {
			planned.Live[f] = append(planned.Live[f], c.share)
		}
	}
	if g.By.Hashed() {
		planned.Buckets[f] = spread(list)
	}
}

// fitness is how gladly a link is used in a family, 0 not at all.
func (d *deriver) fitness(link int, f Family) int {
	l := d.plan.Links[link]
	if l.Paths[f] == nil {
		return 0
	}
	if l.States[f] == Holding && d.facts.Standings[l.Name][f].Silent {
		return Down.fitness()
	}
	return l.States[f].fitness()
}

// resolve says where a rule leads in each family at the moment: to the first of its targets that works, otherwise to the first that has
// any way at all, and to the main table when none has.
func (d *deriver) resolve(flows Flows, targets ...Target) [2]Verdict {
	var out [2]Verdict
	for _, family := range Families {
		out[family] = Verdict{Kind: ToMain}
		if v, ok := d.firstOf(targets, family, useful); ok {
			out[family] = v
		} else if v, ok := d.firstOf(targets, family, 1); ok {
			out[family] = v
		}
		if flows != FlowsUnsaid {
			out[family].Flows = flows
		}
		out[family] = d.settle(out[family])
	}
	return out
}

// settle fills in what a verdict leaves to the group, and takes out what only links and groups have.
func (d *deriver) settle(v Verdict) Verdict {
	if v.Kind == ToGroup && v.Flows == FlowsUnsaid {
		v.Flows = d.plan.Groups[v.Index].Flows
	}
	if v.Kind != ToLink && v.Kind != ToGroup {
		v.Flows, v.Away = FlowsUnsaid, false
		return v
	}
	if v.Flows == FlowsUnsaid {
		v.Flows = Failover
	}
	v.Away = v.Away && v.Flows == Failback
	return v
}

func (d *deriver) firstOf(targets []Target, f Family, least int) (Verdict, bool) {
	for at, t := range targets {
		if v, ok := d.live(t, f, least); ok {
			v.Away = v.Away || at > 0
			return v, true
		}
	}
	return Verdict{}, false
}

// live resolves one target in one family, and says whether it leads anywhere by links that are at least so fit.
func (d *deriver) live(t Target, f Family, least int) (Verdict, bool) {
	switch t.Kind {
	case ToLink:
		at := d.linkAt[t.Name]
		return Verdict{Kind: ToLink, Index: at}, d.fitness(at, f) >= least
	case ToGroup:
		at := d.groupAt[t.Name]
		g := &d.plan.Groups[at]
		return Verdict{Kind: ToGroup, Index: at, Away: g.Away[f]}, len(g.Live[f]) > 0 && (least < useful || !g.Desperate[f])
	case ToDefault:
		return d.plan.Default[f], true
	case ToReject, ToDrop, ToMain:
		return Verdict{Kind: t.Kind}, true
	}
	return Verdict{}, false
}

// defaults resolve the default block. It has a last resort: when its link or group does not work, whatever link works best carries what no
// rule takes, and is better than main, which may well lead to the dead one.
func (d *deriver) defaults() [2]Verdict {
	p := d.policy
	if p.Default.Kind != ToLink && p.Default.Kind != ToGroup {
		return d.resolve(p.DefaultFlows, p.Default)
	}
	targets := []Target{p.Default}
	order := make([]int, len(p.Links))
	for i := range order {
		order[i] = i
	}
	for _, family := range Families {
		slices.SortStableFunc(order, func(a, b int) int { return d.fitness(b, family) - d.fitness(a, family) })
		if _, works := d.live(p.Default, family, useful); works || len(order) == 0 || d.fitness(order[0], family) == 0 {
			continue
		}
		name := p.Links[order[0]].Name
		targets = append(targets, Target{ToLink, name})
		if _, other := d.live(p.Default, 1-family, useful); other {
			continue // it need not have both families
		}
		if d.fitness(order[0], family) >= useful {
			d.problem(LastResort, "default", p.DefaultPos, "%s does not work for %s: flows that no rule takes use link %s, which does", p.Default, family, name)
		} else {
			d.problem(LastResort, "default", p.DefaultPos, "no link works for %s: flows that no rule takes use what still has a gateway", family)
		}
	}
	return d.resolve(p.DefaultFlows, targets...)
}
