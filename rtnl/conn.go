// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Conn is a connection to rtnetlink in the network namespace of the thread that opened it. It is not safe for concurrent use.
type Conn struct {
	nl   *netlink.Conn
	port atomic.Uint32
	// broken: an answer may be missing, or one too many under way. The next use begins with a new connection.
	broken bool
	// Writes counts the messages that changed something since the connection was opened.
	Writes int
}

// Open connects to rtnetlink.
func Open() (*Conn, error) {
	c := &Conn{}
	return c, c.dial()
}

func (c *Conn) dial() error {
	// Strict checking makes the kernel filter dumps by what the request says, instead of sending everything.
	nl, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{Strict: true})
	if err != nil {
		return fmt.Errorf("rtnl: open netlink: %w", err)
	}
	c.nl = nl
	c.port.Store(nl.PID())
	c.broken = false
	return nil
}

// heal makes a new connection when the old one cannot be trusted.
func (c *Conn) heal() error {
	if !c.broken {
		return nil
	}
	_ = c.nl.Close()
	return c.dial()
}

// answered tells whether an error is the kernel's answer to a message, and not that none came.
func answered(err error) bool {
	var op *netlink.OpError
	return errors.As(err, &op) && op.Sequence != 0
}

// Close ends the connection.
func (c *Conn) Close() error { return c.nl.Close() }

// Port is the number by which the kernel knows the connection; notifications of what it changed carry it. It changes when an answer
// was lost. It may be asked for at any time.
func (c *Conn) Port() uint32 { return c.port.Load() }

// ErrUnsteady says that the host's network changed so fast that no list of it could be read as a whole.
var ErrUnsteady = errors.New("the network changes faster than it can be read")

// dump lists objects, again while they change meanwhile: an interrupted list lacks objects that are there.
func (c *Conn) dump(typ netlink.HeaderType, filter []byte) ([]netlink.Message, error) {
	request := netlink.Message{Header: netlink.Header{Type: typ, Flags: netlink.Request | netlink.Dump}, Data: filter}
	for range 5 {
		if err := c.heal(); err != nil {
			return nil, err
		}
		msgs, err := c.nl.Execute(request)
		c.broken = err != nil && !answered(err)
		interrupted := slices.ContainsFunc(msgs, func(m netlink.Message) bool { return m.Header.Flags&netlink.DumpInterrupted != 0 })
		if err != nil || !interrupted {
			return msgs, err
		}
	}
	return nil, ErrUnsteady
}

// explain puts what the kernel's error numbers mean here into words.
func explain(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("not permitted: enlace needs root, or CAP_NET_ADMIN (%w)", err)
	}
	return err
}
