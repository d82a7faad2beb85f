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
		return append(out, goTo(c.to(v.Index, v.Tenure(false))))
	case policy.ToGroup:
		return append(out, goTo(c.groupName(v)))
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
