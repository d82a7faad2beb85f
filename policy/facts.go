// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"net/netip"

	"go4.org/netipx"
)

// Facts are what was observed on the host.
type Facts struct {
	Interfaces []Interface
	Routes     []Route // unicast routes of the main table, default routes included
	// Marks are the fwmarks in ip rules of other programs; partial masks only.
	Marks []MaskedMark
	// Numbers are those of links that the kernel's table knows at the moment, by name.
	Numbers map[string]uint8
	// Leases are what DHCP clients have, and what hooks told; those that have ended are not among them.
	Leases []Lease
	// Standings are the verdicts of probing, by link and Family. A link that is not there is not probed.
	Standings map[string][2]Standing
	// NoFlowtable says that the kernel has no flowtables. It is asked only when the policy wants one.
	NoFlowtable bool
	// Drained are the links that a person has taken out of use.
	Drained map[string]Drain
}

// Drain is a person's wish that a link gets no new flows.
type Drain struct {
	Why string // since when
	Now bool   // and loses those that it has
}

// Lease is what a DHCP client got for an interface.
type Lease struct {
	Interface string
	Address   netip.Addr   // zero: not said
	Gateways  []netip.Addr // the best first
	Source    string       // which client, and where it says so
}

// Interface is a network interface with its addresses.
type Interface struct {
	Name         string
	Index        int
	Up           bool // administratively
	Carrier      bool
	PointToPoint bool
	MTU          int // bytes, 0: not known
	Addresses    []Address
}

// Address is an address of an interface.
type Address struct {
	Prefix netip.Prefix // the address and the length of its network
	Peer   netip.Addr   // far end of a point-to-point interface, if it has one
	Link   bool         // link-local scope: no traffic to the internet can use it
	Fading bool         // deprecated, temporary or tentative: not to be chosen as a source
}

// Route is a unicast route of the main table.
type Route struct {
	Dest      netip.Prefix
	Gateway   netip.Addr // zero: directly connected
	Interface string
	Metric    uint32
	Source    netip.Addr // preferred source, zero: none
	Left      bool       // made by a command (RTPROT_BOOT) and left alone since: nobody keeps it up to date
}

// InterfaceNamed returns the interface of that name, and false when the host has none.
func (f Facts) InterfaceNamed(name string) (Interface, bool) {
	for _, i := range f.Interfaces {
		if i.Name == name {
			return i, true
		}
	}
	return Interface{}, false
}

// Has tells whether any interface has an address.
func (f Facts) Has(a netip.Addr) bool {
	for _, i := range f.Interfaces {
		if i.has(a) {
			return true
		}
	}
	return false
}

// networks are the networks of the interface's global addresses in the order of the addresses, each once.
func (i Interface) networks() []netip.Prefix {
	var nets []netip.Prefix
	seen := map[netip.Prefix]bool{}
	for _, a := range i.Addresses {
		if n := a.Prefix.Masked(); !a.Link && !seen[n] {
			seen[n] = true
			nets = append(nets, n)
		}
	}
	return nets
}

// cannotBe tells whether an address cannot be that of another host on the interface: it is the interface's own, or the first or
// last of one of its IPv4 networks, which are the network's and the broadcast address (RFC 1122, but not in a /31, RFC 3021).
func (i Interface) cannotBe(gateway netip.Addr) bool {
	for _, a := range i.Addresses {
		if a.Prefix.Addr() == gateway {
			return true
		}
		if p := a.Prefix; p.Addr().Is4() && p.Bits() < 31 && p.Contains(gateway) {
			r := netipx.RangeOfPrefix(p.Masked())
			if gateway == r.From() || gateway == r.To() {
				return true
			}
		}
	}
	return false
}

// source chooses the address that new flows of a family leave with: the first that is not fading, preferably one whose
// network holds the gateway. A fading address is better than none.
func (i Interface) source(f Family, gateway netip.Addr) (Address, bool) {
	best, found := Address{}, 0
	for _, a := range i.Addresses {
		if a.Link || FamilyOf(a.Prefix.Addr()) != f {
			continue
		}
		grade := 1
		if !a.Fading {
			grade += 2
		}
		if gateway.IsValid() && (a.Prefix.Contains(gateway) || a.Peer == gateway) {
			grade++
		}
		if grade > found {
			best, found = a, grade
		}
	}
	return best, found > 0
}
