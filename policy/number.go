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
	a := assigner{present: present, last: LastNumber(p.Settings.MarkMask)}
	for _, l := range p.Links {
		a.taken[l.Mark] = true
	}
	for _, g := range p.Groups {
		a.taken[g.Mark] = true
	}
	n := Numbers{Links: a.had(p.Links, Ordinary)} // whatever living flows carry is kept before anything new is given away
	if p.Has(Keep) {
		n.Steady = a.had(p.Links, Steady)
	}
	if p.Has(Failback) {
		n.Guests = a.had(p.Links, Guest)
	}
	a.fill(n.Links)
	for _, g := range p.Groups {
		number := g.Mark
		if g.By == ByRoute && number == 0 {
			number = a.free()
		}
		n.Groups = append(n.Groups, number)
	}
	a.fill(n.Steady)
	a.fill(n.Guests)
	return n
}

// assigner gives numbers away, each once.
type assigner struct {
	present map[string]uint8
	last    int
	taken   [256]bool
	next    int
}

// had are the numbers that links ask for or have already, 0 where they do neither.
func (a *assigner) had(links []Link, t Tenure) []uint8 {
	out := make([]uint8, len(links))
	for i, l := range links {
		if t == Ordinary {
			out[i] = l.Mark
		}
		if had := a.present[NumberKey(l.Name, t)]; out[i] == 0 && !a.taken[had] && int(had) <= a.last {
			out[i] = had
			a.taken[had] = true
		}
	}
	return out
}

// free is the lowest number that is free, 0 when there is none any more.
func (a *assigner) free() uint8 {
	for a.next < 255 {
		if a.next++; !a.taken[a.next] {
			a.taken[a.next] = true
			return uint8(a.next)
		}
	}
	return 0
}

// fill gives numbers to those that have none.
func (a *assigner) fill(numbers []uint8) {
	for i, n := range numbers {
		if n == 0 {
			numbers[i] = a.free()
		}
	}
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
