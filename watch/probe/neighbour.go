// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"enlace/policy"
)

// neighbour asks the gateway by ARP or neighbour discovery. Answers carry no number, so that one counts for the last question.
type neighbour struct {
	way    Way
	others *sync.WaitGroup

	mu       sync.Mutex
	open     bool
	request  func() error
	shut     func() error
	closed   bool
	last     uint32
	answered func(uint32)
}

func newNeighbour(w Way, others *sync.WaitGroup) *neighbour {
	return &neighbour{way: w, others: others}
}

func (n *neighbour) ask(_ context.Context, seq uint32, answered func(uint32)) bool {
	if !n.way.Ethernet || !n.way.Gateway.IsValid() {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || !n.open && n.listen() != nil {
		return false
	}
	n.last, n.answered = seq, answered
	_ = n.request()
	return true
}

// listen opens a socket and takes answers until it is closed.
func (n *neighbour) listen() error {
	i, err := net.InterfaceByIndex(n.way.Index)
	if err != nil {
		return err
	}
	var receive func() (bool, error)
	if n.way.Family == policy.V4 {
		receive, err = n.byARP(i)
	} else {
		receive, err = n.byDiscovery(i)
	}
	if err != nil {
		return err
	}
	n.open = true
	n.others.Add(1)
	go func() {
		defer n.others.Done()
		for {
			heard, err := receive()
			n.mu.Lock()
			closed, seq, answered := n.closed, n.last, n.answered
			n.mu.Unlock()
			if closed {
				return
			}
			if err == nil && heard && answered != nil {
				answered(seq)
			}
			if err != nil && !isPacketError(err) { // the interface was switched off, perhaps: the next question opens another
				n.reopen()
				return
			}
		}
	}()
	return nil
}

// reopen closes the socket, for the next question to open another.
func (n *neighbour) reopen() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.open && !n.closed {
		_ = n.shut()
	}
	n.open = false
}

// isPacketError tells errors about one packet from those of the socket.
func isPacketError(err error) bool {
	_, socket := err.(*net.OpError) //nolint:errorlint // wrapped ones are about packets
	return !socket
}

func (n *neighbour) byARP(i *net.Interface) (func() (bool, error), error) {
	filter, err := answersOf(n.way.Gateway)
	if err != nil {
		return nil, err
	}
	socket, err := packet.Listen(i, packet.Raw, unix.ETH_P_ARP, &packet.Config{Filter: filter})
	if err != nil {
		return nil, err
	}
	c, err := arp.New(i, socket)
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	n.shut = c.Close
	// The question names the link's own address: a provider's router does not answer to others that the interface may have.
	question, err := arp.NewPacket(arp.OperationRequest, i.HardwareAddr, n.way.Source, make(net.HardwareAddr, 6), n.way.Gateway)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	n.request = func() error { return c.WriteTo(question, ethernetBroadcast) }
	return func() (bool, error) {
		p, _, err := c.Read()
		return err == nil && p.Operation == arp.OperationReply && p.SenderIP == n.way.Gateway, err
	}, nil
}

// ethernetBroadcast is everybody on the wire.
var ethernetBroadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// answersOf lets pass ARP answers of one address only: a provider's network may be full of questions. The offsets are those of an Ethernet frame
// with ARP for IPv4 (RFC 826).
func answersOf(a netip.Addr) ([]bpf.RawInstruction, error) {
	b := a.As4()
	return bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 20, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(arp.OperationReply), SkipTrue: 3},
		bpf.LoadAbsolute{Off: 28, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(b[:]), SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	})
}

func (n *neighbour) byDiscovery(i *net.Interface) (func() (bool, error), error) {
	c, _, err := ndp.Listen(i, ndp.LinkLocal)
	if err != nil {
		return nil, err
	}
	n.shut = c.Close
	n.request = func() error {
		to, err := ndp.SolicitedNodeMulticast(n.way.Gateway)
		if err != nil {
			return err
		}
		return c.WriteTo(&ndp.NeighborSolicitation{
			TargetAddress: n.way.Gateway,
			Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: i.HardwareAddr}},
		}, nil, to)
	}
	return func() (bool, error) {
		m, _, _, err := c.ReadFrom()
		a, ok := m.(*ndp.NeighborAdvertisement)
		return err == nil && ok && a.TargetAddress == n.way.Gateway, err
	}, nil
}

func (n *neighbour) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.open && !n.closed {
		_ = n.shut()
	}
	n.closed = true
}

// gateway asks for an echo, and as long as none was ever answered, by ARP or neighbour discovery as well: some gateways answer to nothing
// else, but an echo says more.
type gateway struct {
	echo      echo
	neighbour *neighbour
	echoed    atomic.Bool
}

func (g *gateway) ask(ctx context.Context, seq uint32, answered func(uint32)) bool {
	asked := g.echo.ask(ctx, seq, func(seq uint32) {
		if !g.echoed.Swap(true) {
			g.neighbour.close() // what it hears is not needed any more
		}
		answered(seq)
	})
	if !g.echoed.Load() {
		asked = g.neighbour.ask(ctx, seq, func(seq uint32) {
			if !g.echoed.Load() {
				answered(seq)
			}
		}) || asked
	}
	return asked
}

func (g *gateway) close() { g.neighbour.close() }
