// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"net"
	"strings"
	"testing"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// routeEvent is a message about a default route.
func routeEvent(t testing.TB, table uint32, flags uint32) netlink.Message {
	t.Helper()
	m := rtnetlink.RouteMessage{
		Family: unix.AF_INET, Type: unix.RTN_UNICAST, Flags: flags,
		Attributes: rtnetlink.RouteAttributes{Table: table, Gateway: net.IPv4(189, 1, 0, 1).To4()},
	}
	if m.Table = uint8(table); table > 255 {
		m.Table = unix.RT_TABLE_COMPAT
	}
	data, err := m.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return netlink.Message{Header: netlink.Header{Type: unix.RTM_NEWROUTE}, Data: data}
}

// TestMatters: routes of main and of our tables matter, whoever made them; those of other tables and cached ones do not.
func TestMatters(t *testing.T) {
	e := Events{tables: &Tables{}}
	if e.matters(routeEvent(t, 20, 0)) {
		t.Error("a route of table 20 matters before that is ours")
	}
	e.tables.Set(State{Routes: []Route{{Key: Key{Table: 20}}, {Key: Key{Table: 2000}}}})
	for _, c := range []struct {
		table, flags uint32
		want         bool
	}{
		{unix.RT_TABLE_MAIN, 0, true},
		{unix.RT_TABLE_MAIN, unix.RTM_F_CLONED, false},
		{20, 0, true},
		{2000, 0, true},
		{21, 0, false},
		{2001, 0, false},
	} {
		if got := e.matters(routeEvent(t, c.table, c.flags)); got != c.want {
			t.Errorf("a route of table %d, flags %x: %v, want %v", c.table, c.flags, got, c.want)
		}
	}
	if !e.matters(netlink.Message{Header: netlink.Header{Type: 9999}}) {
		t.Error("an unknown message is passed over")
	}
}

func TestEventString(t *testing.T) {
	for typ, want := range map[netlink.HeaderType]string{
		unix.RTM_NEWROUTE: "route default via 189.1.0.1 in table main set",
		unix.RTM_DELROUTE: "route default via 189.1.0.1 in table main removed",
	} {
		m := routeEvent(t, unix.RT_TABLE_MAIN, 0)
		if got := (Event{typ: typ, data: m.Data}).String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := (Event{Lost: true}).String(); !strings.Contains(got, "lost") {
		t.Errorf("%q", got)
	}
}

// FuzzEvent: whatever the kernel of some year sends, the daemon does not end by it.
func FuzzEvent(f *testing.F) {
	f.Add(uint16(unix.RTM_NEWROUTE), routeEvent(f, 2000, 0).Data)
	for _, typ := range []uint16{unix.RTM_NEWLINK, unix.RTM_DELLINK, unix.RTM_NEWADDR, unix.RTM_NEWRULE, unix.RTM_NEWNETCONF} {
		f.Add(typ, make([]byte, 32))
	}
	e := Events{tables: &Tables{}}
	f.Fuzz(func(t *testing.T, typ uint16, data []byte) {
		m := netlink.Message{Header: netlink.Header{Type: netlink.HeaderType(typ)}, Data: data}
		e.matters(m)
		if (Event{typ: m.Header.Type, data: data}).String() == "" {
			t.Error("an event without words")
		}
	})
}
