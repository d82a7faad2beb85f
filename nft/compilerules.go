// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"fmt"
	"sort"

	"go4.org/netipx"

	"enlace/policy"
)

// policyRules are the policy's rules for flows from inside, or for the router's own.
func (c *compiler) policyRules(router bool) []Rule {
	var out []Rule
	for _, r := range c.plan.Rules {
		if r.Match.Router == router {
			out = append(out, c.policyRule(r)...)
		}
	}
	return out
}

// policyRule is one rule of the policy: one of nftables where families need not be told apart, otherwise one for each, and one for
// each mask of marks.
func (c *compiler) policyRule(r policy.PlannedRule) []Rule {
	var out []Rule
	byMask := map[uint32][]policy.MaskedMark{}
	var masks []uint32
	for _, m := range r.Match.Marks {
		if byMask[m.Mask] == nil {
			masks = append(masks, m.Mask)
		}
		byMask[m.Mask] = append(byMask[m.Mask], m)
	}
	if len(masks) < 2 {
		return c.ruleOfOneMask(r)
	}
	for _, mask := range masks {
		r.Match.Marks = byMask[mask]
		out = append(out, c.ruleOfOneMask(r)...)
	}
	return out
}

func (c *compiler) ruleOfOneMask(r policy.PlannedRule) []Rule {
	comment := fmt.Sprintf("rule %s, %s", r.Name, r.Pos)
	both := r.From.Any && r.To.Any && len(r.Match.DSCP) == 0 && (r.Via[policy.V4] == r.Via[policy.V6] || c.relevant[0] != c.relevant[1])
	if both {
		f := policy.V4
		if !c.relevant[f] {
			f = policy.V6
		}
		return []Rule{rule(append(c.matches(r, -1), c.verdict(r.Via[f])...)...).because("%s", comment)}
	}
	var out []Rule
	for _, f := range policy.Families {
		if c.relevant[f] && r.From.Takes(f) && r.To.Takes(f) {
			out = append(out, rule(append(c.matches(r, int(f)), c.verdict(r.Via[f])...)...).because("%s", comment))
		}
	}
	return out
}

// matches are the conditions of a rule in one family, or in any when it is -1.
func (c *compiler) matches(r policy.PlannedRule, family int) []Statement {
	var out []Statement
	m := r.Match
	if len(m.Interfaces) > 0 {
		out = append(out, c.interfaces(m.Interfaces))
	}
	if family >= 0 && r.From.Any && r.To.Any && len(m.DSCP) == 0 {
		out = append(out, ofFamily(family))
	}
	if !r.From.Any {
		out = append(out, c.addresses(source, family, r.From, "rule_"+r.Name+"_from"))
	}
	if !r.To.Any {
		out = append(out, c.addresses(destination, family, r.To, "rule_"+r.Name+"_to"))
	}
	if len(m.DSCP) > 0 {
		var elems []Element
		for _, v := range m.DSCP {
			elems = append(elems, Element{From: []byte{v}})
		}
		out = append(out, oneOf(dscpOf(family), elems))
	}
	for _, v := range m.Marks[:min(1, len(m.Marks))] {
		out = append(out, c.marks(m.Marks, v.Mask))
	}
	return append(out, protocolAndPorts(m)...)
}

// marks matches any of several marks under one mask.
func (c *compiler) marks(list []policy.MaskedMark, mask uint32) Statement {
	var elems []Element
	for _, v := range list {
		elems = append(elems, Element{From: host32(v.Value)})
	}
	return oneOf(marked(false, mask), elems)
}

func (c *compiler) interfaces(names []string) Statement {
	var elems []Element
	for _, n := range names {
		elems = append(elems, Element{From: ifnameBytes(n)})
	}
	return oneOf(iifname, elems)
}

// protocolAndPorts: one protocol with ports is written as people do, `tcp dport 25`; several are a set, and ports then those
// of the transport header.
func protocolAndPorts(m policy.Match) []Statement {
	var out []Statement
	var protocols []Element
	for _, p := range m.Protocols {
		protocols = append(protocols, Element{From: []byte{uint8(p)}})
	}
	single := uint8(0)
	if len(protocols) == 1 {
		single = uint8(m.Protocols[0])
	}
	hasPorts := len(m.Ports)+len(m.SourcePorts) > 0
	if len(protocols) > 0 && (single == 0 || !hasPorts) {
		out = append(out, oneOf(l4proto, protocols))
	}
	if len(m.SourcePorts) > 0 {
		out = append(out, oneOf(portOf(source, single), portElements(m.SourcePorts)))
	}
	if len(m.Ports) > 0 {
		out = append(out, oneOf(portOf(destination, single), portElements(m.Ports)))
	}
	return out
}

// portElements are ranges of ports, merged where they touch or overlap.
func portElements(ranges []policy.PortRange) []Element {
	sorted := append([]policy.PortRange(nil), ranges...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].First < sorted[j].First })
	var merged []policy.PortRange
	for _, r := range sorted {
		if n := len(merged); n > 0 && int(r.First) <= int(merged[n-1].Last)+1 {
			merged[n-1].Last = max(merged[n-1].Last, r.Last)
			continue
		}
		merged = append(merged, r)
	}
	var out []Element
	for _, r := range merged {
		e := Element{From: net16(r.First)}
		if r.Last != r.First {
			e.To = net16(r.Last)
		}
		out = append(out, e)
	}
	return out
}

// oneOf is the simplest comparison with any of the elements.
func oneOf(s selector, elems []Element) Statement {
	elems = distinct(elems)
	if len(elems) > 1 {
		return inSet{selector: s, elems: elems}
	}
	if elems[0].To != nil {
		return within{selector: s, Element: elems[0]}
	}
	return equals{selector: s, value: elems[0].From, label: elems[0].Label}
}

// distinct sorts elements and drops those that repeat: the kernel refuses a set with the same element twice.
func distinct(elems []Element) []Element {
	sort.Slice(elems, func(i, j int) bool { return bytes.Compare(elems[i].From, elems[j].From) < 0 })
	out := elems[:0]
	for i, e := range elems {
		if i == 0 || !bytes.Equal(e.From, elems[i-1].From) {
			out = append(out, e)
		}
	}
	return out
}

// addresses matches one side's addresses: a single prefix in place, everything else as a set with a name. Rules that name the
// same set or lan share it.
func (c *compiler) addresses(side, family int, a policy.Addresses, name string) Statement {
	s := address(side, family)
	ranges := a.In(policy.Family(family))
	if len(ranges) == 1 {
		if p, ok := ranges[0].Prefix(); ok {
			return inPrefix{s, p}
		}
	}
	if a.Name != "" {
		name = a.Name
	}
	name = fmt.Sprintf("%s%d", name, 4+2*family)
	c.addressSet(name, family, ranges)
	return inSet{selector: s, set: name}
}

func (c *compiler) addressSet(name string, family int, ranges []netipx.IPRange) {
	if c.seen[name] {
		return
	}
	c.seen[name] = true
	c.table.Sets = append(c.table.Sets, Set{Name: name, Key: keyOf(family), Interval: true, Elements: rangeElements(ranges)})
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
		c.chain("to_"+l.Name, nil, rule(setMark{l.Mark, c.mask, true}, setMark{l.Mark, c.mask, false}, accept))
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
