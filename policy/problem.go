// SPDX-License-Identifier: Apache-2.0

package policy

// Code names a kind of problem. It is stable: programs and the manual refer to it.
type Code string

// The problems that Derive finds.
const (
	InterfaceMissing Code = "interface-missing"
	InterfaceDown    Code = "interface-down"
	NoCarrier        Code = "no-carrier"
	NoAddress        Code = "no-address"
	NoGateway        Code = "no-gateway"
	GatewayUnusable  Code = "gateway-unusable"
	NamesUnwritten   Code = "names-unwritten"
	ListsUnkept      Code = "lists-unkept"
	GatewayOutside   Code = "gateway-outside"
	LANMissing       Code = "lan-missing"
	LANDown          Code = "lan-down"
	NoLinks          Code = "no-links"
	MarkInUse        Code = "mark-in-use"
	LinkSilent       Code = "link-silent"
	LinkDegraded     Code = "link-degraded"
	LinkHolding      Code = "link-holding"
	LinkUnproved     Code = "link-unproved"
	LinkDrained      Code = "link-drained"
	DrainedUnread    Code = "drained-unread"
	TargetSilent     Code = "target-silent"
	TargetUnusable   Code = "target-unusable"
	SNATElsewhere    Code = "snat-elsewhere"
	LastResort       Code = "last-resort"
	NoFlowtable      Code = "no-flowtable"
)

// The problems that are not in the plan, but in bringing it about.
const (
	ChangedOutside Code = "changed-outside"
	PolicyRefused  Code = "policy-refused"
	NotWritten     Code = "not-written"
	NotApplied     Code = "not-applied"
	HookFailed     Code = "hook-failed"
)

// Problem is a place where the policy and the host disagree. It is not an error: enlace does what can be done and says
// what cannot.
type Problem struct {
	Code    Code
	Subject string // "link virtua", "lan office"
	Text    string // what is wrong, and what to do about it
	Pos     Pos
}

// String is one line for a person.
func (p Problem) String() string {
	s := p.Subject + ": " + p.Text + " [" + string(p.Code) + "]"
	if at := p.Pos.String(); at != "" {
		s += " (" + at + ")"
	}
	return s
}
