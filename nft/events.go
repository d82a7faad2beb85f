// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Event is a change of our table that somebody else made.
type Event struct {
	what int // a message type of linux/netfilter/nf_tables.h
	// Lost says that the kernel had more to tell than the socket could hold: anything may have changed.
	Lost bool
}

// Events tells what others change in our table.
type Events struct {
	nl  *netlink.Conn
	own func() uint32
}

// Subscribe begins to listen in the network namespace of the calling thread. What the connection with the port own changes is not
// told. The socket holds buffer bytes of messages that were not read yet.
func Subscribe(own func() uint32, buffer int) (*Events, error) {
	nl, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("nft: open netlink: %w", explain(err))
	}
	_ = nl.SetReadBuffer(buffer)
	if err := nl.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		return nil, errors.Join(fmt.Errorf("nft: listen: %w", explain(err)), nl.Close())
	}
	return &Events{nl: nl, own: own}, nil
}

// Close ends listening; Receive returns an error then.
func (e *Events) Close() error { return e.nl.Close() }

// Receive waits for changes. There may be none of our table in what it read.
func (e *Events) Receive() ([]Event, error) {
	msgs, err := e.nl.Receive()
	if errors.Is(err, unix.ENOBUFS) {
		return []Event{{Lost: true}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("nft: listen: %w", err)
	}
	var out []Event
	for _, m := range msgs {
		if m.Header.PID != e.own() && aboutTable(m) {
			out = append(out, Event{what: int(m.Header.Type & 0xff)})
		}
	}
	return out, nil
}

// nameOfTable is the attribute that has the name of the table, the same number in messages about tables (NFTA_TABLE_NAME), chains,
// rules, sets and elements.
const nameOfTable = unix.NFTA_TABLE_NAME

// aboutTable tells whether a message is about our table.
func aboutTable(m netlink.Message) bool {
	if len(m.Data) < 4 || m.Data[0] != unix.NFPROTO_INET || m.Header.Type&0xff == unix.NFT_MSG_NEWGEN {
		return false
	}
	ad, err := netlink.NewAttributeDecoder(m.Data[4:])
	if err != nil {
		return false
	}
	ad.ByteOrder = binary.BigEndian
	for ad.Next() {
		if ad.Type() == nameOfTable {
			return ad.String() == TableName
		}
	}
	return false
}

// String says what happened, for people.
func (e Event) String() string {
	if e.Lost {
		return "events of nftables were lost"
	}
	switch e.what {
	case unix.NFT_MSG_DELTABLE:
		return "table inet " + TableName + " removed"
	case unix.NFT_MSG_DELCHAIN, unix.NFT_MSG_DELRULE, unix.NFT_MSG_DELSET, unix.NFT_MSG_DELSETELEM:
		return "something removed from table inet " + TableName
	}
	return "table inet " + TableName + " changed"
}
