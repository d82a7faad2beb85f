// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"math/bits"
	"slices"
)

// Numbers are the numbers of links and groups, by their place in the policy. A group that needs none has 0.
type Numbers struct {
	Links, Groups []uint8
	// Steady and Guests are those of a link's flows with these tenures, nil when the policy has no such flows.
	Steady, Guests []uint8
}

// NumberKey is how Facts.Numbers calls a link's number for flows of a tenure. A blank cannot be in a name.
func NumberKey(link string, t Tenure) string {
	return [Tenures]string{"", "steady ", "guest "}[t] + link
}

// LastNumber is the highest number of a link or group that fits into the mask; 255 is never given, so that a mark with all
// bits set, which other programs use for "mine", cannot be taken for a link.
func LastNumber(mask uint32) int {
	return min(int(mask>>bits.TrailingZeros32(mask)), 255) - 1
}

// MarkOf places a number within the mask.
func MarkOf(n uint8, mask uint32) uint32 {
	return uint32(n) << bits.TrailingZeros32(mask)
}

// Number gives every link and every group that needs one a number: the one it asks for, otherwise the one that the link of that
// name has already, otherwise the lowest that is free, in the order of the policy, links first. Two routers that start with the
// same policy agree; and a link keeps its number while it lives, because living flows carry it.
func (p Policy) Number(present map[string]uint8) Numbers {
	taken := map[uint8]bool{}
	for _, l := range p.Links {
		taken[l.Mark] = true
	}
	for _, g := range p.Groups {
		taken[g.Mark] = true
	}
	var n Numbers
	for _, l := range p.Links {
		number := l.Mark
		if had := present[l.Name]; number == 0 && !taken[had] && int(had) <= LastNumber(p.Settings.MarkMask) {
			number = had
			taken[had] = true
		}
		n.Links = append(n.Links, number)
	}
	next := uint8(0)
	assign := func(wanted uint8) uint8 {
		if wanted != 0 {
			return wanted
		}
		for next++; taken[next]; next++ {
		}
		taken[next] = true
		return next
	}
	for i, number := range n.Links {
		n.Links[i] = assign(number)
	}
	for _, g := range p.Groups {
		if g.By != ByRoute && g.Mark == 0 {
			n.Groups = append(n.Groups, 0)
			continue
		}
		n.Groups = append(n.Groups, assign(g.Mark))
	}
	if p.Has(Keep) {
		n.Steady = p.more(Steady, present, taken, assign)
	}
	if p.Has(Failback) {
		n.Guests = p.more(Guest, present, taken, assign)
	}
	return n
}

// more are another number for each link.
func (p Policy) more(t Tenure, present map[string]uint8, taken map[uint8]bool, assign func(uint8) uint8) []uint8 {
	out := make([]uint8, len(p.Links))
	for i, l := range p.Links {
		if had := present[NumberKey(l.Name, t)]; had != 0 && !taken[had] && int(had) <= LastNumber(p.Settings.MarkMask) {
			out[i], taken[had] = had, true
		}
	}
	for i, number := range out {
		out[i] = assign(number)
	}
	return out
}

// Has tells whether the policy has flows of a kind.
func (p Policy) Has(f Flows) bool {
	return p.DefaultFlows == f || slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.Flows == f }) ||
		slices.ContainsFunc(p.Groups, func(g Group) bool { return g.Flows == f })
}

// TablesOf are the routing tables of links and groups, by their place in the policy: the one that is asked for, otherwise
// TableBase plus the link's place, groups after the links. A table that the policy names elsewhere is passed over.
func (p Policy) TablesOf() (links, groups []uint32) {
	taken := map[uint32]bool{253: true, 254: true, 255: true} // the kernel's own
	for _, l := range p.Links {
		taken[l.Table] = true
	}
	for _, g := range p.Groups {
		taken[g.Table] = true
	}
	next := p.Settings.TableBase
	assign := func(wanted uint32) uint32 {
		if wanted != 0 {
			return wanted
		}
		for next++; taken[next]; next++ {
		}
		return next
	}
	for _, l := range p.Links {
		links = append(links, assign(l.Table))
	}
	for _, g := range p.Groups {
		groups = append(groups, assign(g.Table))
	}
	return links, groups
}
