// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// request is one message and what it is about.
type request struct {
	netlink.Message
	about   fmt.Stringer
	ignore  unix.Errno // an answer that is as good as success
	advice  func() error
	removal bool
}

// Add makes everything of the change that adds or replaces: routes first, because rules lead to them. All messages go to the
// kernel in one system call. When some are refused the others are done: the caller undoes them.
func (c *Conn) Add(ch Change, protocol uint8) error {
	var list []request
	for _, r := range ch.AddRoutes {
		data, err := r.message(protocol).MarshalBinary()
		if err != nil {
			return fmt.Errorf("rtnl: %s: %w", r, err)
		}
		// A new route must not replace one of somebody else, which has the same key and another protocol number.
		flags := netlink.Create | netlink.Replace
		if ch.NewRoutes[r.Key] {
			flags = netlink.Create | netlink.Excl
		}
		list = append(list, request{Message: to(unix.RTM_NEWROUTE, flags, data), about: r, advice: r.inTheWay})
	}
	for _, r := range ch.AddRules {
		data, err := r.encode()
		if err != nil {
			return fmt.Errorf("rtnl: %s: %w", r, err)
		}
		list = append(list, request{Message: to(unix.RTM_NEWRULE, netlink.Create|netlink.Excl, data), about: r, ignore: unix.EEXIST})
	}
	return c.send(list)
}

// Remove makes everything of the change that removes: rules first, so that none leads to a table that is empty. What is
// gone already is fine.
func (c *Conn) Remove(ch Change, protocol uint8) error {
	var list []request
	for _, r := range ch.DelRules {
		data, err := r.encode()
		if err != nil {
			return fmt.Errorf("rtnl: %s: %w", r, err)
		}
		list = append(list, request{Message: to(unix.RTM_DELRULE, 0, data), about: r, ignore: unix.ENOENT, removal: true})
	}
	for _, r := range ch.DelRoutes {
		data, err := r.message(protocol).MarshalBinary()
		if err != nil {
			return fmt.Errorf("rtnl: %s: %w", r, err)
		}
		list = append(list, request{Message: to(unix.RTM_DELROUTE, 0, data), about: r, ignore: unix.ESRCH, removal: true})
	}
	return c.send(list)
}

// inTheWay says what EEXIST means for a new route.
func (r Route) inTheWay() error {
	return fmt.Errorf("rtnl: table %d already has a route to %s that is not enlace's; remove it, or give the link or group another table", r.Table, r.Dest)
}

func to(typ netlink.HeaderType, flags netlink.HeaderFlags, data []byte) netlink.Message {
	return netlink.Message{Header: netlink.Header{Type: typ, Flags: netlink.Request | flags}, Data: data}
}

// perCall is how many messages go to the kernel in one system call. Their answers, if all were refused, fit into the
// receive buffer.
const perCall = 64

// send writes messages. It returns the first true refusal of each call; what comes after one is sent all the same.
func (c *Conn) send(list []request) error {
	var errs []error
	for len(list) > 0 {
		part := list[:min(perCall, len(list))]
		list = list[len(part):]
		if err := c.heal(); err != nil {
			return errors.Join(append(errs, err)...)
		}
		errs = append(errs, c.sendPart(part))
	}
	return errors.Join(errs...)
}

// answerTime is how long the kernel may take.
const answerTime = 10 * time.Second

// sendPart writes messages in one call. Only the last asks for an acknowledgement; the kernel answers the others when it
// refuses them, in their order.
func (c *Conn) sendPart(part []request) error {
	msgs := make([]netlink.Message, len(part))
	for i, r := range part {
		msgs[i] = r.Message
	}
	last := len(msgs) - 1
	msgs[last].Header.Flags |= netlink.Acknowledge
	sent, err := c.nl.SendMessages(msgs)
	if err != nil {
		c.broken = true
		return fmt.Errorf("rtnl: send: %w", err)
	}
	c.Writes += len(part)
	_ = c.nl.SetReadDeadline(time.Now().Add(answerTime))
	defer func() { _ = c.nl.SetReadDeadline(time.Time{}) }()
	first, final := sent[0].Header.Sequence, sent[last].Header.Sequence
	var refused error
	for {
		replies, err := c.nl.Receive()
		var op *netlink.OpError
		switch {
		case errors.As(err, &op) && op.Sequence-first < uint32(len(part)):
			if r := part[op.Sequence-first]; !errors.Is(op.Err, r.ignore) && refused == nil {
				refused = r.refusal(op)
			}
			if op.Sequence == final {
				return refused
			}
		case err != nil:
			// An answer was lost: whatever comes next would be taken for the answer to something else.
			c.broken = true
			return errors.Join(refused, fmt.Errorf("rtnl: receive: %w", err))
		case len(replies) > 0 && replies[len(replies)-1].Header.Sequence == final:
			return refused
		}
	}
}

// refusal says what the kernel did not do.
func (r request) refusal(op *netlink.OpError) error {
	if r.advice != nil && errors.Is(op.Err, unix.EEXIST) {
		return r.advice()
	}
	verb := ""
	if r.removal {
		verb = "remove "
	}
	return fmt.Errorf("rtnl: %s%s: %w", verb, r.about, explain(op))
}
