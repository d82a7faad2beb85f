// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"container/heap"
	"net/netip"
	"slices"

	"go4.org/netipx"
)

// Segment is a range of addresses and the place, in a list of rules, of the first rule that has them.
type Segment struct {
	Range netipx.IPRange
	Owner int
}

// FirstMatch divides addresses among rules that are tried in order: each address belongs to the first list that has it. The
// segments are disjoint and in the order of their addresses. A list that owns nothing is one that no packet ever reaches.
func FirstMatch(lists [][]netipx.IPRange) []Segment {
	var spans []Segment
	for owner, list := range lists {
		for _, r := range list {
			spans = append(spans, Segment{r, owner})
		}
	}
	slices.SortFunc(spans, func(a, b Segment) int { return cmp.Or(a.Range.From().Compare(b.Range.From()), a.Owner-b.Owner) })
	s := sweep{}
	for _, next := range spans {
		s.until(next.Range.From())
		heap.Push(&s.open, next)
	}
	s.until(netip.Addr{})
	return s.out
}

// sweep goes through addresses upwards.
type sweep struct {
	open byOwner // lists whose range has begun
	at   netip.Addr
	out  []Segment
}

// until gives away the addresses before next; all that is left when next is the zero address.
func (s *sweep) until(next netip.Addr) {
	for len(s.open) > 0 {
		first := s.open[0].Range
		if !s.at.IsValid() || s.at.Less(first.From()) {
			s.at = first.From()
		}
		if first.To().Less(s.at) { // somebody before it had its addresses
			heap.Pop(&s.open)
			continue
		}
		if next.IsValid() && !s.at.Less(next) {
			return
		}
		last := first.To()
		if next.IsValid() && !last.Less(next) {
			last = next.Prev()
		}
		s.give(netipx.IPRangeFrom(s.at, last), s.open[0].Owner)
		if s.at = last.Next(); !s.at.IsValid() { // the highest address of its family
			s.open = s.open[:0]
		}
	}
}

// give appends a segment, or makes the last one longer.
func (s *sweep) give(r netipx.IPRange, owner int) {
	if n := len(s.out); n > 0 && s.out[n-1].Owner == owner && s.out[n-1].Range.To().Next() == r.From() {
		s.out[n-1].Range = netipx.IPRangeFrom(s.out[n-1].Range.From(), r.To())
		return
	}
	s.out = append(s.out, Segment{r, owner})
}

// byOwner is a heap: the rule that is tried first is on top.
type byOwner []Segment

func (h byOwner) Len() int           { return len(h) }
func (h byOwner) Less(i, j int) bool { return h[i].Owner < h[j].Owner }
func (h byOwner) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byOwner) Push(x any)        { *h = append(*h, x.(Segment)) }
func (h *byOwner) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// Side is one end of a flow.
type Side uint8

// The sides.
const (
	Source Side = iota
	Destination
)

// Run is a stretch of rules, Rules[First:Last], that differ in the addresses of one side only, and in where they lead.
type Run struct {
	First, Last int
	Side        Side
}

// Runs divides n rules into the longest runs from the first rule on. alike tells whether rule j could stand in one run with rule i,
// its predecessor at some distance, if only the addresses of that side differ. A rule that is like no neighbour is no run.
func Runs(n int, alike func(i, j int, side Side) bool) []Run {
	var out []Run
	for first := 0; first < n; {
		best := Run{First: first, Last: first + 1}
		for _, side := range []Side{Source, Destination} {
			last := first + 1
			for last < n && alike(first, last, side) {
				last++
			}
			if last > best.Last {
				best = Run{first, last, side}
			}
		}
		if best.Last > first+1 {
			out = append(out, best)
		}
		first = best.Last
	}
	return out
}
