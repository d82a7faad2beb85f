// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"

	"go4.org/netipx"

	"enlace/policy"
)

// Long lists are never read back: a hundred thousand elements take the kernel seconds to list. Instead the table itself says what they
// hold, in a chain that no packet enters, with a rule for each: its comment has the number of elements and a hash of them. It
// changes in the same transaction as the elements.

// listsChain is the name of that chain.
const listsChain = "lists"

// longList is from how many elements on a set is not read back. Reading so many takes about two milliseconds.
const longList = 1000

// long tells whether a set is not to be read back.
func (s Set) long() bool { return len(s.Elements) >= longList }

// lists makes the chain, if there is any long list.
func (c *compiler) lists() {
	var rules []Rule
	for i := range c.table.Sets {
		s := &c.table.Sets[i]
		if s.long() {
			s.sum = s.hash()
			rules = append(rules, rule(leave).because("%s", content{s.Name, s.count(), s.sum}))
		}
	}
	if len(rules) > 0 {
		c.chain(listsChain, nil, rules...)
	}
}

// addresses matches one side's addresses: a single prefix in place, everything else as sets with names, usually one. Rules that name
// the same set or lan share it.
func (c *compiler) addresses(side, family int, a policy.Addresses, name string, not bool) []Statement {
	ranges := a.In(policy.Family(family))
	if len(ranges) == 1 {
		if p, ok := ranges[0].Prefix(); ok {
			return []Statement{inPrefix{selector: address(side, family), prefix: p, not: not}}
		}
	}
	if a.Name != "" {
		name = a.Name
	}
	var out []Statement
	for _, p := range c.addressSets(name, family, ranges) {
		out = append(out, inSet{selector: networkOf(side, family, p.length), set: p.set, not: not})
	}
	return out
}

// part is a set with some of the addresses of a list: all prefixes of one length, which are looked up by the network of an address,
// or ranges.
type part struct {
	set    string
	length int // of the prefixes, in bits; that of the whole address where it is looked up as it is
}

// addressSets adds the sets for a list of addresses unless they are there already, and returns them.
func (c *compiler) addressSets(name string, family int, ranges []netipx.IPRange) []part {
	key := fmt.Sprintf("%s%d", name, 4+2*family)
	if parts, ok := c.parts[key]; ok {
		return parts
	}
	whole := int(keyOf(family).typ.Bytes) * 8
	var parts []part
	add := func(kind string, length int, interval bool, elems []Element) {
		p := part{fmt.Sprintf("%s%s%d", name, kind, 4+2*family), length}
		parts = append(parts, p)
		c.table.Sets = append(c.table.Sets, Set{Name: p.set, Key: keyOf(family), Interval: interval, Elements: elems})
	}
	if hosts, ok := hostsOf(ranges); ok {
		add(".hosts", whole, false, hosts)
	} else {
		lengths, rest := byLength(ranges)
		for _, l := range slices.Sorted(maps.Keys(lengths)) {
			elems := rangeElements(lengths[l])
			for i := range elems {
				elems[i].To = nil
			}
			kind := fmt.Sprintf(".slash%d_", l)
			if l == whole {
				kind = ".hosts"
			}
			add(kind, l, false, elems)
		}
		if len(rest) > 0 || len(lengths) == 0 {
			add("", whole, true, rangeElements(rest))
		}
	}
	c.parts[key] = parts
	return parts
}

// commonLength is the part of a long list that prefixes of one length must make up to be looked up by themselves.
const commonLength = 0.25

// byLength takes out of a long list the prefixes of its most common lengths. A hash table of networks answers several times faster
// than a tree of ranges (BenchmarkPacketCost), and takes half the memory.
func byLength(ranges []netipx.IPRange) (lengths map[int][]netipx.IPRange, rest []netipx.IPRange) {
	if len(ranges) < longList {
		return nil, ranges
	}
	count := map[int]int{}
	for _, r := range ranges {
		if p, ok := r.Prefix(); ok {
			count[p.Bits()]++
		}
	}
	lengths = map[int][]netipx.IPRange{}
	for _, r := range ranges {
		p, ok := r.Prefix()
		if ok && float64(count[p.Bits()]) >= commonLength*float64(len(ranges)) {
			lengths[p.Bits()] = append(lengths[p.Bits()], r)
		} else {
			rest = append(rest, r)
		}
	}
	return lengths, rest
}

// setName ends in the family, and tells sets of single hosts from sets of ranges: a list that becomes one that was the other is
// another set, so that one can take the place of the other within a transaction. Parts of names are joined by dots, which names in a
// policy cannot have: no two sets have one name.
func setName(name string, family int, single bool) string {
	if single {
		name += ".hosts"
	}
	return fmt.Sprintf("%s%d", name, 4+2*family)
}

// Hosts in a row have been merged into ranges. They are taken apart again when that makes at most so many times as many elements: a
// range is two elements to the kernel, in a tree; single hosts are one, in a hash table, which is several times faster.
const worthHosts = 4

// hostsOf takes ranges apart into single addresses, when these are not too many.
func hostsOf(ranges []netipx.IPRange) ([]Element, bool) {
	most, count := uint64(worthHosts*len(ranges)), uint64(0)
	for _, r := range ranges {
		n := lengthOf(r)
		if n > most-count {
			return nil, false
		}
		count += n
	}
	all := bytesFor(ranges, int(count))
	out := make([]Element, 0, count)
	for _, r := range ranges {
		for a := r.From(); ; a = a.Next() {
			out = append(out, Element{From: all.add(a)})
			if a == r.To() {
				break
			}
		}
	}
	return out, true
}

// lengthOf is the number of addresses in a range, or a very large number.
func lengthOf(r netipx.IPRange) uint64 {
	from, to := r.From().As16(), r.To().As16()
	if !bytes.Equal(from[:8], to[:8]) {
		return math.MaxUint64
	}
	return min(binary.BigEndian.Uint64(to[8:])-binary.BigEndian.Uint64(from[8:]), math.MaxUint64-1) + 1
}

func rangeElements(ranges []netipx.IPRange) []Element {
	all := bytesFor(ranges, 2*len(ranges))
	out := make([]Element, len(ranges))
	for i, r := range ranges {
		out[i] = Element{From: all.add(r.From()), To: all.add(r.To())}
	}
	return out
}

// addressBytes keeps the bytes of addresses of one family together: one allocation for thousands of them.
type addressBytes []byte

// bytesFor has room for the bytes of n addresses like those of the ranges.
func bytesFor(ranges []netipx.IPRange, n int) addressBytes {
	if len(ranges) == 0 {
		return nil
	}
	return make(addressBytes, 0, n*ranges[0].From().BitLen()/8)
}

func (l *addressBytes) add(a netip.Addr) []byte {
	start := len(*l)
	if a.Is4() {
		four := a.As4()
		*l = append(*l, four[:]...)
	} else {
		sixteen := a.As16()
		*l = append(*l, sixteen[:]...)
	}
	return (*l)[start:len(*l):len(*l)]
}
