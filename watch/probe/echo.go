// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"enlace/policy"
)

// echoes is the one socket for the ICMP echoes of a way, whatever the number of targets.
type echoes struct {
	way    Way
	others *sync.WaitGroup

	mu      sync.Mutex
	conn    net.PacketConn
	id      int
	seq     uint16
	waiting map[uint16]waiting
}

// waiting is who waits for an answer.
type waiting struct {
	seq      uint32
	from     netip.Addr
	answered func(uint32)
}

// echo asks one target.
type echo struct {
	*echoes
	to netip.Addr
}

func (e *echo) ask(ctx context.Context, seq uint32, answered func(uint32)) bool {
	return e.to.IsValid() && e.send(ctx, e.to, seq, answered)
}

func (*echo) close() {}

// mostWaiting is how many echoes are remembered: more than are sent in the time in which an answer counts.
const mostWaiting = 2048

// send sends an echo request. What the kernel does not send is not answered either, which says something about the link; that there is no
// socket does not.
func (e *echoes) send(ctx context.Context, to netip.Addr, seq uint32, answered func(uint32)) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conn == nil && e.open(ctx) != nil {
		return false
	}
	e.seq++
	delete(e.waiting, e.seq-mostWaiting)
	e.waiting[e.seq] = waiting{seq, to, answered}
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: e.id, Seq: int(e.seq), Data: []byte("enlace")}}
	if e.way.Family == policy.V6 {
		m.Type = ipv6.ICMPTypeEchoRequest // the kernel fills in the checksum
	}
	if b, err := m.Marshal(nil); err == nil {
		_, _ = e.conn.WriteTo(b, e.way.at(to))
	}
	return true
}

func (e *echoes) open(ctx context.Context) error {
	conn, err := e.way.echoSocket(ctx)
	if err != nil {
		return err
	}
	e.conn, e.id, e.waiting = conn, rand.IntN(1<<16), map[uint16]waiting{}
	e.others.Add(1)
	go func() {
		defer e.others.Done()
		e.receive(conn)
	}()
	return nil
}

// receive takes answers until the socket is closed.
func (e *echoes) receive(conn net.PacketConn) {
	protocol := ipv4.ICMPTypeEcho.Protocol()
	if e.way.Family == policy.V6 {
		protocol = ipv6.ICMPTypeEchoRequest.Protocol()
	}
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			if e.closed() {
				return
			}
			continue // an ICMP error about an earlier packet
		}
		m, err := icmp.ParseMessage(protocol, buf[:n])
		if err != nil || m.Type != ipv4.ICMPTypeEchoReply && m.Type != ipv6.ICMPTypeEchoReply {
			continue
		}
		if body, ok := m.Body.(*icmp.Echo); ok && body.ID == e.id {
			e.answered(uint16(body.Seq), from)
		}
	}
}

// answered tells the one who waits, if the answer comes from whom was asked.
func (e *echoes) answered(seq uint16, from net.Addr) {
	ip, ok := from.(*net.IPAddr)
	if !ok {
		return
	}
	a, _ := netip.AddrFromSlice(ip.IP)
	e.mu.Lock()
	w, ok := e.waiting[seq]
	if ok = ok && w.from.WithZone("") == a.Unmap(); ok {
		delete(e.waiting, seq)
	}
	e.mu.Unlock()
	if ok {
		w.answered(w.seq)
	}
}

func (e *echoes) closed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.conn == nil
}

func (e *echoes) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conn != nil {
		_ = e.conn.Close()
		e.conn = nil
	}
}
