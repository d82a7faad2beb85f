// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"math/big"

	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// setID is the number of a set within the batch, which the messages of the batch use to refer to it. 0 when the set is not new.
func (b *batch) setID(name string) uint32 { return b.ids[name] }

// addSet adds a named set with its elements.
func (b *batch) addSet(s Set) error {
	b.lastID++
	b.ids[s.Name] = b.lastID
	if err := b.declareSet(s, s.Name, b.lastID, 0); err != nil {
		return err
	}
	return b.elements(unix.NFT_MSG_NEWSETELEM, s.Name, b.lastID, s.wire())
}

// addAnonymous adds a set that belongs to the rule which is added next, and returns its number.
func (b *batch) addAnonymous(s Set) uint32 {
	b.lastID++
	id := b.lastID
	// Errors of encoding cannot occur here: the attributes have fixed sizes.
	_ = b.declareSet(s, anonymous[s.Map], id, unix.NFT_SET_ANONYMOUS|unix.NFT_SET_CONSTANT)
	_ = b.elements(unix.NFT_MSG_NEWSETELEM, anonymous[s.Map], id, s.wire())
	return id
}

// Byte orders in a set's user data, as nft numbers them.
const (
	hostEndian    = 1
	networkEndian = 2
)

// declareSet adds the set without elements.
func (b *batch) declareSet(s Set, name string, id, flags uint32) error {
	if s.Interval {
		flags |= unix.NFT_SET_INTERVAL
	}
	if s.Map {
		flags |= unix.NFT_SET_MAP
	}
	order := uint32(networkEndian)
	if s.Key.host {
		order = hostEndian
	}
	return b.add(unix.NFT_MSG_NEWSET, netlink.Create, "set "+name, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_SET_TABLE, TableName)
		ae.String(unix.NFTA_SET_NAME, name)
		ae.Uint32(unix.NFTA_SET_FLAGS, flags)
		ae.Uint32(unix.NFTA_SET_KEY_TYPE, s.Key.typ.GetNFTMagic())
		ae.Uint32(unix.NFTA_SET_KEY_LEN, s.Key.typ.Bytes)
		ae.Uint32(unix.NFTA_SET_ID, id)
		if s.Map {
			ae.Uint32(unix.NFTA_SET_DATA_TYPE, unix.NFT_DATA_VERDICT)
			ae.Uint32(unix.NFTA_SET_DATA_LEN, 0)
		}
		if flags&unix.NFT_SET_CONSTANT != 0 {
			ae.Nested(unix.NFTA_SET_DESC, func(ae *netlink.AttributeEncoder) error {
				ae.Uint32(unix.NFTA_SET_DESC_SIZE, uint32(len(s.Elements)))
				return nil
			})
		}
		ae.Bytes(unix.NFTA_SET_USERDATA, userdata.AppendUint32(nil, userdata.NFTNL_UDATA_SET_KEYBYTEORDER, order))
	})
}

func (b *batch) delSet(name string) error {
	return b.add(unix.NFT_MSG_DELSET, 0, "set "+name, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_SET_TABLE, TableName)
		ae.String(unix.NFTA_SET_NAME, name)
	})
}

// perMessage is how many elements go into one message: the list is an attribute, whose length has 16 bits.
const perMessage = 600

// elements adds or deletes elements of a set.
func (b *batch) elements(typ int, name string, id uint32, elems []wireElement) error {
	for len(elems) > 0 {
		part := elems[:min(perMessage, len(elems))]
		elems = elems[len(part):]
		flags := netlink.HeaderFlags(0)
		if typ == unix.NFT_MSG_NEWSETELEM {
			flags = netlink.Create
		}
		err := b.add(typ, flags, "elements of "+name, func(ae *netlink.AttributeEncoder) {
			ae.String(unix.NFTA_SET_ELEM_LIST_TABLE, TableName)
			ae.String(unix.NFTA_SET_ELEM_LIST_SET, name)
			if id != 0 {
				ae.Uint32(unix.NFTA_SET_ELEM_LIST_SET_ID, id)
			}
			ae.Nested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, func(ae *netlink.AttributeEncoder) error {
				for _, e := range part {
					ae.Nested(unix.NFTA_LIST_ELEM, e.encode)
				}
				return nil
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// wire are the elements as the kernel keeps them. In a set of intervals a range is two: its first value, and, marked as an end,
// the value behind its last; a range up to the highest value has no end.
func (s Set) wire() []wireElement {
	out := make([]wireElement, 0, len(s.Elements))
	for _, e := range s.Elements {
		out = append(out, wireElement{key: e.From, verdict: e.Verdict})
		if !s.Interval {
			continue
		}
		if end := after(e.last()); end != nil {
			out = append(out, wireElement{key: end, end: true})
		}
	}
	return out
}

// encode writes one element.
func (w wireElement) encode(ae *netlink.AttributeEncoder) error {
	ae.Nested(unix.NFTA_SET_ELEM_KEY, value(w.key))
	if w.end {
		ae.Uint32(unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END)
	}
	if w.verdict == (Verdict{}) {
		return nil
	}
	ae.Nested(unix.NFTA_SET_ELEM_DATA, func(ae *netlink.AttributeEncoder) error {
		ae.Nested(unix.NFTA_DATA_VERDICT, func(ae *netlink.AttributeEncoder) error {
			ae.Uint32(unix.NFTA_VERDICT_CODE, uint32(w.verdict.Kind))
			if w.verdict.Chain != "" {
				ae.String(unix.NFTA_VERDICT_CHAIN, w.verdict.Chain)
			}
			return nil
		})
		return nil
	})
	return nil
}

func value(key []byte) func(*netlink.AttributeEncoder) error {
	return func(ae *netlink.AttributeEncoder) error {
		ae.Bytes(unix.NFTA_DATA_VALUE, key)
		return nil
	}
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
	n := new(big.Int).SetBytes(v)
	n.Add(n, big.NewInt(1))
	if n.BitLen() > 8*len(v) {
		return nil
	}
	return n.FillBytes(make([]byte, len(v)))
}
