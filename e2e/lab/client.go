// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// Flow describes a connection that a client opens.
type Flow struct {
	Network string // "tcp" or "udp"
	From    netip.Addr
	Port    int // that a UDP socket is bound to, when not 0
	To      netip.AddrPort
	TOS     int    // byte, when not 0
	Mark    int    // of the socket, when not 0
	Device  string // that the socket is bound to
	Wait    time.Duration
}

// patience is how long a client waits for an answer in a lab without loss. It is long because machines may be busy.
const patience = 3 * time.Second

// Ask opens the flow from the namespace, and returns the address that the server saw.
func (n *Namespace) Ask(f Flow) (seen netip.Addr, err error) {
	err = n.Do(func() error {
		seen, err = f.ask()
		return err
	})
	return seen, err
}

// Open opens the flow from the namespace and leaves it open.
func (n *Namespace) Open(f Flow) (c net.Conn, err error) {
	err = n.Do(func() error {
		c, err = f.dial()
		return err
	})
	return c, err
}

// AskAll opens flows one after the other and returns the addresses that the servers saw.
func (n *Namespace) AskAll(flows []Flow) (seen []netip.Addr, err error) {
	err = n.Do(func() error {
		for _, f := range flows {
			a, err := f.ask()
			if err != nil {
				return fmt.Errorf("%s from %s to %s: %w", f.Network, f.From, f.To, err)
			}
			seen = append(seen, a)
		}
		return nil
	})
	return seen, err
}

func (f Flow) wait() time.Duration {
	if f.Wait != 0 {
		return f.Wait
	}
	return patience
}

// dial opens a socket in the namespace of the calling thread.
func (f Flow) dial() (net.Conn, error) {
	d := net.Dialer{Timeout: f.wait(), Control: func(_, _ string, c syscall.RawConn) error { return f.options(c) }}
	if f.From.IsValid() && f.Network == "udp" {
		d.LocalAddr = &net.UDPAddr{IP: f.From.AsSlice(), Port: f.Port}
	} else if f.From.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: f.From.AsSlice()}
	}
	return d.Dial(f.Network, f.To.String())
}

func (f Flow) options(c syscall.RawConn) error {
	var failed error
	set := func(err error) {
		if failed == nil {
			failed = err
		}
	}
	err := c.Control(func(fd uintptr) {
		s := int(fd)
		if f.TOS != 0 && f.To.Addr().Is4() {
			set(unix.SetsockoptInt(s, unix.IPPROTO_IP, unix.IP_TOS, f.TOS))
		} else if f.TOS != 0 {
			set(unix.SetsockoptInt(s, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, f.TOS))
		}
		if f.Mark != 0 {
			set(unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_MARK, f.Mark))
		}
		if f.Device != "" {
			set(unix.BindToDevice(s, f.Device))
		}
	})
	if err != nil {
		return err
	}
	return failed
}

// ask opens the flow and reads the answer.
func (f Flow) ask() (netip.Addr, error) {
	c, err := f.dial()
	if err != nil {
		return netip.Addr{}, err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(f.wait()))
	if f.Network == "udp" {
		if _, err := c.Write([]byte("hello")); err != nil {
			return netip.Addr{}, err
		}
		buf := make([]byte, 2048)
		n, err := c.Read(buf)
		if err != nil {
			return netip.Addr{}, err
		}
		addr, _, _ := strings.Cut(string(buf[:n]), " ")
		return seenIn(addr)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return netip.Addr{}, err
	}
	return seenIn(line)
}

// Ping sends an echo request from one address to another and waits for the reply from that address.
func (n *Namespace) Ping(from, to netip.Addr) error {
	return n.Do(func() error {
		network, proto, request := "ip4:icmp", 1, icmp.Type(ipv4.ICMPTypeEcho)
		if to.Is6() {
			network, proto, request = "ip6:ipv6-icmp", 58, ipv6.ICMPTypeEchoRequest
		}
		c, err := icmp.ListenPacket(network, from.String())
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		m := icmp.Message{Type: request, Body: &icmp.Echo{ID: 77, Seq: 1, Data: []byte("enlace")}}
		b, err := m.Marshal(nil)
		if err != nil {
			return err
		}
		if _, err := c.WriteTo(b, &net.IPAddr{IP: to.AsSlice()}); err != nil {
			return err
		}
		return echoFrom(c, proto, to)
	})
}

// echoFrom waits for an echo reply from an address.
func echoFrom(c *icmp.PacketConn, proto int, from netip.Addr) error {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 2048)
	for {
		n, peer, err := c.ReadFrom(buf)
		if err != nil {
			return fmt.Errorf("no echo from %s: %w", from, err)
		}
		m, err := icmp.ParseMessage(proto, buf[:n])
		if err != nil || m.Type != ipv4.ICMPTypeEchoReply && m.Type != ipv6.ICMPTypeEchoReply {
			continue
		}
		if peer.String() != from.String() {
			return fmt.Errorf("echo from %s instead of %s", peer, from)
		}
		return nil
	}
}

// Segment is the longest segment that this end of a TCP connection may send, with the 12 bytes of its timestamps (RFC 7323).
func Segment(c net.Conn) (size int, err error) {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, err
	}
	if failed := raw.Control(func(fd uintptr) { size, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG) }); failed != nil {
		return 0, failed
	}
	return size + 12, err
}
