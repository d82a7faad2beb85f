// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"enlace/policy"
)

// translation is done once for a flow.
func (c *compiler) translation() {
	rules := c.forwards()
	if len(c.plan.Redirects) > 0 {
		rules = append(rules, rule(inSet{selector: iifname, set: "uplinks", not: true}, goTo("redirects")))
	}
	if len(rules) > 0 {
		c.chain("dstnat", &Hook{"nat", "prerouting", dstnat}, rules...)
	}
	c.redirects()
	c.sources()
}

// forwards send what comes to the address of a link to a host inside: from outside, and, as a hairpin, from inside.
func (c *compiler) forwards() []Rule {
	var out []Rule
	for _, f := range c.plan.Forwards {
		family := policy.FamilyOf(f.To.Addr())
		if !f.From.Takes(family) {
			continue
		}
		var uplinks, public []Element
		for _, l := range f.Via {
			link := c.plan.Links[l]
			uplinks = append(uplinks, Element{From: ifnameBytes(link.Interface)})
			for _, a := range link.Addresses {
				if policy.FamilyOf(a) == family {
					public = append(public, Element{From: a.AsSlice()})
				}
			}
		}
		out = append(out, c.forward(f, family, oneOf(iifname, uplinks), ofType{side: destination, typ: unix.RTN_LOCAL})...)
		if f.Hairpin && len(public) > 0 {
			out = append(out, c.forward(f, family, inSet{selector: iifname, set: "uplinks", not: true}, oneOf(address(destination, int(family)), public))...)
		}
	}
	return out
}

// forward are the rules for what comes in one way, and is addressed so.
func (c *compiler) forward(f policy.PlannedForward, family policy.Family, in, to Statement) []Rule {
	match := policy.Match{Protocols: f.Protocols, Ports: []policy.PortRange{f.Ports}}
	sides := policy.Sides{From: f.From, To: policy.Addresses{Any: true}}
	var out []Rule
	for _, one := range c.matching("forward."+f.Name, match, sides, int(family), to, counter{}, dnat{f.To}) {
		one.Statements = append([]Statement{in}, one.Statements...)
		out = append(out, one.because("forward %s, %s", f.Name, f.Pos))
	}
	return out
}

// sources give flows that leave by a link an address of it. Sockets of the router that are bound to another address of the interface keep
// theirs. A hairpin's flow gets the router's own: its answers would not come back by the router otherwise.
func (c *compiler) sources() {
	var rules []Rule
	if slices.ContainsFunc(c.plan.Forwards, func(f policy.PlannedForward) bool { return f.Hairpin }) {
		for _, d := range c.insideNumbers() {
			inside := []Element{d}
			rules = append(rules, rule(oneOf(iif, inside), oneOf(oif, inside), isForwarded, counter{}, masquerade{}).because("a hairpin: the answers come back by the router"))
		}
	}
	c.chain("srcnat", &Hook{"nat", "postrouting", srcnat}, append(rules, rule(inSet{selector: oifname, set: "translated"}, goTo("translate")))...)
	rules = nil
	own := rule(ofOutput{}, accept).because("the router's own, with the right address already")
	for _, l := range c.plan.Links {
		for f, a := range l.SNAT {
			if a.IsValid() && c.relevant[f] {
				name := fmt.Sprintf("snat%d_%s", 4+2*f, l.Name)
				rules = append(rules, rule(oneOf(oifname, []Element{{From: ifnameBytes(l.Interface)}}), ofFamily(f), goTo(name)).because("link %s, %s", l.Name, l.Pos))
				defer c.chain(name, nil, own, rule(counter{}, snat{a}))
			}
		}
	}
	if inside := c.insideNumbers(); len(inside) > 0 { // they have no address of a link, and asking is not free
		rules = append(rules, rule(oneOf(iif, inside), counter{}, masquerade{}))
	}
	c.chain("translate", nil, append(rules, own, rule(counter{}, masquerade{}))...)
}

// redirects send flows from inside to a proxy on the router; what is for the router already stays as it is.
func (c *compiler) redirects() {
	if len(c.plan.Redirects) == 0 {
		return
	}
	before := rule(ofType{side: destination, typ: unix.RTN_LOCAL}, accept)
	c.chain("redirects", nil, append([]Rule{before}, c.redirected(func(r policy.PlannedRedirect) []Statement {
		return []Statement{counter{}, redirect{r.ToPort}}
	})...)...)
}

// redirected are rules that match the flows of each redirect, with what is to be done.
func (c *compiler) redirected(what func(policy.PlannedRedirect) []Statement) []Rule {
	var out []Rule
	for _, r := range c.plan.Redirects {
		name := "redirect." + r.Name
		var rules []Rule
		for _, f := range policy.Families {
			switch {
			case r.Open() && f == policy.V4:
				rules = append(rules, c.matching(name, r.Match, r.Sides, -1, what(r)...)...)
			case !r.Open() && r.In(f):
				rules = append(rules, c.matching(name, r.Match, r.Sides, int(f), what(r)...)...)
			}
		}
		for _, one := range rules {
			out = append(out, one.because("redirect %s, %s", r.Name, r.Pos))
		}
	}
	return out
}
