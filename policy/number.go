// SPDX-License-Identifier: Apache-2.0

package policy

import "math/bits"

// Numbers are the numbers of links and groups, by their place in the policy. A group that needs none has 0.
type Numbers struct {
	Links, Groups []uint8
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
	return n
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
