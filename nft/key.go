// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// key is a type of values: of set keys and of what selectors load.
type key struct {
	typ    datatype
	host   bool                // the value is in the machine's byte order, not in that of the network
	show   func([]byte) string // as nft writes it
	fields []uint32            // sizes of the parts of a concatenation
}

var (
	ifname  = key{typ: typeName, host: true, show: func(b []byte) string { return strconv.Quote(ifnameOf(b)) }}
	ifindex = key{typ: typeIndex, host: true, show: func(b []byte) string { return fmt.Sprint(binary.NativeEndian.Uint32(b)) }}
	mark    = key{typ: typeMark, host: true, show: func(b []byte) string { return fmt.Sprintf("0x%08x", binary.NativeEndian.Uint32(b)) }}
	integer = key{typ: typeInteger, host: true, show: func(b []byte) string { return fmt.Sprint(binary.NativeEndian.Uint32(b)) }}
	ipv4    = key{typ: typeIPv4, host: false, show: showAddr}
	ipv6    = key{typ: typeIPv6, host: false, show: showAddr}
	user    = key{typ: typeUID, host: true, show: func(b []byte) string { return fmt.Sprint(binary.NativeEndian.Uint32(b)) }}
	ether   = key{typ: typeEther, host: false, show: func(b []byte) string { return net.HardwareAddr(b).String() }}
	port    = key{typ: typeService, host: false, show: func(b []byte) string { return fmt.Sprint(binary.BigEndian.Uint16(b)) }}
	proto   = key{typ: typeProto, host: false, show: func(b []byte) string { return showProto(b[0]) }}
	dscp    = key{typ: typeDSCP, host: false, show: func(b []byte) string { return fmt.Sprintf("0x%02x", b[0]) }}
)

// ifnameAndMark is a concatenation.
var ifnameAndMark = key{
	typ: typeNameMark, host: true, fields: []uint32{unix.IFNAMSIZ, 4},
	show: func(b []byte) string { return ifname.show(b[:unix.IFNAMSIZ]) + " . " + mark.show(b[unix.IFNAMSIZ:]) },
}

// ifindexAndMark is its short form: eight bytes are found faster than twenty.
var ifindexAndMark = key{
	typ: typeIndexMark, host: true, fields: []uint32{4, 4},
	show: func(b []byte) string { return ifindex.show(b[:4]) + " . " + mark.show(b[4:]) },
}

// keyOf is the key type of an address family: 0 for IPv4, 1 for IPv6.
func keyOf(family int) key { return [2]key{ipv4, ipv6}[family] }

func showAddr(b []byte) string {
	a, _ := netip.AddrFromSlice(b)
	return a.String()
}

// showProto is the name that nft lists a protocol by, or its number.
func showProto(p byte) string {
	switch p {
	case unix.IPPROTO_TCP:
		return "tcp"
	case unix.IPPROTO_UDP:
		return "udp"
	case unix.IPPROTO_ICMP:
		return "icmp"
	case unix.IPPROTO_ICMPV6:
		return "ipv6-icmp"
	case unix.IPPROTO_SCTP:
		return "sctp"
	case unix.IPPROTO_DCCP:
		return "dccp"
	case unix.IPPROTO_UDPLITE:
		return "udplite"
	case unix.IPPROTO_ESP:
		return "esp"
	case unix.IPPROTO_AH:
		return "ah"
	}
	return fmt.Sprint(p)
}

// ifnameBytes is a name padded to IFNAMSIZ; a shorter value would match every name that begins with it.
func ifnameBytes(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

func ifnameOf(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

func host16(v uint16) []byte { return binary.NativeEndian.AppendUint16(nil, v) }
func host32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
func net16(v uint16) []byte  { return binary.BigEndian.AppendUint16(nil, v) }
