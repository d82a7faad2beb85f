// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"fmt"

	"github.com/ti-mo/conntrack"
)

// Release makes the kernel forget the flows whose mark has a value under a mask, in one call. Their next packets are decided
// anew. It is for marks that no longer mean what they meant; call it when everything else is in place.
func (c *Conn) Release(mark, mask uint32) error {
	return c.release(conntrack.NewFilter().Mark(mark).MarkMask(mask))
}

// ReleaseUntranslated makes the kernel forget the flows that nobody translates. Connection tracking decides on translation once for
// a flow: those that began before the table would leave untranslated for good. Whatever their mark: unanswered ones have got a
// number from the table by now. Kernels that cannot filter by status forget all flows.
func (c *Conn) ReleaseUntranslated() error {
	nat := uint32(conntrack.StatusSrcNAT | conntrack.StatusDstNAT)
	return c.release(conntrack.NewFilter().Status(0).StatusMask(nat))
}

func (c *Conn) release(filter conntrack.Filter) error {
	t, err := conntrack.Dial(nil)
	if err != nil {
		return fmt.Errorf("rtnl: open conntrack: %w", explain(err))
	}
	err = t.FlushFilter(filter)
	if err = errors.Join(err, t.Close()); err != nil {
		return fmt.Errorf("rtnl: release flows: %w", explain(err))
	}
	c.Writes++
	return nil
}
