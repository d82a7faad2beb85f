// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"
	"golang.org/x/sys/unix"

	"enlace/policy"
)

// Compile turns a plan into the table. The same plan always gives the same table.
//
// How a packet goes through it is told in the comments of the functions below, one for each base chain. Names of sets,
// maps and chains are stable: other programs may read them, and `nft list table inet enlace` is meant to be read.
func Compile(p policy.Plan) Table {
	c := compiler{plan: p, mask: p.Settings.MarkMask, parts: map[string][]part{}, groups: map[string]policy.Verdict{}, leaves: map[string]bool{}}
	for _, f := range policy.Families {
		c.relevant[f] = p.Active[f] || c.refuses(f)
	}
	c.dispatchMaps()
	c.localNetworks()
	c.prerouting()
	c.output()
	c.postrouting()
	c.forwarding()
	c.translation()
	c.targets()
	c.leaving()
	c.lists()
	return c.table
}

// compiler is one compilation in progress.
type compiler struct {
	plan     policy.Plan
	mask     uint32
	relevant [2]bool // families that rules are made for
	table    Table
	parts    map[string][]part         // sets of the lists of addresses that are in the table already, by name
	rejects  bool                      // some rule needs the chain that rejects
	leaves   map[string]bool           // the chains for flows that leave their link that are needed
	groups   map[string]policy.Verdict // the ways in which rules lead to groups, by the name of their chain
}

// refuses tells whether any rule rejects or drops flows of a family: then it matters even when no link carries it.
func (c *compiler) refuses(f policy.Family) bool {
	for _, r := range c.plan.Rules {
		if k := r.Via[f].Kind; (k == policy.ToReject || k == policy.ToDrop) && r.In(f) {
			return true
		}
	}
	return false
}

func (c *compiler) chain(name string, hook *Hook, rules ...Rule) {
	c.table.Chains = append(c.table.Chains, Chain{Name: name, Hook: hook, Rules: rules})
}

// rule is a rule without a place in the policy.
func rule(s ...Statement) Rule { return Rule{Statements: s} }

// because gives a rule a comment.
func (r Rule) because(format string, args ...any) Rule {
	r.Comment = strings.Map(func(c rune) rune {
		if c == '"' || c == '\\' || c < ' ' || c > '~' {
			return '_' // names of files may have anything; nft's syntax does not
		}
		return c
	}, fmt.Sprintf(format, args...))
	if len(r.Comment) > longestComment {
		r.Comment = r.Comment[:longestComment]
	}
	return r
}

// flowsMap leads packets of known flows to the chain of their link, by the flow's mark.
const flowsMap = "flows"

// mostLinks is how many elements a map of links may have in a transaction that replaces all of them. A map of known size is a table
// of fixed size to the kernel, which is faster than one that grows (net/netfilter/nft_set_hash.c).
const mostLinks = 512

// dispatchMaps lead packets to the chains of a link: by the interface they come from or leave by, and by the mark of their
// flow. They have names so that a link that comes or goes changes an element, and no rule.
func (c *compiler) dispatchMaps() {
	var uplinks, translated, flows, holds, permitted []Element
	for _, l := range c.plan.Links {
		name := ifnameBytes(l.Interface)
		uplinks = append(uplinks, Element{From: name})
		if l.Masquerade {
			translated = append(translated, Element{From: name})
		}
		for t, m := range l.Marks {
			if m != 0 {
				flows = append(flows, Element{From: host32(m), Verdict: goTo(onPrefix[t] + l.Name)})
				permitted = append(permitted, Element{From: append(ifnameBytes(l.Interface), host32(m)...)})
			}
		}
		holds = append(holds, Element{From: name, Verdict: jumpTo("hold_" + l.Name)})
	}
	c.table.Sets = append(c.table.Sets,
		Set{Name: "uplinks", Key: ifname, Elements: uplinks},
		Set{Name: "translated", Key: ifname, Elements: translated},
		Set{Name: "permitted", Key: ifnameAndMark, Elements: permitted},
		Set{Name: flowsMap, Key: mark, Map: true, Size: mostLinks, Elements: flows},
		Set{Name: "holds", Key: ifname, Map: true, Elements: holds},
	)
}

// localNetworks are destinations behind links that the main table knows specifically, and those that never leave a link:
// a modem's own web page must be asked through its link, whatever the rules say.
func (c *compiler) localNetworks() {
	for _, f := range policy.Families {
		if !c.relevant[f] {
			continue
		}
		var b netipx.IPSetBuilder
		for _, p := range neverRouted[f] {
			b.AddPrefix(netip.MustParsePrefix(p))
		}
		for _, l := range c.plan.Links {
			for _, n := range l.Networks[f] {
				b.AddPrefix(n.Dest)
			}
		}
		set, _ := b.IPSet()
		c.table.Sets = append(c.table.Sets, Set{Name: nearby(f), Key: keyOf(int(f)), Interval: true, Elements: rangeElements(set.Ranges())})
	}
}

// neverRouted are multicast (RFC 5771, RFC 4291), limited broadcast (RFC 919) and link-local addresses.
var neverRouted = [2][]string{{"224.0.0.0/4", "255.255.255.255/32"}, {"fe80::/10", "ff00::/8"}}

func nearby(f policy.Family) string { return fmt.Sprintf("nearby%d", 4+2*int(f)) }

// prerouting decides for packets that come in. One of a known flow takes one look-up of its flow's mark, and is done.
// A packet from a link never gets a mark: it is for the router or for the inside, where main knows the way.
// Only the first packet of a flow from inside goes on to the rules.
//
// Interfaces are matched by number first, because that is much cheaper than by name (BenchmarkPacketCost), and then by name: an
// interface that was made anew since has another number.
func (c *compiler) prerouting() {
	var rules []Rule
	known := dispatch{selector: marked(true, c.mask), set: flowsMap}
	if inside := c.insideNumbers(); len(inside) > 0 {
		rules = append(rules, rule(oneOf(iif, inside), known).because("a known flow stays on its link"))
	}
	if links := c.linkNumbers(Verdict{}); len(links) > 0 {
		rules = append(rules, rule(oneOf(iif, links), goTo("arriving")).because("from a link"))
	}
	c.chain("prerouting", &Hook{"filter", "prerouting", mangle}, append(rules,
		rule(inSet{selector: iifname, set: "uplinks"}, goTo("arriving")).because("from a link whose interface was made anew"),
		rule(known).because("from other networks inside"),
		rule(isNew, goTo("choose")),
	)...)
	c.arriving()
	c.choose()
	c.chain("rules", nil, append(append(c.strays(), c.policyRules(false)...), c.defaultRules()...)...)
}

// insideNumbers are the interfaces of the lan blocks that are there.
func (c *compiler) insideNumbers() []Element {
	var out []Element
	for _, d := range c.plan.Inside {
		if d.Index != 0 {
			out = append(out, numbered(d.Name, d.Index))
		}
	}
	return out
}

// linkNumbers are the interfaces of the links that are there, each with the same verdict.
func (c *compiler) linkNumbers(v Verdict) []Element {
	var out []Element
	for _, l := range c.plan.Links {
		if l.Index != 0 {
			e := numbered(l.Interface, l.Index)
			e.Verdict = v
			out = append(out, e)
		}
	}
	return out
}

// numbered is an interface that is matched by number and written by name.
func numbered(name string, index int) Element {
	return Element{From: host32(uint32(index)), Label: ifname.show(ifnameBytes(name))}
}

// choose asks: would main send a new flow to a link, or nowhere? Then it is ours to route. Networks inside, VPNs and containers
// are not. One look-up in main answers for links whose number is known; a destination of the router itself has no output
// interface either.
func (c *compiler) choose() {
	rules := c.redirected(func(policy.PlannedRedirect) []Statement { return []Statement{accept} }) // the proxy's own flows use links
	rules = append(rules, c.onlyRelevant()...)
	for _, f := range policy.Families {
		if c.relevant[f] {
			rules = append(rules, rule(inSet{selector: address(destination, int(f)), set: nearby(f)}, accept).because("main knows the way"))
		}
	}
	ours := append(c.linkNumbers(goTo("rules")), Element{From: host32(0), Verdict: goTo("nowhere")})
	rules = append(rules, rule(dispatch{selector: fibDaddrOIF, elems: distinct(ours)}).because("main would send it to a link, or nowhere"))
	var links []Element
	for _, l := range c.plan.Links {
		links = append(links, Element{From: ifnameBytes(l.Interface)})
	}
	if len(links) > 0 {
		rules = append(rules, rule(oneOf(fibDaddrName, links), goTo("rules")).because("to a link whose interface was made anew"))
	}
	c.chain("choose", nil, rules...)
	c.chain("nowhere", nil, rule(ofType{side: destination, typ: unix.RTN_UNICAST}, goTo("rules")))
}

// strays are TCP segments that belong to no flow and begin none. Usually such a connection is taken up again: it is one from before a restart. While
// a link is dead it is one of that link whose translation the kernel has forgotten (it does so by itself when the address goes), and can only end:
// the far end knows the old address, and may never answer another.
func (c *compiler) strays() []Rule {
	var out []Rule
	for _, f := range policy.Families {
		if c.relevant[f] && slices.ContainsFunc(c.plan.Links, func(l policy.PlannedLink) bool { return l.Lost(f) }) {
			out = append(out, rule(ofFamily(f), noSYN, counter{}, reject{tcp: true}).because("TCP of a link that is dead"))
		}
	}
	return out
}

// onlyRelevant lets packets pass of a family that no link carries.
func (c *compiler) onlyRelevant() []Rule {
	for _, f := range policy.Families {
		if !c.relevant[f] {
			return []Rule{rule(ofFamily(f), accept).because("no link carries %s", f)}
		}
	}
	return nil
}

// arriving is the way of packets that come in from a link. A new flow gets the link's number, so that its answers go back the
// way it came. Addresses of the inside cannot come from outside: this is the check that the kernel's rp_filter would make.
func (c *compiler) arriving() {
	rules := []Rule{
		rule(isOngoing, accept),
		rule(ofType{side: source, typ: unix.RTN_LOCAL}, counter{}, drop).because("from outside with one of the router's own addresses"),
	}
	if inside := c.insideNames(); len(inside) > 0 {
		rules = append(rules, rule(oneOf(fibSaddrName, inside), counter{}, drop).because("from outside with an address of the inside"))
	}
	c.chain("arriving", nil, append(rules, rule(dispatch{selector: iifname, set: "holds"}))...)
}
