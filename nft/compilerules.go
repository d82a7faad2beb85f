// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
	"slices"

	"enlace/policy"
)

// policyRule is one rule of the policy: one of nftables where families need not be told apart, otherwise one for each, and one for
// each mask of marks.
func (c *compiler) policyRule(r policy.PlannedRule) []Rule {
	masks := masksOf(r.Match)
	if len(masks) < 2 {
		return c.ruleOfOneMask(r)
	}
	var out []Rule
	all := r.Match.Marks
	for _, mask := range masks {
		r.Match.Marks = slices.DeleteFunc(slices.Clone(all), func(m policy.MaskedMark) bool { return m.Mask != mask })
		out = append(out, c.ruleOfOneMask(r)...)
	}
	return out
}

// masksOf are the masks of the marks that a rule asks for, each once.
func masksOf(m policy.Match) []uint32 {
	var masks []uint32
	for _, m := range m.Marks {
		if !slices.Contains(masks, m.Mask) {
			masks = append(masks, m.Mask)
		}
	}
	return masks
}

func (c *compiler) ruleOfOneMask(r policy.PlannedRule) []Rule {
	comment := fmt.Sprintf("rule %s, %s", r.Name, r.Pos)
	both := r.Open() && len(r.Match.DSCP) == 0 && (r.Via[policy.V4] == r.Via[policy.V6] || c.relevant[0] != c.relevant[1])
	if both {
		f := policy.V4
		if !c.relevant[f] {
			f = policy.V6
		}
		return []Rule{c.matching("rule."+r.Name, r.Match, r.Sides, -1, c.verdict(r.Via[f])...)[0].because("%s", comment)}
	}
	var out []Rule
	for _, f := range policy.Families {
		if c.relevant[f] && r.In(f) {
			for _, one := range c.matching("rule."+r.Name, r.Match, r.Sides, int(f), c.verdict(r.Via[f])...) {
				out = append(out, one.because("%s", comment))
			}
		}
	}
	return out
}

// verdict counts, and goes where a rule leads.
func (c *compiler) verdict(v policy.Verdict) []Statement {
	out := []Statement{counter{}}
	switch v.Kind {
	case policy.ToLink:
		return append(out, goTo("to_"+c.plan.Links[v.Index].Name))
	case policy.ToGroup:
		return append(out, goTo("group_"+c.plan.Groups[v.Index].Name))
	case policy.ToReject:
		c.rejects = true
		return append(out, goTo("refuse"))
	case policy.ToDrop:
		return append(out, drop)
	}
	return append(out, accept)
}

// defaultRules are the default block: what no rule takes.
func (c *compiler) defaultRules() []Rule {
	d := c.plan.Default
	comment := "no rule takes it"
	if at := c.plan.DefaultPos.String(); at != "" {
		comment = "default, " + at
	}
	if d[policy.V4] == d[policy.V6] || !c.relevant[policy.V6] {
		return []Rule{rule(c.verdict(d[policy.V4])...).because("%s", comment)}
	}
	if !c.relevant[policy.V4] {
		return []Rule{rule(c.verdict(d[policy.V6])...).because("%s", comment)}
	}
	var out []Rule
	for _, f := range policy.Families {
		out = append(out, rule(append([]Statement{ofFamily(f)}, c.verdict(d[f])...)...).because("%s", comment))
	}
	return out
}

// targets are the chains that rules lead to. A link has three, which set its number in our bits of marks, with constants: to_
// for new flows in both marks, on_ for packets of known flows in the packet's, hold_ for flows that are on the link
// already in the flow's.
func (c *compiler) targets() {
	for _, g := range c.plan.Groups {
		c.groupChain(g)
	}
	for _, l := range c.plan.Links {
		c.chain("to_"+l.Name, nil, rule(setMark{l.Mark, c.mask, true}, setMark{l.Mark, c.mask, false}, counter{}, accept).because("new flows of %s", l.Name))
		c.chain("on_"+l.Name, nil, rule(setMark{l.Mark, c.mask, false}, accept))
		c.chain("hold_"+l.Name, nil, rule(setMark{l.Mark, c.mask, true}, counter{}).because("link %s, %s", l.Name, l.Pos))
	}
	if c.rejects {
		c.chain("refuse", nil,
			rule(equals{selector: l4proto, value: []byte{uint8(policy.TCP)}}, counter{}, reject{tcp: true}),
			rule(counter{}, reject{}))
	}
}

// groupChain chooses a link for a new flow: the next slot of the round, in one rule for all flows of the group, so that the
// shares are exact. The last rule is reached only in the instant in which the round is being replaced.
func (c *compiler) groupChain(g policy.PlannedGroup) {
	name := "group_" + g.Name
	if g.By == policy.ByRoute {
		c.chain(name, nil, rule(setMark{g.Mark, c.mask, false}, accept))
		return
	}
	var rules []Rule
	v4, v6 := policy.Slots(g.Live[policy.V4]), policy.Slots(g.Live[policy.V6])
	switch {
	case len(v6) == 0 || !c.relevant[policy.V6] || equalInts(v4, v6):
		rules = c.round(v4)
	case len(v4) == 0 || !c.relevant[policy.V4]:
		rules = c.round(v6)
	default:
		for f, slots := range [2][]int{v4, v6} {
			for _, r := range c.round(slots) {
				r.Statements = append([]Statement{ofFamily(f)}, r.Statements...)
				rules = append(rules, r)
			}
		}
	}
	c.chain(name, nil, rules...)
}

func equalInts(a, b []int) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// round is a round robin over slots.
func (c *compiler) round(slots []int) []Rule {
	if len(slots) == 0 {
		return nil
	}
	to := func(link int) Verdict { return goTo("to_" + c.plan.Links[link].Name) }
	if len(slots) == 1 {
		return []Rule{rule(to(slots[0]))}
	}
	elems := make([]Element, len(slots))
	for i, link := range slots {
		elems[i] = Element{From: host32(uint32(i)), Verdict: to(link)}
	}
	return []Rule{
		rule(dispatch{selector: slot(len(slots)), elems: elems}),
		rule(to(slots[0])).because("only while the round above is being replaced"),
	}
}
