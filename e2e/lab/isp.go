// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// ISP is a provider. It forwards between its customer and the internet, and drops and counts what the customer sends from
// an address that is not of the provider's network, as real ones do.
type ISP struct {
	Name      string
	Interface string // of the router
	*Namespace
	Networks []netip.Prefix // the customer's, one for each family: its first address is the gateway, the second the router's
	dynamic  bool           // the router's side is left to a DHCP client
	counted  uint64         // by earlier filters
}

// Names of a provider's interfaces.
const (
	customerSide = "customer"
	internetSide = "internet"
)

// Gateway is the provider's address in a family, for the router.
func (i *ISP) Gateway(v6 bool) netip.Addr { return i.nth(v6, 1).Addr() }

// Address is the router's address at this provider, with its network.
func (i *ISP) Address(v6 bool) netip.Prefix { return i.nth(v6, 2) }

// nth is the n-th address of the customer's network.
func (i *ISP) nth(v6 bool, n int) netip.Prefix {
	for _, p := range i.Networks {
		if p.Addr().Is6() == v6 {
			a := p.Addr()
			for range n {
				a = a.Next()
			}
			return netip.PrefixFrom(a, p.Bits())
		}
	}
	return netip.Prefix{}
}

// Owns tells whether an address belongs to the provider's network.
func (i *ISP) Owns(a netip.Addr) bool {
	for _, p := range i.Networks {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

const (
	ispTable     = "isp"
	foreignCount = "foreign"
)

// filter installs the check of the customer's source addresses, and a counter of what it dropped. What an earlier one has counted is
// not forgotten.
func (i *ISP) filter() error {
	if n, err := i.Foreign(); err == nil {
		i.counted = n
	}
	return i.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		t := &nftables.Table{Family: nftables.TableFamilyINet, Name: ispTable}
		c.AddTable(t)
		c.DelTable(t)
		c.AddTable(t)
		c.AddObj(&nftables.CounterObj{Table: t, Name: foreignCount})
		chain := c.AddChain(&nftables.Chain{
			Table: t, Name: "customer", Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRaw,
		})
		name := make([]byte, unix.IFNAMSIZ)
		copy(name, customerSide)
		from := []expr.Any{
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
		}
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: append(append([]expr.Any{}, from...), toDHCP()...)})
		for _, p := range append([]netip.Prefix{
			netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("::/128"), // neighbour discovery
		}, i.Networks...) {
			c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: append(append([]expr.Any{}, from...), sourceIn(p)...)})
		}
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: append(append([]expr.Any{}, from...),
			&expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: foreignCount}, &expr.Verdict{Kind: expr.VerdictDrop})})
		return c.Flush()
	})
}

// toDHCP accepts what a client sends to a DHCP server, from no address or from one that it had.
func toDHCP() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0, 67}},
		&expr.Verdict{Kind: expr.VerdictAccept},
	}
}

// sourceIn accepts packets with a source in a prefix.
func sourceIn(p netip.Prefix) []expr.Any {
	proto, offset, size := byte(unix.NFPROTO_IPV4), uint32(12), 4
	if p.Addr().Is6() {
		proto, offset, size = unix.NFPROTO_IPV6, 8, 16
	}
	mask := make([]byte, size)
	for b := range p.Bits() {
		mask[b/8] |= 0x80 >> (b % 8)
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(size)},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: uint32(size), Mask: mask, Xor: make([]byte, size)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Addr().AsSlice()},
		&expr.Verdict{Kind: expr.VerdictAccept},
	}
}

// Foreign is how many packets the provider dropped because their source was not one of its addresses.
func (i *ISP) Foreign() (uint64, error) {
	var packets uint64
	err := i.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		t := &nftables.Table{Family: nftables.TableFamilyINet, Name: ispTable}
		obj, err := c.GetObject(&nftables.CounterObj{Table: t, Name: foreignCount})
		if err != nil {
			return err
		}
		counter, ok := obj.(*nftables.CounterObj)
		if !ok {
			return fmt.Errorf("unexpected object %T", obj)
		}
		packets = counter.Packets
		return nil
	})
	return i.counted + packets, err
}

// addresses gives the provider its side of the customer's networks.
func (i *ISP) addresses() error {
	var errs []error
	for _, p := range i.Networks {
		errs = append(errs, i.AddAddress(customerSide, i.nth(p.Addr().Is6(), 1)))
	}
	return errors.Join(errs...)
}

// Unplug pulls the cable out of the router's interface, which loses its carrier.
func (i *ISP) Unplug() error { return i.Down(customerSide) }

// PlugIn puts it back. The provider's IPv6 addresses went when its side was switched off.
func (i *ISP) PlugIn() error {
	errs := []error{i.Up(customerSide)}
	for _, p := range i.Networks {
		if p.Addr().Is6() {
			errs = append(errs, i.AddAddress(customerSide, i.nth(true, 1)))
		}
	}
	return errors.Join(errs...)
}
