// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"maps"
	"slices"

	"enlace/policy"
)

// tenureSuffix tells apart the chains of a link for flows of the same link that hold on to it in different ways.
var tenureSuffix = [policy.Tenures]string{"", "_steady", "_guest"}

// to is the chain that gives a new flow to a link.
func (c *compiler) to(link int, t policy.Tenure) string {
	return "to_" + c.plan.Links[link].Name + tenureSuffix[t]
}

// groupName is the chain of a group for a verdict. Rules may lead to one group in different ways: each has a round of its own.
func (c *compiler) groupName(v policy.Verdict) string {
	name := "group_" + c.plan.Groups[v.Index].Name
	switch {
	case v.Flows == policy.Keep:
		name += "_keep"
	case v.Flows == policy.Failback && v.Away:
		name += "_away"
	case v.Flows == policy.Failback:
		name += "_failback"
	}
	c.groups[name] = v
	return name
}

// groupChains are the chains that choose a link for a new flow.
func (c *compiler) groupChains() {
	for at, g := range c.plan.Groups {
		c.groupName(policy.Verdict{Kind: policy.ToGroup, Index: at, Flows: g.Flows})
	}
	for _, name := range slices.Sorted(maps.Keys(c.groups)) {
		c.groupChain(name, c.groups[name])
	}
}

// groupChain chooses a link: in one rule for all flows of the group, so that the shares are exact.
func (c *compiler) groupChain(name string, v policy.Verdict) {
	g := c.plan.Groups[v.Index]
	if g.By == policy.ByRoute {
		c.chain(name, nil, rule(setMark{g.Mark, c.mask, false}, accept))
		return
	}
	var each [2][]Rule
	for _, f := range policy.Families {
		if c.relevant[f] {
			each[f] = c.choice(g, f, v)
		}
	}
	var rules []Rule
	switch {
	case len(each[policy.V6]) == 0, sameRules(each[policy.V4], each[policy.V6]):
		rules = each[policy.V4]
	case len(each[policy.V4]) == 0:
		rules = each[policy.V6]
	default:
		for f, list := range each {
			for _, r := range list {
				r.Statements = append([]Statement{ofFamily(f)}, r.Statements...)
				rules = append(rules, r)
			}
		}
	}
	c.chain(name, nil, rules...)
}

func sameRules(a, b []Rule) bool {
	return slices.EqualFunc(a, b, func(x, y Rule) bool { return x.text() == y.text() })
}

// choice is the look-up that chooses in one family: by the next slot of a round, or by the bucket that a hash gives. The last rule is
// reached only in the instant in which the look-up is being replaced.
func (c *compiler) choice(g policy.PlannedGroup, f policy.Family, v policy.Verdict) []Rule {
	var places []policy.Bucket
	if g.By.Hashed() {
		places = g.Buckets[f]
	} else {
		for _, link := range policy.Slots(g.Live[f]) {
			places = append(places, policy.Bucket{Link: link})
		}
	}
	if len(places) == 0 {
		return nil
	}
	to := func(p policy.Bucket) Verdict { return goTo(c.to(p.Link, v.Tenure(p.Away))) }
	elems := make([]Element, len(places))
	one := true
	for i, p := range places {
		elems[i] = Element{From: host32(uint32(i)), Verdict: to(p)}
		one = one && elems[i].Verdict == elems[0].Verdict
	}
	if one {
		return []Rule{rule(to(places[0]))}
	}
	look := slot(len(places))
	switch g.By {
	case policy.BySource:
		look = hashOfSource(int(f), len(places))
	case policy.BySourceAndDestination:
		look = hashOfPair(int(f), len(places))
	}
	return []Rule{
		rule(dispatch{selector: look, elems: elems}),
		rule(to(places[0])).because("only while the choice above is being replaced"),
	}
}
