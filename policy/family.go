// SPDX-License-Identifier: Apache-2.0

package policy

import "net/netip"

// Family is an address family. Its values index arrays of two.
type Family uint8

// The two families.
const (
	V4 Family = iota
	V6
)

// Families lists both, for loops.
var Families = [2]Family{V4, V6}

// FamilyOf is the family of an address. An IPv4-mapped IPv6 address counts as IPv6; the language unmaps what it reads.
func FamilyOf(a netip.Addr) Family {
	if a.Is4() {
		return V4
	}
	return V6
}

// String is "ipv4" or "ipv6".
func (f Family) String() string {
	if f == V4 {
		return "ipv4"
	}
	return "ipv6"
}

// Default is the prefix of length zero: 0.0.0.0/0 or ::/0.
func (f Family) Default() netip.Prefix {
	if f == V4 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// Bits is the length of an address: 32 or 128.
func (f Family) Bits() int {
	if f == V4 {
		return 32
	}
	return 128
}
