// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/ti-mo/conntrack"
	"golang.org/x/sys/unix"
)

// Release makes the kernel forget the flows whose mark has a value under a mask, in one call. Their next packets are decided
// anew. It is for marks that no longer mean what they meant; call it when everything else is in place.
func Release(mark, mask uint32) error {
	return release(conntrack.NewFilter().Mark(mark).MarkMask(mask))
}

// ReleaseUntranslated makes the kernel forget the flows with a mark, as in Release, that nobody translates. Connection tracking decides on
// translation once for a flow: those that began without the table would leave untranslated for good. They have no mark, or, when
// they were not answered yet, that of a link by now. Kernels that cannot filter by status (before 5.15) forget the translated ones, too.
func ReleaseUntranslated(mark, mask uint32) error {
	nat := uint32(conntrack.StatusSrcNAT | conntrack.StatusDstNAT)
	return release(conntrack.NewFilter().Mark(mark).MarkMask(mask).Status(0).StatusMask(nat))
}

func release(filter conntrack.Filter) error {
	return withConntrack(func(t *conntrack.Conn) error { return t.FlushFilter(filter) })
}

// ReleaseAddress makes the kernel forget those flows with a mark, as in Release, that are seen outside under an address: it is not ours
// any more. The kernel itself forgets what it masquerades (nf_nat_masquerade.c), but not what came in to the address.
func ReleaseAddress(address netip.Addr, mark, mask uint32) error {
	return withConntrack(func(t *conntrack.Conn) error {
		flows, err := t.DumpFilter(conntrack.NewFilter().Mark(mark).MarkMask(mask), nil)
		if err != nil {
			return err
		}
		for _, f := range flows {
			if f.TupleReply.IP.DestinationAddress != address && f.TupleOrig.IP.DestinationAddress != address {
				continue
			}
			if err := t.Delete(f); err != nil && !errors.Is(err, unix.ENOENT) {
				return err
			}
		}
		return nil
	})
}

func withConntrack(f func(*conntrack.Conn) error) error {
	t, err := conntrack.Dial(nil)
	if err != nil {
		return fmt.Errorf("rtnl: open conntrack: %w", explain(err))
	}
	if err = errors.Join(f(t), t.Close()); err != nil {
		return fmt.Errorf("rtnl: release flows: %w", explain(err))
	}
	return nil
}
