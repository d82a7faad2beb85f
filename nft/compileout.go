// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"enlace/policy"
)

// postrouting is the guard of the first invariant: a packet whose flow belongs to one link never leaves by another. Flows that
// nobody has numbered yet were routed by the kernel's choice (by = "route", the main table, a bound socket): a new one gets the
// number of the link that it leaves by, and is held there from then on. What cannot be translated would leave with an address of
// the inside, and is dropped: packets of no flow, and flows from before enlace that nobody translated.
func (c *compiler) postrouting() {
	rules := c.permittedByNumber()
	if inside := c.insideNumbers(); len(inside) > 0 {
		rules = append(rules, rule(oneOf(oif, inside), accept).because("to the inside"))
	}
	c.chain("postrouting", &Hook{"filter", "postrouting", mangle}, append(rules,
		rule(inSet{selector: leaving(c.mask), set: "permitted"}, accept).because("the same by name"),
		rule(inSet{selector: oifname, set: "uplinks"}, goTo("guard")).because("not by its own link, or of no link"),
	)...)
	c.chain("guard", nil,
		rule(dispatch{selector: marked(true, c.mask), elems: []Element{{From: host32(0), Verdict: goTo("unnumbered")}}}),
		rule(isNoFlow, ofType{side: source, typ: unix.RTN_LOCAL}, accept),
		// Address detection and multicast reports of IPv6 have no source yet (RFC 4862); such packets are never forwarded.
		rule(isNoFlow, inPrefix{selector: address(source, 1), prefix: netip.PrefixFrom(netip.IPv6Unspecified(), 128)}, accept),
		rule(isNoFlow, inSet{selector: oifname, set: "translated"}, counter{}, drop).because("of no flow: it cannot be translated"),
		rule(isNoFlow, accept),
		rule(counter{}, drop).because("its flow belongs to another link"),
	)
	c.chain("unnumbered", nil,
		rule(isNew, dispatch{selector: oifname, set: "holds"}),
		rule(isNew, accept),
		rule(isTranslated, accept),
		rule(ofType{side: source, typ: unix.RTN_LOCAL}, accept),
		rule(inSet{selector: oifname, set: "translated"}, counter{}, drop).because("of a flow from before enlace, not translated"),
	)
}

// fewLinks is up to how many links a comparison with each is cheaper than a look-up (BenchmarkPacketCost).
const fewLinks = 4

// permittedByNumber is the quick way through the guard: a flow's packet that leaves by its link, whose interface number is known.
func (c *compiler) permittedByNumber() []Rule {
	var links []policy.PlannedLink
	for _, l := range c.plan.Links {
		if l.Index != 0 {
			links = append(links, l)
		}
	}
	var rules []Rule
	if len(links) <= fewLinks {
		for _, l := range links {
			ofLink := equals{selector: marked(true, c.mask), value: host32(l.Mark)}
			rules = append(rules, rule(oneOf(oif, []Element{numbered(l.Interface, l.Index)}), ofLink, accept).because("a flow of %s leaves by %s", l.Name, l.Name))
		}
		return rules
	}
	var all []Element
	for _, l := range links {
		e := numbered(l.Interface, l.Index)
		all = append(all, Element{From: append(e.From, host32(l.Mark)...), Label: e.Label + " . " + mark.show(host32(l.Mark))})
	}
	return []Rule{rule(inSet{selector: leavingByNumber(c.mask), elems: distinct(all)}, accept).because("a flow leaves by its own link")}
}
