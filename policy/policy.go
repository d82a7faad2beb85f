// SPDX-License-Identifier: Apache-2.0

// Package policy holds what a router with several internet links should do, and derives from it, and from what was observed
// on the host, what the kernel should hold.
//
// The package is pure: values in, values out. It knows no netlink, no files, no processes and no clock, so every decision
// that enlace takes can be written down as a table test.
package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"
)

// Policy is a checked policy: names are unique, references are resolved to names that exist, numbers are in range.
// Package policy/lang makes one out of a file; nothing else should.
type Policy struct {
	Settings Settings
	LANs     []LAN
	Links    []Link
	Groups   []Group
	Sets     []Set
	Rules    []Rule // in the order in which they are tried
	Forwards []Forward
	// Redirects are tried in order too.
	Redirects []Redirect
	Default   Target // Kind None: whatever no rule takes is left to the main table
	// DefaultPos is where the default block stands.
	DefaultPos Pos
	// DefaultFlows is what becomes of the flows of the default block.
	DefaultFlows Flows
}

// Pos is a place in a policy file. The base name of the file is kept, because it ends in comments of nftables rules.
type Pos struct {
	File string
	Line int
}

// String is the place as compilers write it: "office.hcl:12".
func (p Pos) String() string {
	if p.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Settings are the numbers that enlace uses in name spaces it shares with other programs, and what it may change in sysctl.
type Settings struct {
	MarkMask     uint32 // bits of packet and connection marks that are ours
	RulePriority uint32 // first of the 100 ip rule priorities that are ours
	TableBase    uint32 // tables that the policy does not number get TableBase + the link's number
	Protocol     uint8  // rtnetlink owner tag of our routes and rules (rtm_protocol, FRA_PROTOCOL)
	Forwarding   bool   // enlace may switch forwarding on
	RPFilter     bool   // enlace may switch the kernel's reverse path filter off (its own spoof check replaces it)
	OnChange     string // program that is run when a link without one of its own changes, empty: none
}

// DefaultSettings are the settings of a policy that has no settings block.
func DefaultSettings() Settings {
	return Settings{
		MarkMask:     0xff000000,
		RulePriority: 1000,
		TableBase:    1000,
		Protocol:     225,
		Forwarding:   true,
		RPFilter:     true,
	}
}

// RulePriorities is how many ip rule priorities, from Settings.RulePriority on, belong to enlace.
const RulePriorities = 100

// LAN is an inside network.
type LAN struct {
	Name      string
	Interface string
	Networks  []netip.Prefix // empty: the networks of the interface's own addresses
	Pos       Pos
}

// Link is one internet uplink.
type Link struct {
	Name       string
	Interface  string
	Gateway    [2]netip.Addr // by Family; the zero Addr means "learn it"
	Table      uint32        // 0: assigned
	Mark       uint8         // number of the link, 0: assigned
	Masquerade bool
	SNAT       [2]netip.Addr // by Family: the address that flows leave with instead of the interface's; the zero Addr means none
	Health     Health
	OnChange   string // program that is run when the link's state or addresses change, empty: none
	Clamp      Clamp
	Flowtable  bool // established flows bypass the hooks, where the kernel can do that
	Pos        Pos
}

// LinkNamed returns a link.
func (p Policy) LinkNamed(name string) (Link, error) {
	var names []string
	for _, l := range p.Links {
		if l.Name == name {
			return l, nil
		}
		names = append(names, l.Name)
	}
	return Link{}, fmt.Errorf("the policy has no link %q; its links are %s", name, strings.Join(names, ", "))
}

// Group is a set of links with weights.
type Group struct {
	Name    string
	Table   uint32 // 0: assigned
	Mark    uint8  // 0: assigned if the group needs one
	By      Balance
	Flows   Flows
	Members []Member
	Pos     Pos
}

// Member is a link's part in a group.
type Member struct {
	Link   string
	Weight int // 1..256, as in a multipath route (rtnh_hops is 8 bits, weight - 1)
	Tier   int // from 1 on: members of a tier are used when none of the tiers before it works
}

// TargetKind says what a Target is.
type TargetKind uint8

// The kinds of targets. ToMain leaves a flow to the main table, ToDefault sends it where the default block says.
const (
	None TargetKind = iota
	ToLink
	ToGroup
	ToMain
	ToDefault
	ToReject
	ToDrop
)

// Target is where a rule sends flows.
type Target struct {
	Kind TargetKind
	Name string // of the link or group
}

// String is the target as the policy language writes it.
func (t Target) String() string {
	switch t.Kind {
	case ToLink:
		return "link." + t.Name
	case ToGroup:
		return "group." + t.Name
	case ToMain:
		return "main"
	case ToDefault:
		return "default"
	case ToReject:
		return "reject"
	case ToDrop:
		return "drop"
	}
	return "none"
}

// Rule sends the flows that it matches to a link, a group or the main table.
type Rule struct {
	Name      string
	Match     Match
	Via       Target
	Otherwise Target // used in a family in which Via has no live link
	Flows     Flows
	Pos       Pos
}

// Match says which flows a rule takes. Every field that is set must match; an empty field matches everything.
type Match struct {
	Router      bool      // flows of the router itself; otherwise flows that come in from anywhere but a link
	From, To    []Operand // source and destination, any of them
	NotFrom     []Operand // and none of these
	NotTo       []Operand
	Protocols   []Protocol // empty: all
	Ports       []PortRange
	SourcePorts []PortRange
	DSCP        []uint8 // six bits, as in RFC 2474
	Marks       []MaskedMark
	Interfaces  []string // input interface
	Users       []uint32 // of the router's own sockets
	MACs        []MAC    // source of the frame that the packet came in
}

// SameShape tells whether two matches ask the same, addresses aside.
func (m Match) SameShape(other Match) bool {
	return m.Router == other.Router && slices.Equal(m.Protocols, other.Protocols) &&
		slices.Equal(m.Ports, other.Ports) && slices.Equal(m.SourcePorts, other.SourcePorts) &&
		slices.Equal(m.DSCP, other.DSCP) && slices.Equal(m.Marks, other.Marks) &&
		slices.Equal(m.Interfaces, other.Interfaces) && slices.Equal(m.Users, other.Users) && slices.Equal(m.MACs, other.MACs)
}

// MAC is an Ethernet address.
type MAC [6]byte

// OperandKind says what an Operand refers to.
type OperandKind uint8

// The kinds of operands.
const (
	Literal OperandKind = iota
	OfLAN
	OfSet
)

// Operand is one element of from or to: a range of addresses, or the name of something that has addresses.
type Operand struct {
	Kind  OperandKind
	Name  string         // of the LAN or set
	Range netipx.IPRange // of a literal
}

// Protocol is an IP protocol number.
type Protocol uint8

// Protocols with ports that the language knows by name.
const (
	TCP     Protocol = 6
	UDP     Protocol = 17
	DCCP    Protocol = 33
	SCTP    Protocol = 132
	UDPLite Protocol = 136
)

// PortRange is a range of ports, both ends included.
type PortRange struct{ First, Last uint16 }

// MaskedMark matches packets of which the bits of Mask are Value.
type MaskedMark struct{ Value, Mask uint32 }

// Set is a named list of addresses, sorted and without overlaps.
type Set struct {
	Name   string
	Ranges []netipx.IPRange
	Pos    Pos
}

// Forward is a port forward: connections to the addresses of links that are sent to a host inside.
type Forward struct {
	Name      string
	Links     []string
	Protocols []Protocol
	Ports     PortRange
	To        netip.AddrPort // port 0: the one that was asked for
	From      []Operand      // who may; empty: everybody
	Hairpin   bool           // also for hosts inside that ask for the link's address
	Pos       Pos
}

// Redirect sends flows from inside, wherever they are addressed, to a proxy on the router itself. What is for the router anyway
// is left alone.
type Redirect struct {
	Name   string
	Match  Match
	ToPort uint16
	Pos    Pos
}
