// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// encoder collects the expressions of one rule. It adds what nft would add by itself: before an address the test of the
// family, before a port that of the protocol, each once in a rule. Without them the kernel would read other bytes, and the
// listing would differ from that of the text form.
type encoder struct {
	batch  *batch
	exprs  []expr.Any
	family int // 1 + the family that was tested for, 0: none
	l4     uint8
}

func (e *encoder) add(x ...expr.Any) { e.exprs = append(e.exprs, x...) }

// load puts what a selector looks at into register 1.
func (e *encoder) load(s selector) {
	if s.family != 0 {
		e.needFamily(s.family)
	}
	if s.l4 != 0 && s.l4 != e.l4 {
		e.l4 = s.l4
		e.add(l4proto.load...)
		e.add(&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{s.l4}})
	}
	if s.ether {
		e.add(&expr.Meta{Key: expr.MetaKeyIIFTYPE, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: host16(unix.ARPHRD_ETHER)})
	}
	e.add(s.load...)
}

func (e *encoder) needFamily(family int) {
	if e.family == family {
		return
	}
	e.family = family
	e.add(
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{[2]byte{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6}[family-1]}},
	)
}

// set returns how a look-up refers to a set: by name, or, for the rule's own elements, by the number of a set that is added
// to the batch first.
func (e *encoder) set(name string, k key, elems []Element, isMap bool) (string, uint32) {
	if name != "" {
		return name, e.batch.setID(name)
	}
	s := Set{Key: k, Map: isMap, Elements: elems}
	for _, el := range elems {
		s.Interval = s.Interval || el.To != nil
	}
	return anonymous[isMap], e.batch.addAnonymous(s)
}

// anonymous are the names under which the kernel numbers sets that belong to a rule.
var anonymous = map[bool]string{false: "__set%d", true: "__map%d"}
