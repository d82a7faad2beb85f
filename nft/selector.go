// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// selector is something of a packet that a match can look at.
type selector struct {
	name   string // in nft's syntax
	key    key
	load   []expr.Any // leaves the value in register 1
	family int        // 1 + the address family that the packet must have, 0: any
	l4     uint8      // the protocol that the packet must have, 0: any
	ether  bool       // it must have come in an Ethernet frame
}

var (
	iifname       = selector{name: "iifname", key: ifname, load: []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}}}
	oifname       = selector{name: "oifname", key: ifname, load: []expr.Any{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}}}
	skuid         = selector{name: "meta skuid", key: user, load: []expr.Any{&expr.Meta{Key: expr.MetaKeySKUID, Register: 1}}}
	etherSaddr    = selector{name: "ether saddr", key: ether, ether: true, load: []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseLLHeader, Offset: 6, Len: 6}}}
	l4proto       = selector{name: "meta l4proto", key: proto, load: []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}}}
	iif           = selector{name: "iif", key: ifindex, load: []expr.Any{&expr.Meta{Key: expr.MetaKeyIIF, Register: 1}}}
	oif           = selector{name: "oif", key: ifindex, load: []expr.Any{&expr.Meta{Key: expr.MetaKeyOIF, Register: 1}}}
	fibDaddrOIF   = selector{name: "fib daddr oif", key: ifindex, load: []expr.Any{&expr.Fib{Register: 1, FlagDADDR: true, ResultOIF: true}}}
	fibDaddrName  = selector{name: "fib daddr oifname", key: ifname, load: []expr.Any{&expr.Fib{Register: 1, FlagDADDR: true, ResultOIFNAME: true}}}
	fibSaddrName  = selector{name: "fib saddr oifname", key: ifname, load: []expr.Any{&expr.Fib{Register: 1, FlagSADDR: true, ResultOIFNAME: true}}}
	transportPort = [2]int{0, 2} // offsets of source and destination port in the headers of all protocols that have them
)

// marked is the packet's or the connection's mark under a mask.
func marked(ct bool, mask uint32) selector {
	s := selector{name: "meta mark", key: mark, load: []expr.Any{&expr.Meta{Key: expr.MetaKeyMARK, Register: 1}}}
	if ct {
		s = selector{name: "ct mark", key: mark, load: []expr.Any{&expr.Ct{Key: expr.CtKeyMARK, Register: 1}}}
	}
	if mask != 1<<32-1 {
		s.name += fmt.Sprintf(" & 0x%08x", mask)
		s.load = append(s.load, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: host32(mask), Xor: host32(0)})
	}
	return s
}

// leaving is the interface that a packet leaves by and, after it, the mark of its flow under a mask. The first value takes all
// of the 16 bytes of register 1, so the second goes to register 2.
func leaving(mask uint32) selector {
	return selector{
		name: fmt.Sprintf("oifname . ct mark & 0x%08x", mask), key: ifnameAndMark,
		load: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
			&expr.Ct{Key: expr.CtKeyMARK, Register: 2},
			&expr.Bitwise{SourceRegister: 2, DestRegister: 2, Len: 4, Mask: host32(mask), Xor: host32(0)},
		},
	}
}

// leavingByNumber is the same with the interface's number.
func leavingByNumber(mask uint32) selector {
	s := leaving(mask)
	s.name, s.key = strings.Replace(s.name, "oifname", "oif", 1), ifindexAndMark
	s.load = append([]expr.Any{&expr.Meta{Key: expr.MetaKeyOIF, Register: reg32}},
		&expr.Ct{Key: expr.CtKeyMARK, Register: reg32 + 1},
		&expr.Bitwise{SourceRegister: reg32 + 1, DestRegister: reg32 + 1, Len: 4, Mask: host32(mask), Xor: host32(0)})
	return s
}

// reg32 is the first of the registers of four bytes (NFT_REG32_00); the first four are register 1.
const reg32 = unix.NFT_REG32_00

// Which side of a packet a selector looks at.
const (
	source = iota
	destination
)

// address is the source or destination address of a family (0: IPv4, 1: IPv6).
func address(side, family int) selector {
	name := [2][2]string{{"ip saddr", "ip daddr"}, {"ip6 saddr", "ip6 daddr"}}[family][side]
	offset := [2][2]uint32{{12, 16}, {8, 24}}[family][side] // RFC 791, RFC 8200
	k := keyOf(family)
	return selector{name: name, key: k, family: 1 + family, load: []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: k.typ.Bytes},
	}}
}

// networkOf is the network of an address, of that length in bits.
func networkOf(side, family, length int) selector {
	s := address(side, family)
	size := int(s.key.typ.Bytes)
	if length == size*8 {
		return s
	}
	mask := make([]byte, size)
	for i := range length {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	s.name += " & " + s.key.show(mask)
	s.load = append(s.load, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: uint32(size), Mask: mask, Xor: make([]byte, size)})
	return s
}

// portOf is the source or destination port. With a single protocol nft names it after the protocol, otherwise "th".
func portOf(side int, protocol uint8) selector {
	name := "th"
	if protocol != 0 {
		name = showProto(protocol)
	}
	return selector{
		name: name + " " + [2]string{"sport", "dport"}[side], key: port, l4: protocol,
		load: []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: uint32(transportPort[side]), Len: 2}},
	}
}

// dscpOf is the differentiated services code point. In IPv6 its six bits straddle the first two bytes.
func dscpOf(family int) selector {
	if family == 0 {
		return selector{name: "ip dscp", key: dscp, family: 1, load: []expr.Any{
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 1, Len: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{0xfc}, Xor: []byte{0}},
		}}
	}
	return selector{name: "ip6 dscp", key: dscp, family: 2, load: []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 0, Len: 2},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 2, Mask: []byte{0x0f, 0xc0}, Xor: []byte{0, 0}},
	}}
}

// seed makes hashes the same on every router, and after every change.
const seed = 0x656e6c61

// hashOfSource divides flows over buckets by who sends them, and hashOfPair also by whom they go to.
func hashOfSource(family, buckets int) selector {
	s := address(source, family)
	s.name = fmt.Sprintf("jhash %s mod %d seed 0x%x", s.name, buckets, seed)
	s.load = append(s.load, &expr.Hash{SourceRegister: 1, DestRegister: 1, Length: s.key.typ.Bytes, Modulus: uint32(buckets), Seed: seed, Type: expr.HashTypeJenkins})
	s.key = integer
	return s
}

func hashOfPair(family, buckets int) selector {
	from, to := address(source, family), address(destination, family)
	size := from.key.typ.Bytes
	load := []expr.Any{
		&expr.Payload{DestRegister: reg32, Base: expr.PayloadBaseNetworkHeader, Offset: [2]uint32{12, 8}[family], Len: size},
		&expr.Payload{DestRegister: reg32 + size/4, Base: expr.PayloadBaseNetworkHeader, Offset: [2]uint32{16, 24}[family], Len: size},
		&expr.Hash{SourceRegister: reg32, DestRegister: 1, Length: 2 * size, Modulus: uint32(buckets), Seed: seed, Type: expr.HashTypeJenkins},
	}
	return selector{name: fmt.Sprintf("jhash %s . %s mod %d seed 0x%x", from.name, to.name, buckets, seed), key: integer, family: 1 + family, load: load}
}

// slot counts packets round and round: 0, 1, ... n-1, 0, ...
func slot(n int) selector {
	return selector{name: fmt.Sprintf("numgen inc mod %d", n), key: integer, load: []expr.Any{
		&expr.Numgen{Register: 1, Modulus: uint32(n), Type: unix.NFT_NG_INCREMENTAL},
	}}
}
