// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Statement is a part of a rule in both forms.
type Statement interface {
	text() string
	encode(*encoder)
}

// counter counts packets and bytes.
type counter struct{}

func (counter) text() string      { return "counter" }
func (counter) encode(e *encoder) { e.add(&expr.Counter{}) }

// Verdict ends the walk through a chain: accept, drop, or goto another chain; after a jump it goes on. The zero Verdict is none.
type Verdict struct {
	Kind  expr.VerdictKind
	Chain string
}

var (
	leave  = Verdict{Kind: expr.VerdictReturn}
	accept = Verdict{Kind: expr.VerdictAccept}
	drop   = Verdict{Kind: expr.VerdictDrop}
)

func goTo(chain string) Verdict   { return Verdict{expr.VerdictGoto, chain} }
func jumpTo(chain string) Verdict { return Verdict{expr.VerdictJump, chain} }

func (v Verdict) text() string {
	switch v.Kind {
	case expr.VerdictAccept:
		return "accept"
	case expr.VerdictDrop:
		return "drop"
	case expr.VerdictReturn:
		return "return"
	case expr.VerdictJump:
		return "jump " + v.Chain
	}
	return "goto " + v.Chain
}

func (v Verdict) encode(e *encoder) { e.add(&expr.Verdict{Kind: v.Kind, Chain: v.Chain}) }

// setMark writes our bits of the packet's mark and leaves the others alone. It is done with constants, because an "or" of two
// registers needs Linux 6.13; so every target has a small chain of its own.
type setMark struct {
	value, mask uint32
	ct          bool // the connection's mark, not the packet's
}

func (s setMark) text() string {
	what := "meta mark"
	if s.ct {
		what = "ct mark"
	}
	if s.value == 0 {
		return fmt.Sprintf("%s set %s & 0x%08x", what, what, ^s.mask)
	}
	return fmt.Sprintf("%s set %s & 0x%08x | 0x%08x", what, what, ^s.mask, s.value)
}

func (s setMark) encode(e *encoder) {
	bitwise := &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: host32(^s.mask), Xor: host32(s.value)}
	if s.ct {
		e.add(&expr.Ct{Key: expr.CtKeyMARK, Register: 1}, bitwise, &expr.Ct{Key: expr.CtKeyMARK, Register: 1, SourceRegister: true})
		return
	}
	e.add(&expr.Meta{Key: expr.MetaKeyMARK, Register: 1}, bitwise, &expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true})
}

// masquerade gives a flow the address of the interface that it leaves by.
type masquerade struct{}

func (masquerade) text() string      { return "masquerade" }
func (masquerade) encode(e *encoder) { e.add(&expr.Masq{}) }

// snat gives a flow a fixed address.
type snat struct{ to netip.Addr }

func (s snat) text() string {
	if s.to.Is4() {
		return "snat ip to " + s.to.String()
	}
	return "snat ip6 to " + s.to.String()
}

func (s snat) encode(e *encoder) {
	e.add(&expr.Immediate{Register: 1, Data: s.to.AsSlice()}, &expr.NAT{Type: expr.NATTypeSourceNAT, Family: nfFamily(s.to), RegAddrMin: 1})
}

func nfFamily(a netip.Addr) uint32 {
	if a.Is6() {
		return unix.NFPROTO_IPV6
	}
	return unix.NFPROTO_IPV4
}

// dnat sends a flow to another host, with port 0 to the port that it was addressed to.
type dnat struct{ to netip.AddrPort }

func (d dnat) text() string {
	to := d.to.String()
	if d.to.Port() == 0 {
		to = d.to.Addr().String()
	}
	if d.to.Addr().Is4() {
		return "dnat ip to " + to
	}
	return "dnat ip6 to " + to
}

func (d dnat) encode(e *encoder) {
	family := nfFamily(d.to.Addr())
	if d.to.Port() == 0 {
		e.add(&expr.Immediate{Register: 1, Data: d.to.Addr().AsSlice()}, &expr.NAT{Type: expr.NATTypeDestNAT, Family: family, RegAddrMin: 1})
		return
	}
	e.add(
		&expr.Immediate{Register: 1, Data: d.to.Addr().AsSlice()},
		&expr.Immediate{Register: 2, Data: binaryutil.BigEndian.PutUint16(d.to.Port())},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: family, RegAddrMin: 1, RegProtoMin: 2, Specified: true},
	)
}

// redirect sends a flow to a port of this host.
type redirect struct{ port uint16 }

func (r redirect) text() string { return fmt.Sprintf("redirect to :%d", r.port) }

func (r redirect) encode(e *encoder) {
	e.add(&expr.Immediate{Register: 1, Data: net16(r.port)}, &expr.Redir{RegisterProtoMin: 1})
}

// reject answers that there is no way: a reset for TCP, an ICMP error for the rest.
type reject struct{ tcp bool }

func (r reject) text() string {
	if r.tcp {
		return "reject with tcp reset"
	}
	return "reject with icmpx admin-prohibited"
}

func (r reject) encode(e *encoder) {
	if r.tcp {
		e.add(&expr.Reject{Type: unix.NFT_REJECT_TCP_RST})
		return
	}
	e.add(&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED})
}
