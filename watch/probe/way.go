// SPDX-License-Identifier: Apache-2.0

// Package probe asks the targets of links whether they answer. A probe leaves by its link and no other: its socket is bound to the
// interface, to the link's address, and carries the link's mark, so that it is routed by the link's own table even when the link is out of use.
// Questions to neighbours are not routed at all.
package probe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"enlace/policy"
)

// Way is how probes of a link leave, in one family.
type Way struct {
	Link      string
	Interface string
	Index     int
	Mark      uint32
	Family    policy.Family
	Source    netip.Addr
	Gateway   netip.Addr // zero: none is needed
	Ethernet  bool       // neighbours answer to ARP or neighbour discovery
}

// control binds a socket to the way.
func (w Way) control(_, _ string, c syscall.RawConn) error {
	var err error
	if failed := c.Control(func(fd uintptr) {
		err = errors.Join(
			unix.BindToDevice(int(fd), w.Interface),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(w.Mark)),
		)
	}); failed != nil {
		return failed
	}
	return err
}

// dialer opens connections by the way.
func (w Way) dialer(network string) *net.Dialer {
	d := &net.Dialer{Control: w.control}
	if network == "udp" {
		d.LocalAddr = &net.UDPAddr{IP: w.Source.AsSlice()}
	} else {
		d.LocalAddr = &net.TCPAddr{IP: w.Source.AsSlice()}
	}
	return d
}

// echoSocket sends ICMP, and receives answers to echoes: a busy interface has other ICMP, too.
func (w Way) echoSocket(ctx context.Context) (net.PacketConn, error) {
	l := net.ListenConfig{Control: w.control}
	if w.Family == policy.V6 {
		c, err := l.ListenPacket(ctx, "ip6:ipv6-icmp", w.Source.String())
		if err != nil {
			return nil, err
		}
		var answers ipv6.ICMPFilter
		answers.SetAll(true)
		answers.Accept(ipv6.ICMPTypeEchoReply)
		return c, ipv6.NewPacketConn(c).SetICMPFilter(&answers)
	}
	c, err := l.ListenPacket(ctx, "ip4:icmp", w.Source.String())
	if err != nil {
		return nil, err
	}
	var answers ipv4.ICMPFilter
	answers.SetAll(true)
	answers.Accept(ipv4.ICMPTypeEchoReply)
	return c, ipv4.NewPacketConn(c).SetICMPFilter(&answers)
}

// at is an address as the socket wants it: that of a neighbour needs the interface.
func (w Way) at(a netip.Addr) *net.IPAddr {
	ip := &net.IPAddr{IP: a.AsSlice()}
	if a.IsLinkLocalUnicast() {
		ip.Zone = w.Interface
	}
	return ip
}
