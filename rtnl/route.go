// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/jsimonetti/rtnetlink/v2"
	"golang.org/x/sys/unix"

	"enlace/policy"
)

// Route is a route in one of our tables.
type Route struct {
	Key
	Source netip.Addr
	Hops   []Hop // none: unreachable
}

// Key is what the kernel tells routes apart by.
type Key struct {
	Family policy.Family
	Table  uint32
	Dest   netip.Prefix
	Metric uint32
}

// Hop is one way of a route.
type Hop struct {
	Interface string
	Index     int
	Gateway   netip.Addr // zero: the destination is a neighbour
	OnLink    bool       // the gateway is a neighbour although no network says so
	Weight    int        // 1..256
}

// metricV6 is what the kernel gives IPv6 routes without a metric (IP6_RT_PRIO_USER); IPv4 has 0.
const metricV6 = 1024

// metricLast is the worst metric: the leak stop is used when nothing else is left.
const metricLast = 1<<32 - 1

func (r Route) equal(o Route) bool {
	return r.Key == o.Key && r.Source == o.Source && slices.Equal(r.Hops, o.Hops)
}

// message is the route as rtnetlink takes it.
func (r Route) message(protocol uint8) *rtnetlink.RouteMessage {
	m := &rtnetlink.RouteMessage{
		Family: families[r.Family], DstLength: uint8(r.Dest.Bits()), Protocol: protocol, Type: unix.RTN_UNICAST,
		Attributes: rtnetlink.RouteAttributes{Table: r.Table, Priority: r.Metric, Src: ipOf(r.Source)},
	}
	if r.Table < 256 {
		m.Table = uint8(r.Table)
	}
	if r.Dest.Bits() > 0 {
		m.Attributes.Dst = ipOf(r.Dest.Addr())
	}
	switch len(r.Hops) {
	case 0:
		m.Type = unix.RTN_UNREACHABLE
	case 1:
		h := r.Hops[0]
		m.Attributes.OutIface, m.Attributes.Gateway = uint32(h.Index), ipOf(h.Gateway)
		if !h.Gateway.IsValid() && r.Family == policy.V4 {
			m.Scope = unix.RT_SCOPE_LINK
		}
		if h.OnLink {
			m.Flags = unix.RTNH_F_ONLINK
		}
	default:
		for _, h := range r.Hops {
			hop := rtnetlink.NextHop{Hop: rtnetlink.RTNextHop{Hops: uint8(h.Weight - 1), IfIndex: uint32(h.Index)}, Gateway: ipOf(h.Gateway)}
			if h.OnLink {
				hop.Hop.Flags = unix.RTNH_F_ONLINK
			}
			m.Attributes.Multipath = append(m.Attributes.Multipath, hop)
		}
	}
	return m
}

// routeOf reads a route of the kernel; false when it is of a type that enlace does not make.
func routeOf(m rtnetlink.RouteMessage, names map[int]string) (Route, bool) {
	family, ok := familyOf(m.Family)
	if !ok || (m.Type != unix.RTN_UNICAST && m.Type != unix.RTN_UNREACHABLE) {
		return Route{}, false
	}
	a := m.Attributes
	r := Route{Key: Key{Family: family, Table: a.Table, Dest: family.Default(), Metric: a.Priority}, Source: addrOf(a.Src)}
	if r.Table == 0 {
		r.Table = uint32(m.Table)
	}
	if dst := addrOf(a.Dst); dst.IsValid() {
		r.Dest = netip.PrefixFrom(dst, int(m.DstLength))
	}
	if m.Type == unix.RTN_UNREACHABLE {
		return r, true
	}
	if len(a.Multipath) == 0 {
		r.Hops = []Hop{hopOf(a.OutIface, a.Gateway, m.Flags, 1, names)}
	}
	for _, h := range a.Multipath {
		r.Hops = append(r.Hops, hopOf(h.Hop.IfIndex, h.Gateway, uint32(h.Hop.Flags), int(h.Hop.Hops)+1, names))
	}
	return r, true
}

func hopOf(index uint32, gateway net.IP, flags uint32, weight int, names map[int]string) Hop {
	return Hop{
		Interface: names[int(index)], Index: int(index), Gateway: addrOf(gateway),
		OnLink: flags&unix.RTNH_F_ONLINK != 0, Weight: weight,
	}
}

func familyOf(af uint8) (policy.Family, bool) {
	switch af {
	case unix.AF_INET:
		return policy.V4, true
	case unix.AF_INET6:
		return policy.V6, true
	}
	return 0, false
}

// Command is the `ip` command that sets the route under our protocol number.
func (r Route) Command(protocol uint8) string {
	return fmt.Sprintf("%sroute replace %s", ip(r.Family), strings.Replace(r.text(), " table ", fmt.Sprintf(" proto %d table ", protocol), 1))
}

// String is the route for a person.
func (r Route) String() string { return ip(r.Family) + "route " + r.text() }

// text is the route as `ip route` takes it.
func (r Route) text() string {
	var b strings.Builder
	if len(r.Hops) == 0 {
		b.WriteString("unreachable ")
	}
	if r.Dest.Bits() == 0 {
		b.WriteString("default")
	} else {
		b.WriteString(hostOrPrefix(r.Dest))
	}
	if len(r.Hops) == 1 {
		b.WriteString(r.Hops[0].text())
	}
	fmt.Fprintf(&b, " table %s", tableName(r.Table))
	if r.Metric != 0 {
		fmt.Fprintf(&b, " metric %d", r.Metric)
	}
	if r.Source.IsValid() {
		fmt.Fprintf(&b, " src %s", r.Source)
	}
	if len(r.Hops) > 1 {
		for _, h := range r.Hops {
			fmt.Fprintf(&b, " nexthop%s weight %d", h.text(), h.Weight)
		}
	}
	return b.String()
}

func (h Hop) text() string {
	s := ""
	if h.Gateway.IsValid() {
		s += " via " + h.Gateway.String()
	}
	s += " dev " + h.Interface
	if h.OnLink {
		s += " onlink"
	}
	return s
}

func ipOf(a netip.Addr) net.IP {
	if !a.IsValid() {
		return nil
	}
	return a.AsSlice()
}

func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a
}
