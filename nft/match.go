// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"net/netip"
	"strings"

	"github.com/google/nftables/expr"
	"go4.org/netipx"
	"golang.org/x/sys/unix"
)

// equals is a comparison with one value.
type equals struct {
	selector
	value []byte
	not   bool
	label string // see Element
}

func (m equals) text() string {
	op := " "
	if m.not {
		op = " != "
	}
	return m.name + op + Element{From: m.value, Label: m.label}.show(m.key)
}

func (m equals) encode(e *encoder) {
	e.load(m.selector)
	e.add(&expr.Cmp{Op: op(m.not), Register: 1, Data: m.onWire(m.value)})
}

func (m equals) values() []Element { return []Element{{From: m.value, Label: m.label}} }

func (m inSet) values() []Element { return m.elems }

func (m dispatch) values() []Element { return m.elems }

// onWire is a value as the selector leaves it in the register. Only DSCP is shifted there.
func (s selector) onWire(value []byte) []byte {
	if s.key.typ.Name != dscp.typ.Name {
		return value
	}
	if s.family == 1 {
		return []byte{value[0] << 2}
	}
	return []byte{value[0] >> 2, value[0] << 6}
}

func op(not bool) expr.CmpOp {
	if not {
		return expr.CmpOpNeq
	}
	return expr.CmpOpEq
}

// within is a comparison with one range of values, both ends included.
type within struct {
	selector
	Element
}

func (m within) text() string { return m.name + " " + m.show(m.key) }

func (m within) encode(e *encoder) {
	e.load(m.selector)
	e.add(&expr.Range{Op: expr.CmpOpEq, Register: 1, FromData: m.From, ToData: m.To})
}

// inPrefix is a comparison with one prefix.
type inPrefix struct {
	selector
	prefix netip.Prefix
	not    bool
}

func (m inPrefix) text() string {
	op := " "
	if m.not {
		op = " != "
	}
	if m.prefix.IsSingleIP() {
		return m.name + op + m.prefix.Addr().String()
	}
	return m.name + op + m.prefix.String()
}

func (m inPrefix) encode(e *encoder) {
	e.load(m.selector)
	size := m.prefix.Addr().BitLen() / 8
	if !m.prefix.IsSingleIP() {
		mask := make([]byte, size)
		for i := range m.prefix.Bits() {
			mask[i/8] |= 0x80 >> (i % 8)
		}
		e.add(&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: uint32(size), Mask: mask, Xor: make([]byte, size)})
	}
	e.add(&expr.Cmp{Op: op(m.not), Register: 1, Data: m.prefix.Addr().AsSlice()})
}

// inSet is a look-up in a named set, or in one that belongs to the rule.
type inSet struct {
	selector
	set   string    // name; empty: the elements below
	elems []Element // sorted
	not   bool
}

func (m inSet) text() string {
	op := " "
	if m.not {
		op = " != "
	}
	if m.set != "" {
		return m.name + op + "@" + m.set
	}
	return m.name + op + braces(m.key, m.elems)
}

func (m inSet) encode(e *encoder) {
	e.load(m.selector)
	k, elems := m.key, make([]Element, len(m.elems))
	for i, el := range m.elems {
		elems[i] = Element{From: m.onWire(el.From), To: el.To}
		k.typ.Bytes = uint32(len(elems[i].From))
	}
	name, id := e.set(m.set, k, elems, false)
	e.add(&expr.Lookup{SourceRegister: 1, SetName: name, SetID: id, Invert: m.not})
}

// dispatch is a look-up in a map of verdicts, named or the rule's own.
type dispatch struct {
	selector
	set   string
	elems []Element
}

func (m dispatch) text() string {
	if m.set != "" {
		return m.name + " vmap @" + m.set
	}
	return m.name + " vmap " + braces(m.key, m.elems)
}

func (m dispatch) encode(e *encoder) {
	e.load(m.selector)
	name, id := e.set(m.set, m.key, m.elems, true)
	e.add(&expr.Lookup{SourceRegister: 1, DestRegister: 0, IsDestRegSet: true, SetName: name, SetID: id})
}

// braces are the elements of a set or map as nft writes them.
func braces(k key, elems []Element) string {
	list := make([]string, len(elems))
	for i, e := range elems {
		list[i] = e.show(k)
	}
	return "{ " + strings.Join(list, ", ") + " }"
}

// show is the element as nft writes it: a range of addresses that is a prefix is written as one.
func (e Element) show(k key) string {
	s := k.show(e.From)
	if e.Label != "" {
		s = e.Label
	}
	if e.To != nil && !bytes.Equal(e.From, e.To) {
		s += "-" + k.show(e.To)
		if a, ok := netip.AddrFromSlice(e.From); ok && (len(e.From) == 4 || len(e.From) == 16) {
			b, _ := netip.AddrFromSlice(e.To)
			if p, ok := netipx.IPRangeFrom(a, b).Prefix(); ok {
				s = p.String()
			}
		}
	}
	if e.Comment != "" {
		s += ` comment "` + e.Comment + `"`
	}
	if e.Verdict != (Verdict{}) {
		s += " : " + e.Verdict.text()
	}
	return s
}

// inState matches the states of the connection that are named.
type inState struct {
	states uint32 // bits of NF_CT_STATE_BIT
	name   string
}

// The states that rules ask for (linux/netfilter/nf_conntrack_common.h).
var (
	isNew     = inState{8, "new"}
	isOngoing = inState{2 | 4, "established,related"}

	isEstablished = inState{2, "established"}

	isNoFlow   = inState{1 | 64, "invalid,untracked"}
	familyName = [2]string{"ipv4", "ipv6"}
)

func (m inState) text() string { return "ct state " + m.name }

func (m inState) encode(e *encoder) {
	e.add(
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: host32(m.states), Xor: host32(0)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: host32(0)},
	)
}

// original matches packets in the direction of the flow's first.
type original struct{}

// isOriginal is that match (IP_CT_DIR_ORIGINAL).
var isOriginal original

func (original) text() string { return "ct direction original" }

func (original) encode(e *encoder) {
	e.add(&expr.Ct{Key: expr.CtKeyDIRECTION, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0}})
}

// withFlags matches TCP segments of which some control bits (RFC 9293) have a value.
type withFlags struct {
	mask, value byte
	name        string
}

// Segments that do not begin a connection, and those that ask for one. The bits are SYN, 2, and ACK, 16.
var (
	noSYN = withFlags{2, 0, "syn == 0x0"}
	isSYN = withFlags{2 | 16, 2, "(syn | ack) == syn"}
	// asksSYN is also the answer to it; a reset is not.
	asksSYN = withFlags{2 | 4, 2, "(syn | rst) == syn"}
)

func (m withFlags) text() string { return "tcp flags & " + m.name }

func (m withFlags) encode(e *encoder) {
	e.load(selector{l4: unix.IPPROTO_TCP, load: []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1}}})
	e.add(
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{m.mask}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{m.value}},
	)
}

// inStatus matches flows with a bit of their status.
type inStatus struct {
	bit  uint32
	name string
}

// Flows whose source, or destination, somebody translates: IPS_SRC_NAT and IPS_DST_NAT of linux/netfilter/nf_conntrack_common.h.
var (
	isTranslated = inStatus{1 << 4, "snat"}
	isForwarded  = inStatus{1 << 5, "dnat"}
)

func (m inStatus) text() string { return "ct status " + m.name }

func (m inStatus) encode(e *encoder) {
	e.add(
		&expr.Ct{Key: expr.CtKeySTATUS, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: host32(m.bit), Xor: host32(0)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: host32(0)},
	)
}

// ofOutput matches packets whose source is an address of the interface that they leave by.
type ofOutput struct{}

func (ofOutput) text() string { return "fib saddr . oif type local" }

func (ofOutput) encode(e *encoder) {
	e.add(
		&expr.Fib{Register: 1, FlagSADDR: true, FlagOIF: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: host32(unix.RTN_LOCAL)},
	)
}

// ofFamily matches packets of one address family (0: IPv4, 1: IPv6).
type ofFamily int

func (m ofFamily) text() string      { return "meta nfproto " + familyName[m] }
func (m ofFamily) encode(e *encoder) { e.needFamily(1 + int(m)) }

// ofType asks the kernel's local table what an address is.
type ofType struct {
	side int
	typ  uint32 // RTN_LOCAL or RTN_UNICAST
}

func (m ofType) text() string {
	return "fib " + [2]string{"saddr", "daddr"}[m.side] + " type " + map[uint32]string{unix.RTN_LOCAL: "local", unix.RTN_UNICAST: "unicast"}[m.typ]
}

func (m ofType) encode(e *encoder) {
	e.add(
		&expr.Fib{Register: 1, FlagSADDR: m.side == source, FlagDADDR: m.side == destination, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: host32(m.typ)},
	)
}
