// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"slices"
	"sort"

	"enlace/policy"
)

// matching are the rules that do something with what a rule of the policy matches in one family, or in any when it is -1: one, or more
// when a long list is in several sets. name is what sets of its own are called after.
func (c *compiler) matching(name string, m policy.Match, s policy.Sides, family int, do ...Statement) []Rule {
	var out []Rule
	for _, sides := range c.sides(name, s, family) {
		var all []Statement
		if len(m.Interfaces) > 0 {
			all = append(all, c.interfaces(m.Interfaces))
		}
		if family >= 0 && len(sides) == 0 && len(m.DSCP) == 0 {
			all = append(all, ofFamily(family))
		}
		out = append(out, rule(append(append(append(all, sides...), c.rest(m, family)...), do...)...))
	}
	return out
}

// sides are the conditions about addresses: alternatives, of each of which all must be fulfilled.
func (c *compiler) sides(name string, s policy.Sides, family int) [][]Statement {
	out := [][]Statement{nil}
	if family < 0 {
		return out
	}
	for _, side := range []struct {
		at   int
		of   policy.Addresses
		name string
		not  bool
	}{
		{source, s.From, name + ".from", false},
		{source, s.NotFrom, name + ".not_from", true},
		{destination, s.To, name + ".to", false},
		{destination, s.NotTo, name + ".not_to", true},
	} {
		if side.of.Any || side.not && !side.of.Takes(policy.Family(family)) {
			continue
		}
		looks := c.addresses(side.at, family, side.of, side.name, side.not)
		if side.not { // in none of the sets
			for i := range out {
				out[i] = append(out[i], looks...)
			}
			continue
		}
		var more [][]Statement // in any of them
		for _, before := range out {
			for _, look := range looks {
				more = append(more, append(slices.Clone(before), look))
			}
		}
		out = more
	}
	return out
}

// rest are the conditions that are about neither interfaces nor addresses.
func (c *compiler) rest(m policy.Match, family int) []Statement {
	var out []Statement
	if len(m.MACs) > 0 {
		var elems []Element
		for _, a := range m.MACs {
			elems = append(elems, Element{From: a[:]})
		}
		out = append(out, oneOf(etherSaddr, elems))
	}
	if len(m.Users) > 0 {
		var elems []Element
		for _, u := range m.Users {
			elems = append(elems, Element{From: host32(u)})
		}
		out = append(out, oneOf(skuid, elems))
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
