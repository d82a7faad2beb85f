// SPDX-License-Identifier: Apache-2.0

package nft

import "enlace/policy"

// output decides for the router's own packets. The kernel has chosen a source address before any hook, from the default
// block's table: what no rule takes keeps that choice. A socket that carries a mark of ours, or that was routed by the address
// it is bound to, is left alone: health probes must not be moved to a link that works.
func (c *compiler) output() {
	own := c.policyRules(true)
	rules := []Rule{
		rule(equals{selector: marked(false, c.mask), value: host32(0), not: true}, accept).because("the socket has a mark of ours"),
		rule(dispatch{selector: marked(true, c.mask), set: flowsMap}).because("a known flow stays on its link"),
	}
	if len(own) > 0 {
		rules = append(rules, rule(isNew, inSet{selector: oifname, set: "uplinks"}, goTo("own_rules")))
	}
	c.chain("output", &Hook{"route", "output", mangle}, rules...)
	if len(own) == 0 {
		return
	}
	before := c.onlyRelevant()
	for _, f := range policy.Families {
		if c.relevant[f] {
			before = append(before, rule(inSet{selector: address(destination, int(f)), set: nearby(f)}, accept))
		}
	}
	c.chain("own_rules", nil, append(append(before, c.boundSockets()...), own...)...)
}

// boundSockets lets pass what was routed to a link that the default block does not use: only an address or a device that the
// socket is bound to can have led there. Where main decides, in a family, nothing can be told.
func (c *compiler) boundSockets() []Rule {
	var out []Rule
	for _, f := range policy.Families {
		if !c.relevant[f] {
			continue
		}
		elems := c.unusual(f)
		if len(elems) == 0 {
			continue
		}
		one := rule(oneOf(oifname, elems), accept)
		if c.relevant[1-f] {
			one = rule(ofFamily(f), oneOf(oifname, elems), accept)
		}
		out = append(out, one.because("the socket is bound to a link"))
	}
	return out
}

// unusual are the links that the default block does not lead to in a family.
func (c *compiler) unusual(f policy.Family) []Element {
	usual := map[int]bool{}
	switch v := c.plan.Default[f]; v.Kind {
	case policy.ToLink:
		usual[v.Index] = true
	case policy.ToGroup:
		for _, s := range c.plan.Groups[v.Index].Live[f] {
			usual[s.Link] = true
		}
	default:
		return nil
	}
	var elems []Element
	for i, l := range c.plan.Links {
		if !usual[i] {
			elems = append(elems, Element{From: ifnameBytes(l.Interface)})
		}
	}
	return elems
}
