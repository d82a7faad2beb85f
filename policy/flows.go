// SPDX-License-Identifier: Apache-2.0

package policy

// Balance is how a group chooses a link for a new flow.
type Balance uint8

const (
	// ByConnection is weighted round robin over new connections.
	ByConnection Balance = iota
	// ByRoute leaves the choice to the kernel's multipath hash, for the first packet of a flow.
	ByRoute
	// BySource gives all flows of one host to one link.
	BySource
	// BySourceAndDestination gives all flows between two hosts to one link.
	BySourceAndDestination
)

// Balances are all of them as a policy writes them.
var Balances = []string{"connection", "route", "source", "source+destination"}

// String is the balance as a policy writes it.
func (b Balance) String() string { return Balances[b] }

// Hashed tells whether flows are divided over buckets by a hash.
func (b Balance) Hashed() bool { return b == BySource || b == BySourceAndDestination }

// Flows is what becomes of flows when their link dies.
type Flows uint8

const (
	// FlowsUnsaid leaves it to the group, and to failover without one.
	FlowsUnsaid Flows = iota
	// Failover flows of a dead link move to another at once.
	Failover
	// Keep flows stay on their link, dead or not.
	Keep
	// Failback flows move as those of failover do, and return when the link that they should have works again.
	Failback
)

// FlowsNames are the ways as a policy writes them; the first is what is not written.
var FlowsNames = []string{"", "failover", "keep", "failback"}

// String is the way as a policy writes it.
func (f Flows) String() string { return FlowsNames[f] }
