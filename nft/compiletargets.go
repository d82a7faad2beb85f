// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"enlace/policy"
)

// onPrefix begins the names of the chains for packets of known flows, by how the flow holds on to its link.
var onPrefix = [policy.Tenures]string{"on_", "steady_", "guest_"}

// targets are the chains that rules lead to. A link has three, which set its number in our bits of marks, with constants: to_
// for new flows in both marks, on_ for packets of known flows in the packet's, hold_ for flows that are on the link
// already in the flow's. Where flows hold on to it in other ways, their marks have to_ and on_ of their own; the packet's mark, which routes
// it, is the same.
func (c *compiler) targets() {
	c.groupChains()
	for _, l := range c.plan.Links {
		for t, m := range l.Marks {
			if m == 0 {
				continue
			}
			c.chain("to_"+l.Name+tenureSuffix[t], nil,
				rule(setMark{m, c.mask, true}, setMark{l.Mark, c.mask, false}, counter{}, accept).because("new flows of %s", l.Name))
			c.chain(onPrefix[t]+l.Name, nil, append(c.leavers(l, policy.Tenure(t)), rule(setMark{l.Mark, c.mask, false}, accept))...)
		}
		c.chain("hold_"+l.Name, nil, rule(setMark{l.Mark, c.mask, true}, counter{}).because("link %s, %s", l.Name, l.Pos))
	}
	if c.rejects {
		c.chain("refuse", nil,
			rule(equals{selector: l4proto, value: []byte{uint8(policy.TCP)}}, counter{}, reject{tcp: true}),
			rule(counter{}, reject{}))
	}
}

// notOwn matches packets that came in: the router's own have no input interface.
var notOwn = equals{selector: iif, value: host32(0), not: true}

// leavers are the rules that take packets of flows off a link that they are to leave. The router's own stay: a socket that is bound to a dead
// link means it, as a probe does, and cannot be told from one that is not. Answers to what came in through the link stay, too: they cannot go
// anywhere else, and a link that is on hold, or whose targets alone are silent, may well carry them.
func (c *compiler) leavers(l policy.PlannedLink, t policy.Tenure) []Rule {
	var out []Rule
	for _, f := range policy.Families {
		if !c.relevant[f] || !c.plan.Leaves(l, t, f) {
			continue
		}
		place := "leave"
		if !l.Masquerade || l.SNAT[f].IsValid() {
			place = "forget"
		}
		c.leaves[place] = true
		far := inSet{selector: address(destination, int(f)), set: nearby(f), not: true} // the modem may still be asked
		out = append(out, rule(far, notOwn, isOriginal, goTo(place)))
	}
	return out
}

// leaving are the chains of flows that leave their link because it is dead, or because they go home. TCP cannot move, and learns it at
// once: by a reset in answer to its next packet, which reaches it even when nobody at the far end would answer. A flow that is masqueraded
// goes to the rules as a new one does; the kernel drops its first packet when it comes to another interface, forgets the old
// translation, and begins anew with the next (nf_nat_oif_changed in net/netfilter/nf_nat_core.c). A translation that is
// fixed stays until the flow is forgotten, which userspace asks for; until then its packets have nowhere to go.
func (c *compiler) leaving() {
	for _, name := range []string{"leave", "forget"} {
		if !c.leaves[name] {
			continue
		}
		var rules []Rule
		if name == "leave" {
			rules = append(rules, rule(isSYN, isTranslated, setMark{0, c.mask, true}, counter{}, goTo("rules")).because("nothing is established yet"))
		}
		rules = append(rules,
			rule(equals{selector: l4proto, value: []byte{uint8(policy.TCP)}}, counter{}, reject{tcp: true}).because("TCP learns at once that its link is dead"))
		if name == "leave" {
			rules = append(rules, rule(isTranslated, setMark{0, c.mask, true}, counter{}, goTo("rules")).because("moves to another link"))
		}
		c.chain(name, nil, append(rules, rule(counter{}, drop).because("until the flow is forgotten"))...)
	}
}
