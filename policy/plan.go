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
	// abroad: flows that fail back are on links that they will leave, by Family.
	abroad [2]bool
	// Active says in which families any link can carry traffic. Nothing is set up in the others.
	Active [2]bool
	// Inside are the interfaces of the lan blocks, in order, each once.
	Inside []Device
	// Flowtable is where established flows bypass the hooks, nil where they do not.
	Flowtable *Flowtable
}

// Device is an interface by name, and by number while it is there.
type Device struct {
	Name  string
	Index int // 0 when it is absent
}

// State is the condition of a link.
type State string

// The states. A link is Incomplete when its interface is fine, but an address or a gateway is missing in every family.
const (
	Absent     State = "absent"     // there is no such interface
	Down       State = "down"       // switched off, no carrier, or its targets do not answer
	Incomplete State = "incomplete" // waiting for an address or a gateway
	Unproved   State = "unproved"   // used, though no target has answered yet
	Up         State = "up"
	Degraded   State = "degraded" // loses much, or is slow: used when no other is up
	Holding    State = "holding"  // answers again after a failure, and is not trusted yet: used when nothing better is left
	Drained    State = "drained"  // taken out of use by a person: gets no new flows
)

// fitness orders states by how gladly a link in them is used: from useful on it counts as working.
func (s State) fitness() int {
	switch s {
	case Up, Unproved:
		return 4
	case Degraded:
		return useful
	case Holding:
		return 2
	case Down, Drained: // and yet there is a way through it: better than nothing
		return 1
	}
	return 0
}

const useful = 3

// PlannedLink is a link with its numbers and paths.
type PlannedLink struct {
	Name       string
	Interface  string
	Number     uint8
	Mark       uint32          // the number in its place within the mark mask
	Marks      [Tenures]uint32 // of its flows, by how they hold on to it; 0 where the policy has no such flows. The first is Mark
	Table      uint32
	State      State
	Masquerade bool
	SNAT       [2]netip.Addr // by Family: address that flows leave with instead of the path's
	Dead       [2]bool       // by Family: it carries nothing, and its flows leave it
	States     [2]State      // by Family; empty where there is no path
	Paths      [2]*Path      // by Family; nil where the link cannot carry that family
	Networks   [2][]Route    // what main reaches specifically through the interface, connected networks first; with or without a path
	Segment    [2]int        // by Family: the longest TCP segment, 0: no limit
	Bypasses   bool          // its established flows are in the flowtable
	Addresses  []netip.Addr  // every global address of the interface: what answers from it leaves through this link
	Index      int           // of the interface, 0 when it is absent
	Pos        Pos
}

// Lost tells whether the link is dead in a family that it had: one that works in the other and never had this one is not lost.
func (l PlannedLink) Lost(f Family) bool {
	return l.Dead[f] && (l.Paths[f] != nil || l.State.fitness() < useful)
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
	Flows  Flows
	Live   [2][]Share // by Family: members that are used
	// Buckets are who carries what a hash divides, by Family.
	Buckets [2][]Bucket
	// Away: no member of the first tier works, by Family.
	Away [2]bool
	// Desperate: no member works; those that are used are better than nothing, by Family.
	Desperate [2]bool
	Pos       Pos
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
	Flows Flows      // of ToLink and ToGroup: never FlowsUnsaid
	Away  bool       // flows that fail back are not where they belong
}

// Tenure is how a flow holds on to its link. It is part of the flow's mark.
type Tenure uint8

const (
	// Ordinary flows leave a link that dies.
	Ordinary Tenure = iota
	// Steady flows stay.
	Steady
	// Guest flows leave it too, and also when the link works again on which they should be.
	Guest
	// Tenures is how many there are.
	Tenures
)

// Tenure is that of flows with a verdict, given whether a group has them on another link than they should have.
func (v Verdict) Tenure(displaced bool) Tenure {
	switch {
	case v.Flows == Keep:
		return Steady
	case v.Flows == Failback && (v.Away || displaced):
		return Guest
	}
	return Ordinary
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
	From Addresses
	Via  []int // links, into Plan.Links
}
