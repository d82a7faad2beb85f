// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// Server answers on one port, TCP and UDP, IPv4 and IPv6, at every address of its namespace, from the address that was
// asked. It tells every client where it sees it come from.
type Server struct{ closers []io.Closer }

// Serve starts a server in a namespace.
func (n *Namespace) Serve(port int) (*Server, error) {
	s := &Server{}
	err := n.Do(func() error {
		for _, v := range []string{"4", "6"} {
			every := map[string]string{"4": "0.0.0.0", "6": "[::]"}[v]
			l, err := net.Listen("tcp"+v, fmt.Sprintf("%s:%d", every, port))
			if err != nil {
				return err
			}
			s.closers = append(s.closers, l)
			go acceptAll(l)
			p, err := net.ListenPacket("udp"+v, fmt.Sprintf("%s:%d", every, port))
			if err != nil {
				return err
			}
			s.closers = append(s.closers, p)
			if err := serveUDP(v, p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("serve port %d in %s: %w", port, n.Name, err), s.Close())
	}
	return s, nil
}

// Serve starts a server on the internet, which ends with the office.
func (o *Office) Serve(ports ...int) error { return o.ServeIn(o.Internet, ports...) }

// ServeIn starts servers in any namespace of the office, which end with it.
func (o *Office) ServeIn(n *Namespace, ports ...int) error {
	for _, p := range ports {
		s, err := n.Serve(p)
		if err != nil {
			return err
		}
		o.servers = append(o.servers, s)
	}
	return nil
}

// Close stops a server.
func (s *Server) Close() error {
	var errs []error
	for _, c := range s.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

func acceptAll(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go serveTCP(c)
	}
}

// serveTCP writes the client's address in a line. Then for every number that it reads in a line it sends so many bytes: "100 after 3s" later.
func serveTCP(c net.Conn) {
	defer func() { _ = c.Close() }()
	if _, err := fmt.Fprintln(c, c.RemoteAddr()); err != nil {
		return
	}
	lines := bufio.NewScanner(c)
	chunk := make([]byte, 16<<10)
	for lines.Scan() {
		number, delay, later := strings.Cut(strings.TrimSpace(lines.Text()), " after ")
		n, err := strconv.Atoi(number)
		if err != nil {
			return
		}
		if wait, err := time.ParseDuration(delay); later && err == nil {
			time.Sleep(wait)
		}
		for ; n > 0; n -= len(chunk) {
			if _, err := c.Write(chunk[:min(n, len(chunk))]); err != nil {
				return
			}
		}
	}
}

// serveUDP answers every packet with the client's address, a blank, and what the packet held. The answer leaves from the
// address that was asked, which an unbound socket does only when it is told to (IP_PKTINFO).
func serveUDP(version string, p net.PacketConn) error {
	if version == "4" {
		c := ipv4.NewPacketConn(p)
		if err := c.SetControlMessage(ipv4.FlagDst, true); err != nil {
			return err
		}
		go func() {
			buf := make([]byte, 2048)
			for {
				n, cm, from, err := c.ReadFrom(buf)
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err == nil && cm != nil {
					_, _ = c.WriteTo(answer(from, buf[:n]), &ipv4.ControlMessage{Src: cm.Dst}, from)
				}
			}
		}()
		return nil
	}
	c := ipv6.NewPacketConn(p)
	if err := c.SetControlMessage(ipv6.FlagDst, true); err != nil {
		return err
	}
	go func() {
		buf := make([]byte, 2048)
		for {
			n, cm, from, err := c.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil && cm != nil {
				_, _ = c.WriteTo(answer(from, buf[:n]), &ipv6.ControlMessage{Src: cm.Dst}, from)
			}
		}
	}()
	return nil
}

func answer(from net.Addr, payload []byte) []byte {
	return append([]byte(from.String()+" "), payload...)
}

// seenIn is the address in a server's answer.
func seenIn(s string) (netip.Addr, error) {
	a, err := netip.ParseAddrPort(strings.TrimSpace(s))
	return a.Addr().Unmap(), err
}
