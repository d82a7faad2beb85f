// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"net/netip"
)

// Renumber gives a link another network, as a provider's DHCP does: the router gets the new address and, if it had one, the
// new default route, and loses the old ones.
func (o *Office) Renumber(name string, networks ...netip.Prefix) error {
	n := 0
	for o.ISPs[n].Name != name {
		n++
	}
	i := o.ISPs[n]
	old := *i
	i.Networks = append(append([]netip.Prefix{}, networks...), old.Networks...)
	errs := []error{i.filter()} // packets from the old address may be on their way until the router has lost it
	i.Networks = networks
	if err := errors.Join(append(errs, i.addresses(), o.routesTo(i, n))...); err != nil {
		return err
	}
	errs = nil
	for _, p := range old.Networks {
		v6 := p.Addr().Is6()
		errs = append(errs, i.RemoveAddress(customerSide, old.nth(v6, 1)))
		if !i.dynamic {
			errs = append(errs, o.Router.RemoveAddress(i.Interface, old.Address(v6)))
		}
	}
	if i.dynamic { // the router has its old address, and may use it, until its client has asked again: see Settled
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, o.routerSide(i, true), i.filter())...)
}

// Settled says that the router has lost the address from before a Renumber: packets from it are foreign from now on.
func (o *Office) Settled(name string) error { return o.ISP(name).filter() }

// Replug takes the interface of a link away and makes it anew: it has the same name and addresses, and another number. main gets a
// default route through it.
func (o *Office) Replug(name string) error {
	if err := o.Router.Remove(o.ISP(name).Interface); err != nil {
		return err
	}
	return o.Plug(name)
}

// Plug makes the interface of a link after it was removed.
func (o *Office) Plug(name string) error {
	i := o.ISP(name)
	if err := o.Router.Connect(i.Interface, i.Namespace, customerSide); err != nil {
		return err
	}
	return errors.Join(i.addresses(), o.routerSide(i, true))
}

// Restore gives the router's interface back what the kernel takes when it is switched off: IPv6 addresses and default routes.
func (o *Office) Restore(name string) error {
	i := o.ISP(name)
	var errs []error
	for _, p := range i.Networks {
		v6 := p.Addr().Is6()
		if v6 {
			errs = append(errs, o.Router.AddAddress(i.Interface, i.Address(v6)))
		}
		errs = append(errs, o.Router.AddRoute(defaultRoute(v6), i.Gateway(v6), i.Interface))
	}
	return errors.Join(errs...)
}
