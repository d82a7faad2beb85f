// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// setID is the number of a set within the batch, which the messages of the batch use to refer to it. 0 when the set is not new.
func (b *batch) setID(name string) uint32 { return b.ids[name] }

// addSet adds a named set with its elements.
func (b *batch) addSet(s Set) {
	b.lastID++
	b.ids[s.Name] = b.lastID
	b.declareSet(s, s.Name, b.lastID, 0)
	b.elements(unix.NFT_MSG_NEWSETELEM, s.Name, b.lastID, s.wire())
}

// addAnonymous adds a set that belongs to the rule which is added next, and returns its number.
func (b *batch) addAnonymous(s Set) uint32 {
	b.lastID++
	id := b.lastID
	b.declareSet(s, anonymous[s.Map], id, unix.NFT_SET_ANONYMOUS|unix.NFT_SET_CONSTANT)
	b.elements(unix.NFT_MSG_NEWSETELEM, anonymous[s.Map], id, s.wire())
	return id
}

// Byte orders in a set's user data, as nft numbers them.
const (
	hostEndian    = 1
	networkEndian = 2
)

// fieldLength is NFTA_SET_FIELD_LEN of linux/netfilter/nf_tables.h.
const fieldLength = 1

// setExpression is NFTA_SET_EXPR of linux/netfilter/nf_tables.h: what every element gets.
const setExpression = 17

// declareSet adds the set without elements.
func (b *batch) declareSet(s Set, name string, id, flags uint32) {
	if s.Interval {
		flags |= unix.NFT_SET_INTERVAL
	}
	if s.Map {
		flags |= unix.NFT_SET_MAP
	}
	if s.Key.fields != nil {
		flags |= setConcat
	}
	order := uint32(networkEndian)
	if s.Key.host {
		order = hostEndian
	}
	b.add(unix.NFT_MSG_NEWSET, netlink.Create, named("set", name), func() {
		b.str(unix.NFTA_SET_TABLE, TableName)
		b.str(unix.NFTA_SET_NAME, name)
		b.u32(unix.NFTA_SET_FLAGS, flags)
		b.u32(unix.NFTA_SET_KEY_TYPE, s.Key.typ.Magic)
		b.u32(unix.NFTA_SET_KEY_LEN, s.Key.typ.Bytes)
		b.u32(unix.NFTA_SET_ID, id)
		if s.Map {
			b.u32(unix.NFTA_SET_DATA_TYPE, unix.NFT_DATA_VERDICT)
			b.u32(unix.NFTA_SET_DATA_LEN, 0)
		}
		b.describe(s, flags)
		if s.Counted {
			b.expression(setExpression, &expr.Counter{}, s.Name)
		}
		b.raw(unix.NFTA_SET_USERDATA, userdata.AppendUint32(nil, userdata.NFTNL_UDATA_SET_KEYBYTEORDER, order))
	})
}

// describe says what helps the kernel to choose how it stores a set.
func (b *batch) describe(s Set, flags uint32) {
	size := s.Size
	if flags&unix.NFT_SET_CONSTANT != 0 {
		size = len(s.Elements)
	}
	if size == 0 && s.Key.fields == nil {
		return
	}
	b.nest(unix.NFTA_SET_DESC, func() {
		if size != 0 {
			b.u32(unix.NFTA_SET_DESC_SIZE, uint32(size))
		}
		if s.Key.fields == nil {
			return
		}
		b.nest(setDescConcat, func() {
			for _, size := range s.Key.fields {
				b.nest(unix.NFTA_LIST_ELEM, func() { b.u32(fieldLength, size) })
			}
		})
	})
}

func (b *batch) delSet(name string) {
	b.add(unix.NFT_MSG_DELSET, 0, named("set", name), func() {
		b.str(unix.NFTA_SET_TABLE, TableName)
		b.str(unix.NFTA_SET_NAME, name)
	})
}

// messageSize is up to which size elements go into one message: their list is an attribute, whose length has 16 bits. The other
// numbers are what an element takes at most, besides its key, its comment and the name of a chain.
const (
	messageSize = 60_000
	elementSize = 80
)

// inOneMessage is how many of the first elements fit into one message.
func inOneMessage(elems []wireElement) int {
	size := 0
	for i, e := range elems {
		if size += elementSize + len(e.key) + len(e.comment) + len(e.verdict.Chain); size > messageSize {
			return i
		}
	}
	return len(elems)
}

// elements adds or deletes elements of a set.
func (b *batch) elements(typ int, name string, id uint32, elems []wireElement) {
	for len(elems) > 0 {
		part := elems[:inOneMessage(elems)]
		elems = elems[len(part):]
		flags := netlink.HeaderFlags(0)
		if typ == unix.NFT_MSG_NEWSETELEM {
			flags = netlink.Create
		}
		b.add(typ, flags, named("elements of", name), func() {
			b.str(unix.NFTA_SET_ELEM_LIST_TABLE, TableName)
			b.str(unix.NFTA_SET_ELEM_LIST_SET, name)
			if id != 0 {
				b.u32(unix.NFTA_SET_ELEM_LIST_SET_ID, id)
			}
			b.nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, func() {
				for _, e := range part {
					b.nest(unix.NFTA_LIST_ELEM, func() { b.element(e) })
				}
			})
		})
	}
}

// flush removes all elements of a set.
func (b *batch) flush(name string) {
	b.add(unix.NFT_MSG_DELSETELEM, 0, named("elements of", name), func() {
		b.str(unix.NFTA_SET_ELEM_LIST_TABLE, TableName)
		b.str(unix.NFTA_SET_ELEM_LIST_SET, name)
	})
}

// wire are the elements as the kernel keeps them. In a set of intervals a range is two: its first value, and, marked as an end,
// the value behind its last; a range up to the highest value has no end.
func (s Set) wire() []wireElement {
	out := make([]wireElement, 0, len(s.Elements))
	for _, e := range s.Elements {
		out = append(out, wireElement{key: e.From, verdict: e.Verdict, comment: e.Comment})
		if !s.Interval {
			continue
		}
		if end := after(e.last()); end != nil {
			out = append(out, wireElement{key: end, end: true})
		}
	}
	return out
}

// element appends one element.
func (b *batch) element(e wireElement) {
	b.nest(unix.NFTA_SET_ELEM_KEY, func() { b.raw(unix.NFTA_DATA_VALUE, e.key) })
	if e.end {
		b.u32(unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END)
	}
	if e.comment != "" {
		b.raw(unix.NFTA_SET_ELEM_USERDATA, userdata.AppendString(nil, userdata.TypeComment, e.comment))
	}
	if e.verdict == (Verdict{}) {
		return
	}
	b.nest(unix.NFTA_SET_ELEM_DATA, func() {
		b.nest(unix.NFTA_DATA_VERDICT, func() {
			b.u32(unix.NFTA_VERDICT_CODE, uint32(e.verdict.Kind))
			if e.verdict.Chain != "" {
				b.str(unix.NFTA_VERDICT_CHAIN, e.verdict.Chain)
			}
		})
	})
}

// last is the last value of the element.
func (e Element) last() []byte {
	if e.To != nil {
		return e.To
	}
	return e.From
}

// after is the value behind v in network byte order, nil behind the last one.
func after(v []byte) []byte {
	next := bytes.Clone(v)
	for i := len(next) - 1; i >= 0; i-- {
		if next[i]++; next[i] != 0 {
			return next
		}
	}
	return nil
}

// before is the value before v, which is not 0.
func before(v []byte) []byte {
	last := bytes.Clone(v)
	for i := len(last) - 1; i >= 0; i-- {
		if last[i]--; last[i] != 0xff {
			break
		}
	}
	return last
}
