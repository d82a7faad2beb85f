// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func (c *Conn) readSets(o *Observed) error {
	filter := func(ae *netlink.AttributeEncoder) { ae.String(unix.NFTA_SET_TABLE, TableName) }
	err := c.dump(unix.NFT_MSG_GETSET, filter, func(ad *netlink.AttributeDecoder) error {
		name, s := "", &observedSet{count: -1}
		for ad.Next() {
			switch ad.Type() {
			case unix.NFTA_SET_NAME:
				name = ad.String()
			case unix.NFTA_SET_FLAGS:
				s.flags = ad.Uint32()
			case unix.NFTA_SET_KEY_TYPE:
				s.key = ad.Uint32()
			case setCount:
				s.count = int(ad.Uint32())
			}
		}
		if s.flags&unix.NFT_SET_ANONYMOUS == 0 {
			o.sets[name] = s
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("nft: list sets: %w", err)
	}
	for name, s := range o.sets {
		if _, long := o.lists[name]; long || s.count >= longList {
			continue
		}
		if err := c.readElements(name, s); err != nil {
			return fmt.Errorf("nft: list set %s: %w", name, err)
		}
	}
	return nil
}

// setCount is NFTA_SET_COUNT of linux/netfilter/nf_tables.h, which not every supported kernel sends.
const setCount = 20

func (c *Conn) readElements(name string, s *observedSet) error {
	s.elements = map[string]wireElement{}
	filter := func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_SET_ELEM_LIST_TABLE, TableName)
		ae.String(unix.NFTA_SET_ELEM_LIST_SET, name)
	}
	return c.dump(unix.NFT_MSG_GETSETELEM, filter, func(ad *netlink.AttributeDecoder) error {
		for ad.Next() {
			if ad.Type() != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
				continue
			}
			ad.Nested(func(ad *netlink.AttributeDecoder) error {
				for ad.Next() {
					w := wireElement{}
					ad.Nested(w.decode)
					s.elements[w.id()] = w
				}
				return nil
			})
		}
		return nil
	})
}

// list are the elements in the order of their ids, so that the same change is always written in the same way.
func (s *observedSet) list() []wireElement {
	out := make([]wireElement, 0, len(s.elements))
	for _, id := range sortedKeys(s.elements) {
		out = append(out, s.elements[id])
	}
	return out
}

// wireElement is an element as the kernel keeps it: a range is two of them.
type wireElement struct {
	key     []byte
	end     bool
	verdict Verdict
	comment string
}

// id tells elements of one set apart. The verdict is part of it, so that a changed verdict is a deletion and an addition,
// which is how the kernel wants it.
func (w wireElement) id() string {
	s := string(w.key)
	if w.end {
		s += " end"
	}
	if w.verdict != (Verdict{}) {
		s += " " + w.verdict.text()
	}
	if w.comment != "" {
		s += " " + w.comment
	}
	return s
}

func (w *wireElement) decode(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_SET_ELEM_KEY:
			ad.Nested(func(ad *netlink.AttributeDecoder) error {
				for ad.Next() {
					w.key = ad.Bytes()
				}
				return nil
			})
		case unix.NFTA_SET_ELEM_USERDATA:
			w.comment, _ = userdata.GetString(ad.Bytes(), userdata.TypeComment)
		case unix.NFTA_SET_ELEM_FLAGS:
			w.end = ad.Uint32()&unix.NFT_SET_ELEM_INTERVAL_END != 0
		case unix.NFTA_SET_ELEM_DATA:
			ad.Nested(func(ad *netlink.AttributeDecoder) error {
				for ad.Next() {
					ad.Nested(w.decodeVerdict)
				}
				return nil
			})
		}
	}
	return nil
}

func (w *wireElement) decodeVerdict(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_VERDICT_CODE:
			w.verdict.Kind = expr.VerdictKind(int32(ad.Uint32()))
		case unix.NFTA_VERDICT_CHAIN:
			w.verdict.Chain = ad.String()
		}
	}
	return nil
}
