// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Conn is a connection to nftables in one network namespace. It is not safe for concurrent use.
type Conn struct {
	nl   *netlink.Conn
	port atomic.Uint32
	// broken: an answer may be missing, or one too many under way. The next use begins with a new connection.
	broken bool
	keep   bool // the table is to be ours alone
	// Writes counts the messages that changed something since the connection was opened.
	Writes int
}

// Open connects to nftables in the network namespace of the calling thread. It fails with a message for people when the
// kernel has no nftables or the caller may not use it.
func Open() (*Conn, error) {
	c := &Conn{}
	if err := c.dial(); err != nil {
		return nil, err
	}
	// A kernel without nf_tables accepts the socket and refuses the first message.
	if _, err := c.nl.Execute(message(unix.NFT_MSG_GETGEN, 0, nil)); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("nft: %w", explain(err))
	}
	return c, nil
}

func (c *Conn) dial() error {
	nl, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("nft: open netlink: %w", explain(err))
	}
	_ = nl.SetOption(netlink.ExtendedAcknowledge, true)
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

// Close ends the connection. The table stays.
func (c *Conn) Close() error { return c.nl.Close() }

// ErrUnsupported says that the kernel has no nftables, or not what enlace needs of it.
var ErrUnsupported = errors.New("the kernel has no nftables (CONFIG_NF_TABLES_INET; on Debian it is in every kernel): load nf_tables, or use a kernel that has it")

// explain puts what the kernel's error numbers mean here into words.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		return fmt.Errorf("not permitted: enlace needs root, or CAP_NET_ADMIN (%w)", err)
	case errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w (%w)", ErrUnsupported, err)
	}
	return err
}

// answerTime is how long the kernel may take for a transaction. A hundred thousand elements take less than a second.
const answerTime = 30 * time.Second

// commit sends a batch as one transaction. When the kernel refuses any message nothing of it is done, and the error says
// what the message was about.
func (c *Conn) commit(b *batch) error {
	if b.empty() {
		return nil
	}
	msgs := make([]netlink.Message, 0, len(b.msgs)+2)
	msgs = append(msgs, fence(unix.NFNL_MSG_BATCH_BEGIN))
	msgs = append(msgs, b.msgs...)
	msgs = append(msgs, fence(unix.NFNL_MSG_BATCH_END))
	last := len(msgs) - 2
	msgs[last].Header.Flags |= netlink.Acknowledge
	if err := c.heal(); err != nil {
		return err
	}
	c.room(msgs)
	sent, err := c.nl.SendMessages(msgs)
	if errors.Is(err, unix.EMSGSIZE) {
		return fmt.Errorf("nft: this change is larger than a socket may send here: raise net.core.wmem_max on the host, or run enlace outside of a user namespace (%w)", err)
	}
	if err != nil {
		c.broken = true
		return fmt.Errorf("nft: send: %w", err)
	}
	if err := c.answers(b, sent, last); err != nil {
		return err
	}
	c.Writes += len(b.msgs)
	return nil
}

// answers waits for the acknowledgement of the last message. Every message that the kernel refuses is answered too; the
// first one is the cause.
func (c *Conn) answers(b *batch, sent []netlink.Message, last int) error {
	_ = c.nl.SetReadDeadline(time.Now().Add(answerTime))
	defer func() { _ = c.nl.SetReadDeadline(time.Time{}) }()
	first, final := sent[0].Header.Sequence, sent[last].Header.Sequence
	var refused error
	for {
		replies, err := c.nl.Receive()
		if err != nil {
			var op *netlink.OpError
			if !errors.As(err, &op) || op.Sequence == 0 {
				// An answer was lost: whatever comes next would be taken for the answer to something else.
				c.broken = true
				return fmt.Errorf("nft: receive: %w", err)
			}
			if refused == nil {
				refused = refusal(b, op, first)
			}
			if op.Sequence == first {
				// The commit itself failed; what else was answered is still under way.
				c.broken = true
				return refused
			}
			if op.Sequence == final {
				return refused
			}
			continue
		}
		for _, r := range replies {
			if r.Header.Sequence == final {
				return refused
			}
		}
	}
}

// refusal names the object that the kernel did not accept.
func refusal(b *batch, op *netlink.OpError, first uint32) error {
	at := int(op.Sequence) - int(first) - 1
	if at < 0 || at >= len(b.about) {
		return fmt.Errorf("nft: commit: %w", explain(op))
	}
	return fmt.Errorf("nft: the kernel refused %s: %w", b.about[at](), op)
}

// fence begins or ends a batch; the resource is the subsystem, in network byte order (linux/netfilter/nfnetlink.h).
func fence(typ int) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(typ), Flags: netlink.Request},
		Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES},
	}
}

// room makes the socket's send buffer large enough: the kernel takes a batch only as one datagram.
func (c *Conn) room(msgs []netlink.Message) {
	size := 0
	for _, m := range msgs {
		size += len(m.Data) + 20
	}
	if size > 100_000 {
		_ = c.nl.SetWriteBuffer(2 * size)
	}
}

// dump asks for all objects of a kind; filter adds the attributes that restrict them. An interrupted dump is repeated: the
// table changed while it was read.
func (c *Conn) dump(typ int, filter func(*netlink.AttributeEncoder), each func(*netlink.AttributeDecoder) error) error {
	var lastErr error
	for range 5 {
		lastErr = c.dumpOnce(typ, filter, each)
		if !errors.Is(lastErr, unix.EINTR) {
			return lastErr
		}
	}
	return lastErr
}
