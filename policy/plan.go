// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"net/netip"
	"sort"

	"go4.org/netipx"
)

// Plan is what the kernel should hold, in the policy's terms: packages nft and rtnl turn it into a table, and into routes
// and rules. Everything is resolved: no names to look up, no choice left.
type Plan struct {
	Settings Settings
	Links    []PlannedLink
	Groups   []PlannedGroup
	Rules    []PlannedRule
	Forwards []PlannedForward
	// Redirects send flows to the router itself: they use no link.
	Redirects []PlannedRedirect
	// Default is where flows go that no rule takes, by Family.
	Default    [2]Verdict
	DefaultPos Pos
	// Active says in which families any link can carry traffic. Nothing is set up in the others.
	Active [2]bool
	// Inside are the interfaces of the lan blocks, in order, each once.
	Inside []Device
}

// Device is an interface by name, and by number while it is there.
type Device struct {
	Name  string
	Index int // 0 when it is absent
}

// State is the condition of a link as far as it can be seen without probing.
type State string

// The states. A link is Incomplete when its interface is fine, but an address or a gateway is missing in every family.
const (
	Absent     State = "absent"
	Down       State = "down"
	Incomplete State = "incomplete"
	Up         State = "up"
)

// PlannedLink is a link with its numbers and paths.
type PlannedLink struct {
	Name       string
	Interface  string
	Number     uint8
	Mark       uint32 // the number in its place within the mark mask
	Table      uint32
	State      State
	Masquerade bool
	Paths      [2]*Path     // by Family; nil where the link cannot carry that family
	Networks   [2][]Route   // what main reaches specifically through the interface, connected networks first; with or without a path
	Addresses  []netip.Addr // every global address of the interface: what answers from it leaves through this link
	Index      int          // of the interface, 0 when it is absent
	Pos        Pos
}

// Path is a link's way to the internet in one family.
type Path struct {
	Address netip.Addr
	Gateway netip.Addr // zero: the interface is point-to-point and needs none
	OnLink  bool       // the gateway is not in any network of the interface
	Learned string     // where the gateway is known from
}

// String is the path for a log: the address, and by which gateway.
func (p *Path) String() string {
	switch {
	case p == nil:
		return "none"
	case !p.Gateway.IsValid():
		return p.Address.String()
	}
	return p.Address.String() + " via " + p.Gateway.String()
}

// PlannedGroup is a group with its live members.
type PlannedGroup struct {
	Name   string
	Number uint8 // 0: needs none
	Mark   uint32
	Table  uint32
	By     Balance
	Live   [2][]Share // by Family
	Pos    Pos
}

// Share is a live link's part of a group.
type Share struct {
	Link   int // index into Plan.Links
	Weight int
}

// Verdict is a resolved Target.
type Verdict struct {
	Kind  TargetKind // ToLink, ToGroup, ToMain, ToReject or ToDrop
	Index int        // into Plan.Links or Plan.Groups
}

// PlannedRule is a rule with the addresses of the moment.
type PlannedRule struct {
	Name  string
	Match Match // everything but addresses
	Sides
	Via [2]Verdict // by Family
	Pos Pos
}

// Sides are the addresses that a rule matches at both ends of a flow, and those that it does not.
type Sides struct {
	From, To       Addresses
	NotFrom, NotTo Addresses
}

// In tells whether anything can match in that family: a LAN without an address cannot.
func (s Sides) In(f Family) bool { return s.From.Takes(f) && s.To.Takes(f) }

// Open tells whether no address is asked for, of either family.
func (s Sides) Open() bool {
	return s.From.Any && s.To.Any && len(s.NotFrom.Ranges) == 0 && len(s.NotTo.Ranges) == 0
}

// PlannedRedirect is a redirect with the addresses of the moment.
type PlannedRedirect struct {
	Name  string
	Match Match // everything but addresses
	Sides
	ToPort uint16
	Pos    Pos
}

// Addresses are the addresses that one side of a rule matches.
type Addresses struct {
	Any    bool   // nothing was asked: every address of either family
	Name   string // of the set or lan that these are, when it is exactly one; several rules then share it
	Ranges []netipx.IPRange
}

// In are the ranges of one family, in order.
func (a Addresses) In(f Family) []netipx.IPRange {
	v6 := sort.Search(len(a.Ranges), func(i int) bool { return a.Ranges[i].From().Is6() }) // IPv4 comes first
	if f == V4 {
		return a.Ranges[:v6]
	}
	return a.Ranges[v6:]
}

// Takes tells whether the side can match in that family at all: a LAN without an address cannot.
func (a Addresses) Takes(f Family) bool {
	return a.Any || len(a.In(f)) > 0
}

// PlannedForward is a forward whose link exists.
type PlannedForward struct {
	Forward
	Interface string // of the link
}
