// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"enlace/policy"
)

// Chains of the forward hook.
const (
	clampChain  = "clamp"
	bypassChain = "bypass"
)

// forwarding is for what crosses the router and wants more than a route: segments that a link cannot carry, and flows that are to bypass
// everything. A policy without either has no such hook.
func (c *compiler) forwarding() {
	clamps, bypasses := c.clamps(), c.bypasses()
	var rules []Rule
	if len(clamps) > 0 {
		rules = append(rules, rule(asksSYN, jumpTo(clampChain)).because("the ends of a connection agree on the length of segments"))
	}
	if len(bypasses) > 0 {
		rules = append(rules, rule(isEstablished, jumpTo(bypassChain)))
	}
	if len(rules) == 0 {
		return
	}
	c.chain("forward", &Hook{"filter", "forward", mangle}, rules...)
	if len(clamps) > 0 {
		c.chain(clampChain, nil, clamps...)
	}
	if len(bypasses) > 0 {
		c.chain(bypassChain, nil, bypasses...)
	}
}

// clamps tell both ends of a connection the longest segment that a link carries. The kernel never makes it longer than it was
// (nft_exthdr_tcp_set_eval in net/netfilter/nft_exthdr.c).
func (c *compiler) clamps() []Rule {
	var out []Rule
	for _, l := range c.plan.Links {
		name := ifnameBytes(l.Interface)
		for _, f := range policy.Families {
			if l.Segment[f] == 0 || !c.relevant[f] {
				continue
			}
			for _, side := range []selector{oifname, iifname} {
				out = append(out, rule(ofFamily(f), equals{selector: side, value: name}, clamp{uint16(l.Segment[f])}).because("link %s, %s", l.Name, l.Pos))
			}
		}
	}
	return out
}

// bypasses put flows into the flowtable: packets of theirs then go from interface to interface without any of the hooks, nftables' and the
// kernel's routing included. A flow is put there by a packet that comes in from its link, because the kernel then looks up the other
// direction with that packet's mark: with the link's mark, that is the link's table (nft_flow_route in net/netfilter/nft_flow_offload.c). The mark
// is taken off again. Flows to other interfaces than those of lan blocks would bypass the hooks in one direction only, and are left alone. What has to leave its link, or will when another works, goes the long way.
func (c *compiler) bypasses() []Rule {
	if c.plan.Flowtable == nil {
		return nil
	}
	c.table.Flowtable = flowtable(*c.plan.Flowtable)
	var out []Rule
	inside := c.insideNames()
	for _, l := range c.plan.Links {
		if !l.Bypasses {
			continue
		}
		for _, t := range []policy.Tenure{policy.Ordinary, policy.Steady} {
			for _, f := range policy.Families {
				if l.Marks[t] == 0 || l.Paths[f] == nil || c.plan.Leaves(l, t, f) {
					continue
				}
				out = append(out, rule(ofFamily(f), equals{selector: iifname, value: ifnameBytes(l.Interface)}, oneOf(oifname, inside), equals{selector: marked(true, c.mask), value: host32(l.Marks[t])},
					inSet{selector: l4proto, elems: []Element{{From: []byte{uint8(policy.TCP)}}, {From: []byte{uint8(policy.UDP)}}}},
					setMark{l.Mark, c.mask, false}, bypass{c.table.Flowtable.Name}).because("established flows of %s", l.Name))
			}
		}
	}
	// In a rule of its own: where the kernel does not take a flow, it ends the rule (NFT_BREAK).
	return append(out, rule(inSet{selector: iifname, set: "uplinks"}, setMark{0, c.mask, false}).because("what comes from a link has no mark"))
}

// insideNames are the interfaces of the lan blocks by name.
func (c *compiler) insideNames() []Element {
	var out []Element
	for _, d := range c.plan.Inside {
		out = append(out, Element{From: ifnameBytes(d.Name)})
	}
	return out
}
