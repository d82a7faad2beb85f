// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Event is a change of interfaces, addresses, routes or rules that somebody else made, or the kernel.
type Event struct {
	typ  netlink.HeaderType
	data []byte
	// Lost says that the kernel had more to tell than the socket could hold: anything may have changed.
	Lost bool
}

// Events tells what changes in one network namespace.
type Events struct {
	nl     *netlink.Conn
	own    func() uint32
	tables *Tables
}

// Tables are the numbers of the tables whose routes matter besides main, which may change at any time.
type Tables struct {
	set atomic.Pointer[map[uint32]bool]
}

// Set replaces them by those of a state.
func (t *Tables) Set(s State) {
	set := map[uint32]bool{}
	for _, r := range s.Routes {
		set[r.Table] = true
	}
	t.set.Store(&set)
}

func (t *Tables) has(table uint32) bool {
	set := t.set.Load()
	return set != nil && (*set)[table]
}

// groups are what is listened to (linux/rtnetlink.h).
var groups = []uint32{
	unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
	unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE, netconfV4, netconfV6,
}

// RTNLGRP_IPV4_NETCONF and RTNLGRP_IPV6_NETCONF of linux/rtnetlink.h: settings of forwarding and of reverse path filters.
const (
	netconfV4 = 24
	netconfV6 = 25
)

// Subscribe begins to listen in the network namespace of the calling thread. What the connection with the port own changes is not
// told; tables are ours. The socket holds buffer bytes of messages that were not read yet.
func Subscribe(own func() uint32, tables *Tables, buffer int) (*Events, error) {
	nl, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, fmt.Errorf("rtnl: open netlink: %w", err)
	}
	_ = nl.SetReadBuffer(buffer) // a smaller one only means to read everything anew more often
	for _, g := range groups {
		if err := nl.JoinGroup(g); err != nil {
			return nil, errors.Join(fmt.Errorf("rtnl: listen: %w", err), nl.Close())
		}
	}
	return &Events{nl: nl, own: own, tables: tables}, nil
}

// Close ends listening; Receive returns an error then.
func (e *Events) Close() error { return e.nl.Close() }

// Receive waits for changes that matter. There may be none in what it read.
func (e *Events) Receive() ([]Event, error) {
	msgs, err := e.nl.Receive()
	if errors.Is(err, unix.ENOBUFS) {
		return []Event{{Lost: true}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("rtnl: listen: %w", err)
	}
	var out []Event
	for _, m := range msgs {
		if m.Header.PID != e.own() && e.matters(m) {
			out = append(out, Event{typ: m.Header.Type, data: m.Data})
		}
	}
	return out, nil
}

// matters tells whether a message can be about something that a plan depends on. Routes of other tables are not: a routing daemon
// may change thousands of them.
func (e *Events) matters(m netlink.Message) bool {
	if t := m.Header.Type; (t != unix.RTM_NEWROUTE && t != unix.RTM_DELROUTE) || len(m.Data) < unix.SizeofRtMsg {
		return true // whatever it is, looking is cheaper than missing something
	}
	if binary.NativeEndian.Uint32(m.Data[8:])&unix.RTM_F_CLONED != 0 {
		return false
	}
	table := uint32(m.Data[4])
	if table == unix.RT_TABLE_COMPAT { // numbers above 255 stand in an attribute
		var r rtnetlink.RouteMessage
		if err := r.UnmarshalBinary(m.Data); err != nil {
			return true
		}
		table = r.Attributes.Table
	}
	return table == unix.RT_TABLE_MAIN || e.tables.has(table)
}

// String says what happened, for people.
func (e Event) String() string {
	if e.Lost {
		return "events were lost"
	}
	switch e.typ {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return e.link()
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return "address " + e.address() + e.verb()
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return "route " + e.route() + e.verb()
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		return "ip rule" + e.verb()
	case unix.RTM_NEWNETCONF, unix.RTM_DELNETCONF:
		return "settings of forwarding or reverse path filters" + e.verb()
	}
	return fmt.Sprintf("netlink message %d", e.typ)
}

// verb is what happened to the object.
func (e Event) verb() string {
	switch e.typ {
	case unix.RTM_DELLINK, unix.RTM_DELADDR, unix.RTM_DELROUTE, unix.RTM_DELRULE, unix.RTM_DELNETCONF:
		return " removed"
	}
	return " set"
}

func (e Event) link() string {
	i, _, ok := interfaceOf(e.data)
	switch {
	case !ok:
		return "interface changed"
	case e.typ == unix.RTM_DELLINK:
		return "interface " + i.Name + " removed"
	case !i.Up:
		return "interface " + i.Name + " switched off"
	case !i.Carrier:
		return "interface " + i.Name + " without carrier"
	}
	return "interface " + i.Name + " up"
}

func (e Event) address() string {
	var m rtnetlink.AddressMessage
	if err := m.UnmarshalBinary(e.data); err == nil {
		if a, ok := addressOf(m); ok {
			return a.Prefix.String()
		}
	}
	return "of an interface"
}

func (e Event) route() string {
	var m rtnetlink.RouteMessage
	if err := m.UnmarshalBinary(e.data); err != nil {
		return "of some kind"
	}
	table := m.Attributes.Table
	if table == 0 {
		table = uint32(m.Table)
	}
	dest := "default"
	if dst := addrOf(m.Attributes.Dst); dst.IsValid() {
		dest = netip.PrefixFrom(dst, int(m.DstLength)).String()
	}
	if gateway := addrOf(m.Attributes.Gateway); gateway.IsValid() {
		dest += " via " + gateway.String()
	}
	return dest + " in table " + tableName(table)
}
