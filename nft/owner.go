// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A program that runs for long can keep a table to itself: the kernel refuses what others want to change in it, and leaves it alone
// when they flush all tables (NFT_TABLE_F_OWNER, Linux 5.12). With NFT_TABLE_F_PERSIST (6.9) it stays when the program ends, and
// the next one can take it over. Only both together are of use here: a table that ends with its program would end forwarding.
//
// A table that has no such flags cannot get NFT_TABLE_F_PERSIST any more. The one that `enlace apply` made is replaced as a whole,
// once, when a program that keeps it comes. apply does not set the flag in advance, because nft older than 1.1 lists a
// table that has only this flag in a form that cannot be read, neither by nft itself nor as JSON.
const (
	dormant = 0x1 // NFT_TABLE_F_DORMANT: the chains see no packets
	owner   = 0x2 // NFT_TABLE_F_OWNER of linux/netfilter/nf_tables.h
	persist = 0x4 // NFT_TABLE_F_PERSIST
)

// tableOwner is NFTA_TABLE_OWNER of linux/netfilter/nf_tables.h.
const tableOwner = 7

// Keep makes the table ours alone from the next change on, until the connection is closed, and tells whether the kernel can do that.
// It asks the kernel with a transaction that cannot succeed.
func (c *Conn) Keep() (bool, error) {
	const probe = TableName + "-probe"
	b := newBatch()
	b.add(unix.NFT_MSG_NEWTABLE, netlink.Create, named("table", probe), func() {
		b.str(unix.NFTA_TABLE_NAME, probe)
		b.u32(unix.NFTA_TABLE_FLAGS, owner|persist)
	})
	b.delTable(probe + "-absent")
	err := c.commit(b)
	switch {
	case errors.Is(err, unix.ENOENT): // only the second message was refused
		c.keep = true
		return true, nil
	case errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL):
		return false, nil
	}
	return false, err
}

// Keeps tells whether Keep was called with success.
func (c *Conn) Keeps() bool { return c.keep }

// Port is the number by which the kernel knows the connection; notifications of what it changed carry it. It changes when an answer
// was lost. It may be asked for at any time.
func (c *Conn) Port() uint32 { return c.port.Load() }

// wantedFlags are those that a new table gets.
func (o *Observed) wantedFlags() uint32 {
	if o.keep {
		return owner | persist
	}
	return 0
}

// foreign is the port of a program that runs and keeps the table to itself, if there is one and it is not us.
func (o *Observed) foreign() uint32 {
	if o.exists && o.flags&owner != 0 && o.owner != o.port {
		return o.owner
	}
	return 0
}

// Refused says why the kernel would not take the change: another program keeps the table to itself.
func (ch *Change) Refused() error {
	if ch.Len() == 0 || ch.keeper == 0 {
		return nil
	}
	return keptBy(ch.keeper)
}

func keptBy(port uint32) error {
	return fmt.Errorf("nft: table inet %s belongs to another program that runs (netlink port %d, as a rule its process number): is it enlace watch? Then let it do the change, or stop it",
		TableName, port)
}

// Mine returns an error when another program that runs keeps the table to itself.
func (c *Conn) Mine() error {
	o := &Observed{port: c.Port()}
	if err := c.dump(unix.NFT_MSG_GETTABLE, nil, o.decodeTable); err != nil {
		return fmt.Errorf("nft: list tables: %w", explain(err))
	}
	if port := o.foreign(); port != 0 {
		return keptBy(port)
	}
	return nil
}

// claim takes the table over from a program that has ended, and wakes it when somebody put it to sleep.
func (d *differ) claim() {
	want := d.have.flags &^ dormant
	if d.have.keep {
		want |= owner
	}
	if want != d.have.flags {
		d.line("~ table inet %s: %s", TableName, map[bool]string{true: "awake again", false: "nobody else may change it"}[d.have.flags&dormant != 0])
		d.change.main.addTable(want)
	}
}
