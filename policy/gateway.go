// SPDX-License-Identifier: Apache-2.0

package policy

import "net/netip"

// Where a gateway is known from, as Path.Learned says it. A lease says which client has it.
const (
	FromPolicy = "policy"
	FromMain   = "main table"
	FarEnd     = "point-to-point interface"
)

// gateway finds a link's gateway in a family, and where it is known from; no gateway may be right for the interface.
//
// The policy comes first, then main's default route through the interface, then a lease. Where both of these are there and differ,
// the lease is newer if the route was left by a command: dhclient's script sets the route for a new address, and does nothing when the
// provider names another gateway for the same one (Debian's dhclient-script, RENEW). Routes of networkd, NetworkManager, dhcpcd and
// the kernel carry the number of their maker, who keeps them right.
func (d *deriver) gateway(l Link, i Interface, f Family) (gateway netip.Addr, learned string) {
	if l.Gateway[f].IsValid() {
		return l.Gateway[f], FromPolicy
	}
	main, hasRoute := d.defaultRoute(i.Name, f)
	leased, source := d.leased(i, f)
	switch {
	case leased.IsValid() && (!hasRoute || main.Left && main.Gateway != leased):
		return leased, source
	case hasRoute:
		return main.Gateway, FromMain
	case i.PointToPoint && f == V4:
		return netip.Addr{}, FarEnd
	}
	return netip.Addr{}, FromMain
}

// defaultRoute is main's best default route through an interface that names a gateway.
func (d *deriver) defaultRoute(name string, f Family) (best Route, ok bool) {
	for _, r := range d.facts.Routes {
		if r.Interface != name || r.Dest != f.Default() || !r.Gateway.IsValid() {
			continue
		}
		if !ok || r.Metric < best.Metric {
			best, ok = r, true
		}
	}
	return best, ok
}

// leased is the first usable gateway of the interface's lease. A lease counts only for the address that it gave: it may be of another
// network where the interface was before.
func (d *deriver) leased(i Interface, f Family) (gateway netip.Addr, source string) {
	for _, l := range d.facts.Leases {
		if l.Interface != i.Name || l.Address.IsValid() && !i.has(l.Address) {
			continue
		}
		for _, g := range l.Gateways {
			if FamilyOf(g) == f && !i.cannotBe(g) {
				return g, l.Source
			}
		}
	}
	return netip.Addr{}, ""
}

// has tells whether an address is the interface's own.
func (i Interface) has(a netip.Addr) bool {
	for _, own := range i.Addresses {
		if own.Prefix.Addr() == a {
			return true
		}
	}
	return false
}
