// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
)

// Office is the seed's company: hosts behind a router with several providers, and the internet behind those.
type Office struct {
	LAN, Router, Internet *Namespace
	ISPs                  []*ISP
	Taps                  map[string]*os.File // the router's interfaces, when it is a machine of its own; see NewOfficeAround
	servers               []*Server
}

// Uplink describes a provider to build.
type Uplink struct {
	Name      string
	Interface string // of the router
	Networks  []netip.Prefix
	// Default: main gets a default route through this link, as a DHCP client or a router advertisement leaves one.
	Default bool
	// Dynamic: the router's side is left alone, for a DHCP client.
	Dynamic bool
}

// ByDHCP is the uplink without anything on the router's side.
func (u Uplink) ByDHCP() Uplink {
	u.Dynamic, u.Default = true, false
	return u
}

// The seed's two links, and a third for tests with more. Virtua's gateway comes from DHCP, Embratel's is fixed.
var (
	Virtua   = Uplink{Name: "virtua", Interface: "eth1", Networks: prefixes("189.1.0.0/24", "2001:db8:189::/64"), Default: true}
	Embratel = Uplink{Name: "embratel", Interface: "eth2", Networks: prefixes("200.252.10.0/24", "2001:db8:200::/64")}
	Vivo     = Uplink{Name: "vivo", Interface: "eth3", Networks: prefixes("177.3.0.0/24", "2001:db8:177::/64")}
)

// OnlyV4 is the uplink without IPv6.
func (u Uplink) OnlyV4() Uplink {
	u.Networks = u.Networks[:1]
	return u
}

// Addresses of the office. Servers of the internet answer at every address of these networks.
var (
	LANNetworks = prefixes("10.1.0.0/16", "fd00:a::/64")
	RouterLAN   = prefixes("10.1.0.1/16", "fd00:a::1/64")
	Servers     = prefixes("198.51.100.0/24", "2001:db8:ffff::/64")
	Bank        = netip.MustParsePrefix("186.202.0.0/24") // the destination that always goes through one link
)

// Host is the address of host n of the LAN: 10.1.0.n, or fd00:a::n.
func Host(n int, v6 bool) netip.Addr {
	if v6 {
		return netip.MustParseAddr(fmt.Sprintf("fd00:a::%x", n))
	}
	return netip.AddrFrom4([4]byte{10, 1, byte(n >> 8), byte(n)})
}

// remoteClients is up to which number a Remote can open flows over IPv6.
const remoteClients = 20

// Remote is the address of server n of the internet, 1 to 250.
func Remote(n int, v6 bool) netip.Addr {
	if v6 {
		return netip.MustParseAddr(fmt.Sprintf("2001:db8:ffff::%x", n))
	}
	return netip.AddrFrom4([4]byte{198, 51, 100, byte(n)})
}

// NewOffice builds the office with the given links and LAN hosts. Nothing routes yet: that is the job of what is tested.
func NewOffice(hosts []int, links ...Uplink) (o *Office, err error) {
	o = &Office{}
	if o.Router, err = NewNamespace("router"); err != nil {
		return nil, fmt.Errorf("build lab: %w", err)
	}
	if o, err = newOffice(o, hosts, links); err != nil {
		return nil, err
	}
	return o, o.Router.settle(1 + len(links))
}

// newOffice builds everything around the router.
func newOffice(o *Office, hosts []int, links []Uplink) (_ *Office, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("build lab: %w", err), o.Close())
		}
	}()
	for name, n := range map[string]**Namespace{"lan": &o.LAN, "internet": &o.Internet} {
		if *n, err = NewNamespace(name); err != nil {
			return o, err
		}
	}
	if err := o.buildLAN(hosts); err != nil {
		return o, err
	}
	if err := o.buildInternet(); err != nil {
		return o, err
	}
	for n, l := range links {
		if err := o.addISP(n, l); err != nil {
			return o, fmt.Errorf("provider %s: %w", l.Name, err)
		}
	}
	return o, nil
}

// Close takes the office apart.
func (o *Office) Close() error {
	var errs []error
	for _, s := range o.servers {
		errs = append(errs, s.Close())
	}
	for _, i := range o.ISPs {
		errs = append(errs, i.Close())
	}
	for _, n := range []*Namespace{o.LAN, o.Router, o.Internet} {
		if n != nil {
			errs = append(errs, n.Close())
		}
	}
	for _, f := range o.Taps {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// buildLAN puts all hosts into one namespace: each is an address that clients and servers bind to.
func (o *Office) buildLAN(hosts []int) error {
	if err := o.cable("eth0", o.LAN, "eth0"); err != nil {
		return err
	}
	errs := []error{}
	for _, p := range RouterLAN {
		if o.Router != nil {
			errs = append(errs, o.Router.AddAddress("eth0", p))
		}
	}
	for _, n := range hosts {
		for f, p := range LANNetworks {
			errs = append(errs, o.LAN.AddAddress("eth0", netip.PrefixFrom(Host(n, f == 1), p.Bits())))
		}
	}
	for f, p := range RouterLAN {
		errs = append(errs, o.LAN.AddRoute(defaultRoute(f == 1), p.Addr(), "eth0"))
	}
	return errors.Join(errs...)
}

// buildInternet makes every address of the servers' networks local, so that one socket serves thousands of servers.
func (o *Office) buildInternet() error {
	errs := []error{o.forwarding(o.Internet)}
	for _, p := range append([]netip.Prefix{Bank}, Servers...) {
		errs = append(errs, o.Internet.addLocal(p))
	}
	// A client there can be any of the IPv4 servers. IPv6 sockets bind to true addresses only.
	for n := 1; n <= remoteClients; n++ {
		errs = append(errs, o.Internet.AddAddress("lo", netip.PrefixFrom(Remote(n, true), 128)))
	}
	return errors.Join(errs...)
}

func (o *Office) forwarding(n *Namespace) error {
	return errors.Join(n.Sysctl("ipv4/ip_forward", "1"), n.Sysctl("ipv6/conf/all/forwarding", "1"))
}

// addISP adds a provider: its namespace between router and internet, and the router's address there.
func (o *Office) addISP(n int, l Uplink) error {
	ns, err := NewNamespace(l.Name)
	if err != nil {
		return err
	}
	i := &ISP{Name: l.Name, Interface: l.Interface, Namespace: ns, Networks: l.Networks, dynamic: l.Dynamic}
	o.ISPs = append(o.ISPs, i)
	back := fmt.Sprintf("isp%d", n)
	if err := errors.Join(o.cable(l.Interface, ns, customerSide), ns.Connect(internetSide, o.Internet, back), o.forwarding(ns)); err != nil {
		return err
	}
	errs := []error{i.addresses(), i.filter()}
	for f := range 2 {
		transit := netip.MustParsePrefix([]string{fmt.Sprintf("100.64.%d.1/24", n), fmt.Sprintf("fd00:64:%x::1/64", n)}[f])
		errs = append(errs,
			ns.AddAddress(internetSide, transit),
			o.Internet.AddAddress(back, netip.PrefixFrom(transit.Addr().Next(), transit.Bits())),
			ns.AddRoute(defaultRoute(f == 1), transit.Addr().Next(), internetSide))
	}
	errs = append(errs, o.routesTo(i, n), o.routerSide(i, l.Default))
	return errors.Join(errs...)
}

// routesTo tells the internet where a provider's customers are.
func (o *Office) routesTo(i *ISP, n int) error {
	var errs []error
	for _, p := range i.Networks {
		via := netip.MustParseAddr([]string{fmt.Sprintf("100.64.%d.1", n), fmt.Sprintf("fd00:64:%x::1", n)}[index(p.Addr().Is6())])
		errs = append(errs, o.Internet.AddRoute(p, via, fmt.Sprintf("isp%d", n)))
	}
	return errors.Join(errs...)
}

// routerSide gives the router its addresses at a provider, and main a default route where the provider's DHCP does.
func (o *Office) routerSide(i *ISP, withDefault bool) error {
	if i.dynamic {
		return nil
	}
	var errs []error
	for _, p := range i.Networks {
		v6 := p.Addr().Is6()
		errs = append(errs, o.Router.AddAddress(i.Interface, i.Address(v6)))
		if withDefault {
			errs = append(errs, o.Router.AddRoute(defaultRoute(v6), i.Gateway(v6), i.Interface))
		}
	}
	return errors.Join(errs...)
}

// ISP returns a provider by name.
func (o *Office) ISP(name string) *ISP {
	for _, i := range o.ISPs {
		if i.Name == name {
			return i
		}
	}
	panic("lab: no provider " + name)
}

// LinkOf is the name of the link to whose network an address belongs, "" when it is none's: then something left untranslated.
func (o *Office) LinkOf(a netip.Addr) string {
	for _, i := range o.ISPs {
		if i.Owns(a.Unmap()) {
			return i.Name
		}
	}
	return ""
}

// Foreign is the sum of the packets with foreign sources that all providers dropped.
func (o *Office) Foreign() (uint64, error) {
	sum := uint64(0)
	for _, i := range o.ISPs {
		n, err := i.Foreign()
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func defaultRoute(v6 bool) netip.Prefix {
	return netip.MustParsePrefix([]string{"0.0.0.0/0", "::/0"}[index(v6)])
}

func index(v6 bool) int {
	if v6 {
		return 1
	}
	return 0
}

// Behind puts a network behind a host of the LAN, which is its router: every address of it can be a client.
func (o *Office) Behind(network netip.Prefix, host int) error {
	return errors.Join(o.LAN.addLocal(network), o.Router.AddRoute(network, Host(host, network.Addr().Is6()), "eth0"))
}
