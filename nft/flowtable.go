// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"enlace/policy"
)

// Flowtable is a table of established flows, in the ingress hooks of interfaces.
type Flowtable struct {
	Name    string
	Devices []string // sorted
}

// flowtable names it by its epoch: in another one it is another table, and flows of the old are seen by the hooks again.
func flowtable(f policy.Flowtable) *Flowtable {
	out := &Flowtable{Name: fmt.Sprintf("established_%08x", f.Epoch)}
	for _, d := range f.Devices {
		if !slices.Contains(out.Devices, d.Name) {
			out.Devices = append(out.Devices, d.Name)
		}
	}
	slices.Sort(out.Devices)
	return out
}

func (f *Flowtable) equal(other *Flowtable) bool {
	if f == nil || other == nil {
		return f == other
	}
	return f.Name == other.Name && slices.Equal(f.Devices, other.Devices)
}

func (f *Flowtable) text() string {
	quoted := make([]string, len(f.Devices))
	for i, d := range f.Devices {
		quoted[i] = strconv.Quote(d)
	}
	return fmt.Sprintf("\tflowtable %s {\n\t\thook ingress priority filter\n\t\tdevices = { %s }\n\t}\n\n", f.Name, strings.Join(quoted, ", "))
}

// Attributes of flowtables (linux/netfilter/nf_tables.h, NFTA_FLOWTABLE_ and so on).
const (
	flowtableTable = 1
	flowtableName  = 2
	flowtableHook  = 3
	hookNum        = 1
	hookPriority   = 2
	hookDevices    = 3
	deviceName     = 1
)

// ingress is NF_NETDEV_INGRESS of linux/netfilter.h, the only hook of flowtables.
const ingress = 0

func (b *batch) addFlowtable(table string, f *Flowtable) {
	b.add(unix.NFT_MSG_NEWFLOWTABLE, netlink.Create, named("flowtable", f.Name), func() {
		b.str(flowtableTable, table)
		b.str(flowtableName, f.Name)
		b.nest(flowtableHook, func() {
			b.u32(hookNum, ingress)
			b.u32(hookPriority, 0)
			b.nest(hookDevices, func() {
				for _, d := range f.Devices {
					b.str(deviceName, d)
				}
			})
		})
	})
}

func (b *batch) delFlowtable(name string) {
	b.add(unix.NFT_MSG_DELFLOWTABLE, 0, named("flowtable", name), func() {
		b.str(flowtableTable, TableName)
		b.str(flowtableName, name)
	})
}

// Before Linux 5.18 the kernel looked up the other direction of a flow without the packet's mark, and found another link's gateway (nft_flow_route
// in net/netfilter/nft_flow_offload.c, commit 3412e1641828).
const (
	routesByMarkMajor = 5
	routesByMarkMinor = 18
)

// Offloads tells whether the kernel has flowtables that can be used. It is asked with a transaction that cannot succeed: its last message makes a
// table that is there already. Loopback is an interface that every host has.
func (c *Conn) Offloads() (bool, error) {
	if older, _ := OlderThan(routesByMarkMajor, routesByMarkMinor); older {
		return false, nil
	}
	const probe = TableName + "-probe"
	b := newBatch()
	for _, flags := range []netlink.HeaderFlags{netlink.Create, 0, netlink.Create | netlink.Excl} {
		if flags == 0 {
			b.addFlowtable(probe, &Flowtable{Name: "probe", Devices: []string{"lo"}})
			continue
		}
		b.add(unix.NFT_MSG_NEWTABLE, flags, named("table", probe), func() {
			b.str(unix.NFTA_TABLE_NAME, probe)
			b.u32(unix.NFTA_TABLE_FLAGS, 0)
		})
	}
	err := c.commit(b)
	switch {
	case errors.Is(err, unix.EEXIST):
		return true, nil
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL):
		return false, nil
	}
	return false, err
}

// readFlowtables finds the table's flowtables. A kernel without any says that it does not know the question.
func (c *Conn) readFlowtables(o *Observed) error {
	err := c.dump(unix.NFT_MSG_GETFLOWTABLE, nil, func(ad *netlink.AttributeDecoder) error {
		table, f := "", &Flowtable{}
		for ad.Next() {
			switch ad.Type() {
			case flowtableTable:
				table = ad.String()
			case flowtableName:
				f.Name = ad.String()
			case flowtableHook:
				ad.Nested(f.decodeHook)
			}
		}
		if table == TableName {
			o.flowtables = append(o.flowtables, f)
		}
		return nil
	})
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("nft: list flowtables: %w", err)
	}
	return nil
}

func (f *Flowtable) decodeHook(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		if ad.Type() == hookDevices {
			ad.Nested(func(ad *netlink.AttributeDecoder) error {
				for ad.Next() {
					if ad.Type() == deviceName {
						f.Devices = append(f.Devices, ad.String())
					}
				}
				return nil
			})
		}
	}
	slices.Sort(f.Devices)
	return nil
}

// flowtable compares the flowtables. One that is to be another is removed with the change, with the rules that put flows into it, and the new
// one is made after it, with its rules: an interface cannot be in two flowtables, not even in one transaction (nf_tables_newflowtable in
// net/netfilter/nf_tables_api.c). In between flows go the long way. It returns the names of those to be removed.
func (d *differ) flowtables() (gone []string) {
	stays := false
	for _, f := range d.have.flowtables {
		if f.equal(d.want.Flowtable) {
			stays = true
			continue
		}
		d.line("- flowtable %s", f.Name)
		gone = append(gone, f.Name)
	}
	if stays || d.want.Flowtable == nil {
		return gone
	}
	d.line("+ flowtable %s { %s }", d.want.Flowtable.Name, strings.Join(d.want.Flowtable.Devices, ", "))
	d.change.late.addFlowtable(TableName, d.want.Flowtable)
	d.want.Chains = slices.Clone(d.want.Chains)
	for i, c := range d.want.Chains {
		if c.Name != bypassChain {
			continue
		}
		for _, r := range c.Rules {
			d.line("+ rule in %s: %s", c.Name, r)
			d.change.late.addRule(c.Name, r, r.identity(), 0)
		}
		d.want.Chains[i].Rules = nil
	}
	return gone
}

// bypass puts the packet's flow into a flowtable.
type bypass struct{ table string }

func (b bypass) text() string      { return "flow add @" + b.table }
func (b bypass) encode(e *encoder) { e.add(&expr.FlowOffload{Name: b.table}) }

// clamp makes the longest segment that a SYN announces no longer than that.
type clamp struct{ size uint16 }

func (c clamp) text() string { return fmt.Sprintf("tcp option maxseg size set %d", c.size) }

func (c clamp) encode(e *encoder) {
	e.add(&expr.Immediate{Register: 1, Data: net16(c.size)},
		&expr.Exthdr{SourceRegister: 1, Type: maxseg, Offset: 2, Len: 2, Op: expr.ExthdrOpTcpopt})
}

// maxseg is the kind of the TCP option (RFC 9293, section 3.2).
const maxseg = 2
