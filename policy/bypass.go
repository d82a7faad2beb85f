// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"hash/fnv"
	"slices"
)

// Clamp says how long the TCP segments may be that cross a link. Connections whose ends believe in longer ones hang where a
// provider drops the ICMP messages that would tell them (RFC 2923, section 2.1); PPPoE has 8 bytes less than Ethernet (RFC 2516).
type Clamp int

// What a clamp is when it is not a number of bytes.
const (
	ClampUsual Clamp = 0  // as ClampMTU for point-to-point interfaces, not at all for others
	ClampMTU   Clamp = -1 // what the interface's MTU leaves
	ClampOff   Clamp = -2
)

// The limits of a clamp in bytes: below is less than every host takes (RFC 9293, section 3.7.1: 536 for IPv4); above does not exist.
const (
	LeastClamp = 500
	MostClamp  = 65495
)

// headers are those of IP and TCP without options, by Family: what an MTU loses to them.
var headers = [2]int{40, 60}

// segment is the longest TCP segment that a link carries, by Family; 0 is no limit. A number holds for an interface that is not there yet,
// too, and is never more than what the MTU leaves.
func (c Clamp) segment(i Interface) [2]int {
	var out [2]int
	if c == ClampOff || c == ClampUsual && !i.PointToPoint {
		return out
	}
	for _, f := range Families {
		left := i.MTU - headers[f]
		if c > 0 && (i.MTU == 0 || int(c) < left) {
			left = int(c)
		}
		if left >= LeastClamp && left <= MostClamp {
			out[f] = left
		}
	}
	return out
}

// WantsFlowtable tells whether flows of any link are to bypass the hooks.
func (p Policy) WantsFlowtable() bool {
	return slices.ContainsFunc(p.Links, func(l Link) bool { return l.Flowtable })
}

// bypass finds out which interfaces the flowtable has: those inside, and the links that want it. Flows have to leave a link that
// dies, and are not seen where they bypass everything; so the flowtable has an epoch.
func (d *deriver) bypass() {
	if !d.policy.WantsFlowtable() {
		return
	}
	if d.facts.NoFlowtable {
		at := slices.IndexFunc(d.policy.Links, func(l Link) bool { return l.Flowtable })
		d.problem(NoFlowtable, "link "+d.policy.Links[at].Name, d.policy.Links[at].Pos,
			"the kernel has no flowtable, so flows go the long way: use Linux 5.18 or later with CONFIG_NF_FLOW_TABLE_INET and CONFIG_NFT_FLOW_OFFLOAD, or remove flowtable")
		return
	}
	var devices []Device
	for at, l := range d.policy.Links {
		planned := &d.plan.Links[at]
		if !l.Flowtable {
			continue
		}
		planned.Bypasses = planned.Index != 0
		if planned.Bypasses {
			devices = append(devices, Device{l.Interface, planned.Index})
		}
	}
	for _, in := range d.plan.Inside {
		if in.Index != 0 {
			devices = append(devices, in)
		}
	}
	if len(devices) > 1 {
		d.plan.Flowtable = &Flowtable{Devices: devices, Epoch: d.epoch()}
	}
}

// epoch stands for the ways of all links, and for which flows have to leave theirs. The flowtable is made anew when that changes: what
// bypassed the hooks is then seen by them again.
func (d *deriver) epoch() uint32 {
	h := fnv.New32a()
	for _, l := range d.plan.Links {
		for _, f := range Families {
			fmt.Fprintf(h, "%s %s", l.Name, l.Paths[f])
			for t := range Tenures {
				fmt.Fprint(h, d.plan.Leaves(l, t, f))
			}
		}
	}
	return h.Sum32()
}

// Flowtable is where established flows bypass everything else.
type Flowtable struct {
	Devices []Device
	Epoch   uint32 // changes when flows have to be seen again
}
