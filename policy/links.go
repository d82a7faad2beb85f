// SPDX-License-Identifier: Apache-2.0

package policy

import "net/netip"

// links finds out what every link can carry at the moment.
func (d *deriver) links() {
	all := d.policy.Number(d.facts.Numbers)
	numbers := all.Links
	tables, _ := d.policy.TablesOf()
	anyUp := false
	for at, l := range d.policy.Links {
		d.linkAt[l.Name] = at
		planned := PlannedLink{
			Name: l.Name, Interface: l.Interface, Number: numbers[at], Mark: MarkOf(numbers[at], d.policy.Settings.MarkMask),
			Table: tables[at], Masquerade: l.Masquerade, SNAT: l.SNAT, Pos: l.Pos,
		}
		planned.Marks[Ordinary] = planned.Mark
		if all.Steady != nil {
			planned.Marks[Steady] = MarkOf(all.Steady[at], d.policy.Settings.MarkMask)
		}
		if all.Guests != nil {
			planned.Marks[Guest] = MarkOf(all.Guests[at], d.policy.Settings.MarkMask)
		}
		d.observe(l, &planned)
		d.judge(l, &planned)
		for _, family := range Families {
			d.plan.Active[family] = d.plan.Active[family] || planned.Paths[family] != nil
		}
		anyUp = anyUp || planned.State.fitness() >= useful
		d.plan.Links = append(d.plan.Links, planned)
	}
	if !anyUp {
		d.problem(NoLinks, "policy", Pos{}, "no link works")
	}
}

// observe fills in what the host says about a link.
func (d *deriver) observe(l Link, planned *PlannedLink) {
	subject := "link " + l.Name
	planned.Segment = l.Clamp.segment(Interface{})
	i, ok := d.facts.InterfaceNamed(l.Interface)
	if !ok {
		planned.State = Absent
		d.problem(InterfaceMissing, subject, l.Pos, "there is no interface %q", l.Interface)
		return
	}
	planned.Index, planned.Segment = i.Index, l.Clamp.segment(i)
	for _, a := range i.Addresses {
		if !a.Link {
			planned.Addresses = append(planned.Addresses, a.Prefix.Addr())
		}
	}
	if !i.Up {
		planned.State = Down
		d.problem(InterfaceDown, subject, l.Pos, "interface %s is switched off (ip link set %s up)", i.Name, i.Name)
		return
	}
	if !i.Carrier {
		planned.State = Down
		d.problem(NoCarrier, subject, l.Pos, "interface %s has no carrier: is the cable plugged in and the modem on?", i.Name)
		return
	}
	for _, family := range Families {
		planned.Networks[family] = d.reachable(i, family)
		planned.Paths[family] = d.path(l, i, family, planned.Networks[family])
	}
	for _, family := range Families {
		// A family without any address may be one that the provider does not have; with an address something is missing.
		if planned.Paths[family] == nil && planned.Paths[1-family] != nil {
			d.halfUp(l, i, family)
		}
	}
	if planned.State = Up; planned.Paths[V4] == nil && planned.Paths[V6] == nil {
		planned.State = Incomplete
		d.incomplete(l, i)
	}
}

// path is the link's way to the internet in one family, or nil.
func (d *deriver) path(l Link, i Interface, f Family, networks []Route) *Path {
	gateway, learned := d.gateway(l, i, f)
	address, ok := i.source(f, gateway)
	if !ok || (!gateway.IsValid() && !d.needsNoGateway(i, f)) {
		return nil
	}
	if gateway.IsValid() && i.cannotBe(gateway) {
		d.problem(GatewayUnusable, "link "+l.Name, l.Pos, "gateway %s is no other host's address on %s, so it is not used", gateway, i.Name)
		return nil
	}
	p := &Path{Address: address.Prefix.Addr(), Gateway: gateway, Learned: learned}
	if gateway.IsValid() && !gateway.IsLinkLocalUnicast() && !reaches(networks, gateway) {
		p.OnLink = true
	}
	if main, _ := d.defaultRoute(i.Name, f); p.OnLink && gateway != main.Gateway { // main does it the same way: then it is meant
		d.problem(GatewayOutside, "link "+l.Name, l.Pos, "gateway %s is not in a network of %s; it is used as a neighbour on that interface", gateway, i.Name)
	}
	return p
}

// needsNoGateway says whether the interface reaches the internet without one: it is point-to-point, or main has a default
// route through it that names none. IPv6 over a point-to-point interface needs the route: having an address there says nothing.
func (d *deriver) needsNoGateway(i Interface, f Family) bool {
	if i.PointToPoint && f == V4 {
		return true
	}
	for _, r := range d.facts.Routes {
		if r.Interface == i.Name && r.Dest == f.Default() && !r.Gateway.IsValid() {
			return true
		}
	}
	return false
}

// reachable is what main reaches specifically through the interface: the networks of its addresses, and whatever routes
// somebody else put there (DHCP's classless static routes, a provider's telephone network). The networks of the addresses
// are planned even when main does not have them yet, because the gateway cannot be used without them.
func (d *deriver) reachable(i Interface, f Family) []Route {
	var out []Route
	seen := map[netip.Prefix]bool{}
	add := func(r Route) {
		if !seen[r.Dest] && FamilyOf(r.Dest.Addr()) == f && r.Dest.Bits() > 0 && !r.Dest.Addr().IsMulticast() {
			seen[r.Dest] = true
			out = append(out, r)
		}
	}
	for _, a := range i.Addresses {
		if a.Link {
			continue
		}
		if a.Peer.IsValid() {
			add(Route{Dest: netip.PrefixFrom(a.Peer, a.Peer.BitLen()), Interface: i.Name, Source: a.Prefix.Addr()})
		} else if a.Prefix.Bits() < f.Bits() {
			add(Route{Dest: a.Prefix.Masked(), Interface: i.Name, Source: a.Prefix.Addr()})
		}
	}
	for _, r := range d.facts.Routes {
		if r.Interface == i.Name && !r.Dest.Addr().IsLinkLocalUnicast() {
			add(Route{Dest: r.Dest, Gateway: r.Gateway, Interface: i.Name, Source: r.Source})
		}
	}
	return out
}

// reaches tells whether a directly connected network holds the address.
func reaches(routes []Route, a netip.Addr) bool {
	for _, r := range routes {
		if !r.Gateway.IsValid() && r.Dest.Contains(a) {
			return true
		}
	}
	return false
}

// halfUp says what is missing in one family of a link that works in the other.
func (d *deriver) halfUp(l Link, i Interface, f Family) {
	_, hasAddress := i.source(f, netip.Addr{})
	switch {
	case hasAddress:
		d.problem(NoGateway, "link "+l.Name, l.Pos, "no gateway is known for %s, though %s has an address: flows of that family do not use the link", f, i.Name)
	case l.Gateway[f].IsValid():
		d.problem(NoAddress, "link "+l.Name, l.Pos, "interface %s has no address for %s yet: flows of that family do not use the link", i.Name, f)
	}
}

// incomplete says what a link without any path is waiting for.
func (d *deriver) incomplete(l Link, i Interface) {
	if len(i.networks()) == 0 {
		d.problem(NoAddress, "link "+l.Name, l.Pos, "interface %s has no address yet", i.Name)
		return
	}
	d.problem(NoGateway, "link "+l.Name, l.Pos,
		"no gateway is known: neither main's default route nor a lease that holds for its address names one for %s; write gateway = \"...\" into the link, or run: enlace lease set --interface %s --gateway ...", i.Name, i.Name)
}
