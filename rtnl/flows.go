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
	t, err := conntrack.Dial(nil)
	if err != nil {
		return fmt.Errorf("rtnl: open conntrack: %w", explain(err))
	}
	err = t.FlushFilter(conntrack.NewFilter().Mark(mark).MarkMask(mask))
	if err = errors.Join(err, t.Close()); err != nil {
		return fmt.Errorf("rtnl: release flows with mark 0x%08x/0x%08x: %w", mark, mask, explain(err))
	}
	c.Writes++
	return nil
}
