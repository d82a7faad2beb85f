// SPDX-License-Identifier: Apache-2.0

//go:build !386 && !arm && !mips && !mipsle

package main

import (
	"net/netip"

	"enlace/e2e/lab"
	"enlace/policy"
)

// forward lets clients of the internet ask the web server inside, while that server's own flows are balanced.
func (d *demo) forward() error {
	d.title("The forward of port 80 on embratel to 10.1.0.20")
	const clients = 40
	answered := 0
	for n := 1; n <= clients; n++ {
		client := lab.Remote(n, false)
		seen, err := d.office.Internet.Ask(lab.Flow{Network: "tcp", From: client, To: netip.AddrPortFrom(d.office.ISP("embratel").Address(false).Addr(), 80)})
		if err == nil && seen == client {
			answered++
		}
	}
	d.check(answered == clients, "clients answered", "%d of %d, through embratel: it lets nothing else pass", answered, clients)
	got, err := d.shares(20, 443, 60, remote)
	d.check(equal(got, map[string]int{"virtua": 40, "embratel": 20}), "its own flows meanwhile", "virtua %3d   embratel %3d", got["virtua"], got["embratel"])
	return err
}

// router asks the router's own services on both addresses.
func (d *demo) router() error {
	d.title("The router's own services answer through the link that was asked")
	for _, i := range d.office.ISPs {
		address := i.Address(false).Addr()
		right := 0
		for _, network := range []string{"tcp", "udp"} {
			if _, err := d.office.Internet.Ask(lab.Flow{Network: network, From: lab.Remote(9, false), To: netip.AddrPortFrom(address, 8080)}); err == nil {
				right++
			}
		}
		if err := d.office.Internet.Ping(lab.Remote(9, false), address); err == nil {
			right++
		}
		d.check(right == 3, i.Name, "tcp, udp and ping at %s", address)
	}
	return nil
}

// renumber gives virtua another network while flows go on, and applies again.
func (d *demo) renumber() error {
	d.title("DHCP gives virtua another address and gateway while flows go on")
	const perSecond, atLeast = 200, 100
	flow := lab.Flow{From: lab.Host(50, false), To: netip.AddrPortFrom(lab.Remote(200, false), 443)}
	udp, err := d.office.StreamUDP(d.office.LAN, flow, perSecond)
	if err != nil {
		return err
	}
	tcp, err := d.office.StreamTCP(d.office.LAN, flow)
	if err != nil {
		return err
	}
	udp.Await(atLeast)
	if err := d.office.Renumber("virtua", netip.MustParsePrefix("189.44.7.0/24")); err != nil {
		return err
	}
	pass, took, err := d.pass()
	if err != nil {
		return err
	}
	path := pass.Plan.Links[0].Paths[policy.V4]
	d.check(path != nil && path.Address.String() == "189.44.7.2", "apply", "%s in %.1f ms; now %s", plural(pass.Len(), "change"), ms(took), d.tables()[0])
	got, err := d.shares(100, 443, 300, remote)
	if err != nil {
		return err
	}
	d.check(equal(got, map[string]int{"virtua": 200, "embratel": 100}), "new flows, 2:1", "virtua %3d   embratel %3d", got["virtua"], got["embratel"])
	udp.Await(atLeast)
	for _, s := range []struct {
		what, unit string
		*lab.Stream
	}{{"UDP stream on embratel", "packets", udp}, {"download on embratel", "chunks of 64 KiB", tcp}} {
		r := s.Stop()
		d.check(r.Lost == 0 && r.Err == nil && len(r.Links) == 1 && r.Links["embratel"] > 0, s.what, "%d %s, %d lost", r.Sent, s.unit, r.Lost)
	}
	return nil
}

// down takes everything away again.
func (d *demo) down() error {
	d.title("enlace down")
	return d.office.Router.Do(func() error {
		lines, err := d.kernel.Down(d.policy.Settings)
		if err != nil {
			return err
		}
		again, err := d.kernel.Down(d.policy.Settings)
		d.check(len(again) == 0 && len(lines) > 0, "removed", "%s; left: %d", plural(len(lines), "object"), len(again))
		return err
	})
}

// strangers asks the providers what they had to drop.
func (d *demo) strangers() error {
	d.title("What the providers dropped")
	n, err := d.office.Foreign()
	d.check(n == 0, "foreign sources", "%s", plural(int(n), "packet"))
	return err
}
