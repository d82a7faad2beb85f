// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// sets adds new sets, and the elements by which the others differ.
func (d *differ) sets() {
	for _, s := range d.want.Sets {
		have := d.have.sets[s.Name]
		if have == nil {
			d.line("+ set %s", s)
			d.change.main.addSet(s)
			continue
		}
		if said, ok := d.have.lists[s.Name]; ok || have.elements == nil {
			d.longList(s, have, said)
			continue
		}
		before, after := pieces(have.list(), s.Interval), pieces(s.wire(), s.Interval)
		d.elements("-", unix.NFT_MSG_DELSETELEM, s, missing(before, after))
		d.elements("+", unix.NFT_MSG_NEWSETELEM, s, missing(after, before))
	}
}

// longList changes a list whose elements were not read. Where nobody remembers what they are, or somebody else changed their
// number, all are replaced, in the same transaction.
func (d *differ) longList(s Set, have *observedSet, said content) {
	intact := have.count < 0 || have.count == said.count
	if intact && said.hash == s.hash() {
		return
	}
	if old, ok := unpack(d.recall(s.Name, said.hash)); intact && ok && (Set{Elements: old}).hash() == said.hash {
		gone, added := compareSorted(old, s.Elements)
		d.elements("-", unix.NFT_MSG_DELSETELEM, s, pieces(Set{Interval: s.Interval, Elements: gone}.wire(), s.Interval))
		d.elements("+", unix.NFT_MSG_NEWSETELEM, s, pieces(Set{Interval: s.Interval, Elements: added}.wire(), s.Interval))
		return
	}
	d.line("~ set %s", s)
	d.change.main.flush(s.Name)
	d.change.main.elements(unix.NFT_MSG_NEWSETELEM, s.Name, 0, s.wire())
}

// compareSorted walks through two lists in the order of their values, and returns what only the first has, and only the second.
func compareSorted(old, want []Element) (gone, added []Element) {
	for len(old) > 0 || len(want) > 0 {
		var order int
		switch {
		case len(old) == 0:
			order = 1
		case len(want) == 0:
			order = -1
		default:
			order = bytes.Compare(old[0].From, want[0].From)
		}
		switch {
		case order < 0:
			gone, old = append(gone, old[0]), old[1:]
		case order > 0:
			added, want = append(added, want[0]), want[1:]
		default:
			if !bytes.Equal(old[0].last(), want[0].last()) || old[0].Comment != want[0].Comment {
				gone, added = append(gone, old[0]), append(added, want[0])
			}
			old, want = old[1:], want[1:]
		}
	}
	return gone, added
}

// piece is what is added and removed as a whole: an element, or both ends of an interval.
type piece []wireElement

func (p piece) id() string {
	id := ""
	for _, w := range p {
		id += w.id() + "|"
	}
	return id
}

// pieces are the elements of a set, those of intervals in pairs. An interval that reaches the highest value has no end.
func pieces(list []wireElement, interval bool) []piece {
	if !interval {
		out := make([]piece, len(list))
		for i, w := range list {
			out[i] = piece{w}
		}
		return out
	}
	sorted := slices.Clone(list)
	slices.SortFunc(sorted, func(a, b wireElement) int {
		if c := bytes.Compare(a.key, b.key); c != 0 || a.end == b.end {
			return c
		}
		if a.end { // where one interval ends another may begin
			return -1
		}
		return 1
	})
	var out []piece
	for _, w := range sorted {
		if n := len(out); w.end && n > 0 && len(out[n-1]) == 1 {
			out[n-1] = append(out[n-1], w)
			continue
		}
		out = append(out, piece{w})
	}
	return out
}

// missing are the pieces of one list that another lacks, in order.
func missing(from, in []piece) []piece {
	has := map[string]bool{}
	for _, p := range in {
		has[p.id()] = true
	}
	var out []piece
	for _, p := range from {
		if !has[p.id()] {
			out = append(out, p)
		}
	}
	return out
}

// fewElements is how many changed elements of a set are told one by one.
const fewElements = 20

func (d *differ) elements(sign string, typ int, s Set, list []piece) {
	var all []wireElement
	for i, p := range list {
		all = append(all, p...)
		if i < fewElements {
			d.change.lines = append(d.change.lines, func() string {
				return fmt.Sprintf("%s element of %s: %s", sign, s.Name, p.element().show(s.Key))
			})
		}
	}
	if n := len(list); n > fewElements {
		d.line("%s %d more elements of %s", sign, n-fewElements, s.Name)
	}
	if len(all) > 0 {
		d.change.main.elements(typ, s.Name, 0, all)
	}
}

// element is a piece as people write it.
func (p piece) element() Element {
	e := Element{From: p[0].key, Verdict: p[0].verdict, Comment: p[0].comment}
	if len(p) == 2 {
		e.To = before(p[1].key)
	}
	return e
}

// List is a long list of the wanted table, to be kept for Recall.
type List struct {
	Set  string
	Hash string
	set  Set
}

// Bytes are what Recall has to return for it.
func (l List) Bytes() []byte { return l.set.pack() }

// Lists are the long lists of the wanted table.
func (t Table) Lists() []List {
	var out []List
	for _, s := range t.Sets {
		if s.long() {
			out = append(out, List{Set: s.Name, Hash: s.hash(), set: s})
		}
	}
	return out
}
