// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sort"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"enlace/policy"
)

// State is what the kernel holds, or should hold, of ours.
type State struct {
	Routes  []Route
	Rules   []Rule
	Sysctls []Sysctl
}

// Observe reads what the host tells, and what it holds of ours, which is what carries our protocol number.
func (c *Conn) Observe(protocol uint8) (policy.Facts, State, error) {
	var f policy.Facts
	var s State
	names, err := c.interfaces(&f)
	if err != nil {
		return f, s, err
	}
	if err := errors.Join(c.addresses(&f), c.routes(&f, &s, names, protocol), c.readRules(&f, &s, protocol)); err != nil {
		return f, s, err
	}
	return f, s, nil
}

func (c *Conn) interfaces(f *policy.Facts) (map[int]string, error) {
	msgs, err := c.dump(unix.RTM_GETLINK, make([]byte, unix.SizeofIfInfomsg))
	if err != nil {
		return nil, fmt.Errorf("rtnl: list interfaces: %w", err)
	}
	names := map[int]string{}
	for _, m := range msgs {
		i, loopback, ok := interfaceOf(m.Data)
		if !ok {
			continue
		}
		names[i.Index] = i.Name
		if !loopback {
			f.Interfaces = append(f.Interfaces, i)
		}
	}
	sort.Slice(f.Interfaces, func(i, j int) bool { return f.Interfaces[i].Index < f.Interfaces[j].Index })
	return names, nil
}

// interfaceOf reads what enlace wants to know of an interface. The library reads everything, and fails on kinds of interfaces that
// it does not know.
func interfaceOf(data []byte) (i policy.Interface, loopback, ok bool) {
	if len(data) < unix.SizeofIfInfomsg {
		return i, false, false
	}
	flags := binary.NativeEndian.Uint32(data[8:])
	i = policy.Interface{
		Index: int(int32(binary.NativeEndian.Uint32(data[4:]))), Up: flags&unix.IFF_UP != 0,
		Carrier:      flags&unix.IFF_LOWER_UP != 0 && flags&unix.IFF_RUNNING != 0,
		PointToPoint: flags&unix.IFF_POINTOPOINT != 0,
	}
	ad, err := netlink.NewAttributeDecoder(data[unix.SizeofIfInfomsg:])
	if err != nil {
		return i, false, false
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.IFLA_IFNAME:
			i.Name = ad.String()
		case unix.IFLA_MTU:
			i.MTU = int(ad.Uint32())
		}
	}
	return i, flags&unix.IFF_LOOPBACK != 0, i.Name != ""
}

func (c *Conn) addresses(f *policy.Facts) error {
	msgs, err := c.dump(unix.RTM_GETADDR, make([]byte, unix.SizeofIfAddrmsg))
	if err != nil {
		return fmt.Errorf("rtnl: list addresses: %w", err)
	}
	at := map[int]int{}
	for n, i := range f.Interfaces {
		at[i.Index] = n
	}
	for _, msg := range msgs {
		var m rtnetlink.AddressMessage
		if err := m.UnmarshalBinary(msg.Data); err != nil {
			continue
		}
		i, ok := at[int(m.Index)]
		if !ok {
			continue
		}
		if a, ok := addressOf(m); ok {
			f.Interfaces[i].Addresses = append(f.Interfaces[i].Addresses, a)
		}
	}
	return nil
}

// addressOf reads an address; its family is that of the message, and its own side is IFA_LOCAL where there is a far end.
func addressOf(m rtnetlink.AddressMessage) (policy.Address, bool) {
	if m.Attributes == nil {
		return policy.Address{}, false
	}
	local, other := addrOf(m.Attributes.Local), addrOf(m.Attributes.Address)
	if !local.IsValid() {
		local = other
	}
	if !local.IsValid() {
		return policy.Address{}, false
	}
	a := policy.Address{
		Prefix: netip.PrefixFrom(local, int(m.PrefixLength)),
		Link:   m.Scope >= unix.RT_SCOPE_LINK || local.IsLinkLocalUnicast(),
		Fading: m.Attributes.Flags&(unix.IFA_F_DEPRECATED|unix.IFA_F_TEMPORARY|unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 && local.Is6(),
	}
	if other.IsValid() && other != local {
		a.Peer = other
	}
	return a, true
}

// routes reads the main table and what is ours in any table.
func (c *Conn) routes(f *policy.Facts, s *State, names map[int]string, protocol uint8) error {
	for _, family := range families {
		main, err := c.dumpRoutes(&rtnetlink.RouteMessage{Family: family, Table: unix.RT_TABLE_MAIN})
		if err != nil {
			return fmt.Errorf("rtnl: list routes: %w", err)
		}
		for _, m := range main {
			f.Routes = append(f.Routes, mainRoutes(m, names)...)
		}
		ours, err := c.dumpRoutes(&rtnetlink.RouteMessage{Family: family, Protocol: protocol})
		if err != nil {
			return fmt.Errorf("rtnl: list routes: %w", err)
		}
		for _, m := range ours {
			if r, ok := routeOf(m, names); ok && m.Protocol == protocol && m.Flags&unix.RTM_F_CLONED == 0 && !kernelTable(r.Table) {
				s.Routes = append(s.Routes, r)
			}
		}
	}
	return nil
}

// kernelTable tells whether a table is one of those that every host has. Nothing in them is ours, whatever its number says.
func kernelTable(table uint32) bool {
	return table == unix.RT_TABLE_MAIN || table == unix.RT_TABLE_LOCAL || table == unix.RT_TABLE_DEFAULT
}

// dumpRoutes lists routes; a table that does not exist has none.
func (c *Conn) dumpRoutes(filter *rtnetlink.RouteMessage) ([]rtnetlink.RouteMessage, error) {
	data, err := filter.MarshalBinary()
	if err != nil {
		return nil, err
	}
	msgs, err := c.dump(unix.RTM_GETROUTE, data)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EAFNOSUPPORT) {
		return nil, nil
	}
	var list []rtnetlink.RouteMessage
	for _, m := range msgs {
		var r rtnetlink.RouteMessage
		if err := r.UnmarshalBinary(m.Data); err == nil { // what the library does not know is nothing that enlace makes or needs
			list = append(list, r)
		}
	}
	return list, err
}

// mainRoutes are the ways of a unicast route of the main table, one for each next hop.
func mainRoutes(m rtnetlink.RouteMessage, names map[int]string) []policy.Route {
	r, ok := routeOf(m, names)
	if !ok || r.Table != unix.RT_TABLE_MAIN || m.Flags&unix.RTM_F_CLONED != 0 {
		return nil
	}
	var out []policy.Route
	for _, h := range r.Hops {
		out = append(out, policy.Route{Dest: r.Dest, Gateway: h.Gateway, Interface: h.Interface, Metric: r.Metric, Source: r.Source, Left: m.Protocol == unix.RTPROT_BOOT})
	}
	return out
}

// readRules lists ip rules: ours, and the marks that rules of other programs look at.
func (c *Conn) readRules(f *policy.Facts, s *State, protocol uint8) error {
	for _, family := range families {
		msgs, err := c.dumpRules(family)
		if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
			continue
		}
		if err != nil {
			return fmt.Errorf("rtnl: list rules: %w", err)
		}
		for _, m := range msgs {
			r, err := decodeRule(m.Data)
			if err != nil {
				continue // not a rule that we could have made
			}
			if r.Protocol == protocol && !r.Foreign {
				s.Rules = append(s.Rules, r)
			} else if r.Mask != 0 && r.Mask != 1<<32-1 {
				f.Marks = append(f.Marks, policy.MaskedMark{Value: r.Mark, Mask: r.Mask})
			}
		}
	}
	return nil
}

// dumpRules lists the rules of a family.
func (c *Conn) dumpRules(family uint8) ([]netlink.Message, error) {
	head := make([]byte, fibRuleHeader)
	head[0] = family
	return c.dump(unix.RTM_GETRULE, head)
}
