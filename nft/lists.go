// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

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
	for _, s := range c.table.Sets {
		if s.long() {
			rules = append(rules, rule(leave).because("%s", content{s.Name, s.count(), s.hash()}))
		}
	}
	if len(rules) > 0 {
		c.chain(listsChain, nil, rules...)
	}
}

// content is what the table says of a long list.
type content struct {
	set   string
	count int // as the kernel tells it, see Set.count
	hash  uint64
}

// String is the comment that says it.
func (c content) String() string {
	return fmt.Sprintf("%s: %d elements, %016x", c.set, c.count, c.hash)
}

// contentOf reads such a comment, and says whether it is one.
func contentOf(comment string) (c content, ok bool) {
	set, rest, _ := strings.Cut(comment, ": ")
	count, hash, _ := strings.Cut(rest, " elements, ")
	c.set = set
	var errCount, errHash error
	c.count, errCount = strconv.Atoi(count)
	c.hash, errHash = strconv.ParseUint(hash, 16, 64)
	return c, errCount == nil && errHash == nil
}

// count is the number of elements that the kernel tells: of intervals, half the number of their ends, and the highest may have
// none (nft_rbtree_usize of net/netfilter/nft_set_rbtree.c).
func (s Set) count() int {
	n := len(s.Elements)
	if s.Interval && n > 0 && after(s.Elements[n-1].last()) == nil {
		return n - 1
	}
	return n
}

// hash identifies the elements of a set.
func (s Set) hash() uint64 {
	h := fnv.New64a()
	_, _ = h.Write(s.pack())
	return h.Sum64()
}

// pack writes the elements in a form that can be kept in a file: for each its size, first and last value, and comment.
func (s Set) pack() []byte {
	out := make([]byte, 0, len(s.Elements)*12)
	for _, e := range s.Elements {
		out = append(out, byte(len(e.From)))
		out = append(append(out, e.From...), e.last()...)
		out = binary.AppendUvarint(out, uint64(len(e.Comment)))
		out = append(out, e.Comment...)
	}
	return out
}

// unpack reads what pack wrote. It returns false for anything else.
func unpack(b []byte) (out []Element, ok bool) {
	for len(b) > 0 {
		size := int(b[0])
		if len(b) < 1+2*size {
			return nil, false
		}
		e := Element{From: b[1 : 1+size], To: b[1+size : 1+2*size]}
		n, width := binary.Uvarint(b[1+2*size:])
		if b = b[1+2*size:]; width <= 0 || n > uint64(len(b)-width) {
			return nil, false
		}
		e.Comment = string(b[width : width+int(n)])
		b = b[width+int(n):]
		out = append(out, e)
	}
	return out, true
}

// addresses matches one side's addresses: a single prefix in place, everything else as a set with a name. Rules that name the
// same set or lan share it.
func (c *compiler) addresses(side, family int, a policy.Addresses, name string, not bool) Statement {
	s := address(side, family)
	ranges := a.In(policy.Family(family))
	if len(ranges) == 1 {
		if p, ok := ranges[0].Prefix(); ok {
			return inPrefix{selector: s, prefix: p, not: not}
		}
	}
	if a.Name != "" {
		name = a.Name
	}
	set := c.addressSet(name, family, ranges)
	return inSet{selector: s, set: set, not: not}
}

// addressSet adds a set of addresses unless it is there already, and returns its name.
func (c *compiler) addressSet(name string, family int, ranges []netipx.IPRange) string {
	hosts, single := hostsOf(ranges)
	full := setName(name, family, single)
	if !c.seen[full] {
		c.seen[full] = true
		s := Set{Name: full, Key: keyOf(family), Interval: !single, Elements: hosts}
		if !single {
			s.Elements = rangeElements(ranges)
		}
		c.table.Sets = append(c.table.Sets, s)
	}
	return full
}

// setName ends in the family, and tells sets of single hosts from sets of ranges: a list that becomes one that was the other is
// another set, so that one can take the place of the other within a transaction.
func setName(name string, family int, single bool) string {
	if single {
		name += "_hosts"
	}
	return fmt.Sprintf("%s%d", name, 4+2*family)
}

// Hosts in a row have been merged into ranges. They are taken apart again when that makes at most so many times as many elements: a
// range is two elements to the kernel, in a tree; single hosts are one, in a hash table, which is several times faster.
const worthHosts = 4

// hostsOf takes ranges apart into single addresses, when these are not too many.
func hostsOf(ranges []netipx.IPRange) ([]Element, bool) {
	most := worthHosts * len(ranges)
	var out []Element
	for _, r := range ranges {
		for a := r.From(); ; a = a.Next() {
			if len(out) == most {
				return nil, false
			}
			out = append(out, Element{From: a.AsSlice()})
			if a == r.To() {
				break
			}
		}
	}
	return out, true
}

func rangeElements(ranges []netipx.IPRange) []Element {
	out := make([]Element, len(ranges))
	for i, r := range ranges {
		out[i] = Element{From: r.From().AsSlice(), To: r.To().AsSlice()}
	}
	return out
}
