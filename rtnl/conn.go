// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"fmt"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Conn is a connection to rtnetlink in the network namespace of the thread that opened it. It is not safe for concurrent use.
type Conn struct {
	rt    *rtnetlink.Conn
	rules *netlink.Conn
	// Writes counts the messages that changed something since the connection was opened.
	Writes int
}

// Open connects to rtnetlink.
func Open() (*Conn, error) {
	// Strict checking makes the kernel filter dumps by what the request says, instead of sending everything.
	rt, err := rtnetlink.Dial(&netlink.Config{Strict: true})
	if err != nil {
		return nil, fmt.Errorf("rtnl: open netlink: %w", err)
	}
	rules, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{Strict: true})
	if err != nil {
		_ = rt.Close()
		return nil, fmt.Errorf("rtnl: open netlink: %w", err)
	}
	return &Conn{rt: rt, rules: rules}, nil
}

// Close ends the connection.
func (c *Conn) Close() error { return errors.Join(c.rt.Close(), c.rules.Close()) }

// explain puts what the kernel's error numbers mean here into words.
func explain(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("not permitted: enlace needs root, or CAP_NET_ADMIN (%w)", err)
	}
	return err
}
