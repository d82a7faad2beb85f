// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
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
	links, err := c.rt.Link.List()
	if err != nil {
		return nil, fmt.Errorf("rtnl: list interfaces: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[int(l.Index)] = l.Attributes.Name
		if l.Flags&unix.IFF_LOOPBACK != 0 {
			continue
		}
		f.Interfaces = append(f.Interfaces, policy.Interface{
			Name: l.Attributes.Name, Index: int(l.Index), Up: l.Flags&unix.IFF_UP != 0,
			Carrier:      l.Flags&unix.IFF_LOWER_UP != 0 && l.Flags&unix.IFF_RUNNING != 0,
			PointToPoint: l.Flags&unix.IFF_POINTOPOINT != 0,
		})
	}
	sort.Slice(f.Interfaces, func(i, j int) bool { return f.Interfaces[i].Index < f.Interfaces[j].Index })
	return names, nil
}

func (c *Conn) addresses(f *policy.Facts) error {
	list, err := c.rt.Address.List()
	if err != nil {
		return fmt.Errorf("rtnl: list addresses: %w", err)
	}
	for _, m := range list {
		for i := range f.Interfaces {
			if f.Interfaces[i].Index != int(m.Index) {
				continue
			}
			if a, ok := addressOf(m); ok {
				f.Interfaces[i].Addresses = append(f.Interfaces[i].Addresses, a)
			}
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
	list, err := c.rt.Route.ListMatch(filter)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EAFNOSUPPORT) {
		return nil, nil
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
		out = append(out, policy.Route{Dest: r.Dest, Gateway: h.Gateway, Interface: h.Interface, Metric: r.Metric, Source: r.Source})
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

// dumpRules lists the rules of a family, again while they change meanwhile: an interrupted list lacks rules that are there. The
// lists of the other objects come from a library that does not tell.
func (c *Conn) dumpRules(family uint8) (msgs []netlink.Message, err error) {
	head := make([]byte, fibRuleHeader)
	head[0] = family
	request := netlink.Message{Header: netlink.Header{Type: unix.RTM_GETRULE, Flags: netlink.Request | netlink.Dump}, Data: head}
	for range 5 {
		msgs, err = c.rules.Execute(request)
		interrupted := slices.ContainsFunc(msgs, func(m netlink.Message) bool { return m.Header.Flags&netlink.DumpInterrupted != 0 })
		if err != nil || !interrupted {
			break
		}
	}
	return msgs, err
}
