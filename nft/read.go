// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strings"

	"enlace/policy"

	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Observed is the kernel's table, as far as it matters for comparing: rules by hash and handle.
type Observed struct {
	exists bool
	flags  uint32
	owner  uint32 // the netlink port of the program that keeps it to itself, if any does
	port   uint32 // ours
	keep   bool   // we want to keep it to ourselves
	chains map[string]*observedChain
	sets   map[string]*observedSet
	lists  map[string]content // what it says of the lists that are not read

	flowtables []*Flowtable
}

type observedChain struct {
	hook  *Hook
	drops bool // what no rule takes is dropped, which is not our policy
	rules []observedRule
}

type observedRule struct {
	hash    uint64 // 0: not made by us
	handle  uint64
	comment string
}

type observedSet struct {
	key, flags uint32
	count      int                    // of elements, -1 where the kernel does not tell
	elements   map[string]wireElement // by id; nil when they were not read
}

// Observe reads the kernel's table.
func (c *Conn) Observe() (*Observed, error) {
	o := &Observed{chains: map[string]*observedChain{}, sets: map[string]*observedSet{}, port: c.Port(), keep: c.keep}
	err := c.dump(unix.NFT_MSG_GETTABLE, nil, o.decodeTable)
	if err != nil {
		return nil, fmt.Errorf("nft: list tables: %w", explain(err))
	}
	if !o.exists {
		return o, nil
	}
	if err := errors.Join(c.readChains(o), c.readRules(o), c.readSets(o), c.readFlowtables(o)); err != nil {
		return nil, err
	}
	return o, nil
}

// decodeTable reads what the kernel says of a table, which may be another one.
func (o *Observed) decodeTable(ad *netlink.AttributeDecoder) error {
	name, flags, owner := "", uint32(0), uint32(0)
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_TABLE_NAME:
			name = ad.String()
		case unix.NFTA_TABLE_FLAGS:
			flags = ad.Uint32()
		case tableOwner:
			owner = ad.Uint32()
		}
	}
	if name == TableName {
		o.exists, o.flags, o.owner = true, flags, owner
	}
	return nil
}

// Numbers are the numbers of links that the table has at the moment, by name: living flows carry them.
func (o *Observed) Numbers(mask uint32) map[string]uint8 {
	numbers := map[string]uint8{}
	if flows := o.sets[flowsMap]; flows != nil {
		for _, w := range flows.elements {
			m := binary.NativeEndian.Uint32(w.key)
			for t, prefix := range onPrefix {
				if name, ok := strings.CutPrefix(w.verdict.Chain, prefix); ok && m&^mask == 0 {
					numbers[policy.NumberKey(name, policy.Tenure(t))] = uint8(m >> bits.TrailingZeros32(mask))
				}
			}
		}
	}
	return numbers
}

func (c *Conn) readChains(o *Observed) error {
	err := c.dump(unix.NFT_MSG_GETCHAIN, nil, func(ad *netlink.AttributeDecoder) error {
		table, name, chain := "", "", &observedChain{}
		for ad.Next() {
			switch ad.Type() {
			case unix.NFTA_CHAIN_TABLE:
				table = ad.String()
			case unix.NFTA_CHAIN_NAME:
				name = ad.String()
			case unix.NFTA_CHAIN_HOOK:
				chain.ensureHook()
				ad.Nested(chain.decodeHook)
			case unix.NFTA_CHAIN_POLICY:
				chain.drops = ad.Uint32() != nfAccept
			case unix.NFTA_CHAIN_TYPE:
				chain.ensureHook()
				chain.hook.Type = ad.String()
			}
		}
		if table == TableName {
			o.chains[name] = chain
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("nft: list chains: %w", err)
	}
	return nil
}

func (c *observedChain) ensureHook() {
	if c.hook == nil {
		c.hook = &Hook{}
	}
}

func (c *observedChain) decodeHook(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_HOOK_HOOKNUM:
			for name, n := range hookNumbers {
				if n == ad.Uint32() {
					c.hook.Point = name
				}
			}
		case unix.NFTA_HOOK_PRIORITY:
			c.hook.Priority = int(int32(ad.Uint32()))
		}
	}
	return nil
}

func (c *Conn) readRules(o *Observed) error {
	filter := func(ae *netlink.AttributeEncoder) { ae.String(unix.NFTA_RULE_TABLE, TableName) }
	err := c.dump(unix.NFT_MSG_GETRULE, filter, func(ad *netlink.AttributeDecoder) error {
		chain, r := "", observedRule{}
		for ad.Next() {
			switch ad.Type() {
			case unix.NFTA_RULE_CHAIN:
				chain = ad.String()
			case unix.NFTA_RULE_HANDLE:
				r.handle = ad.Uint64()
			case unix.NFTA_RULE_USERDATA:
				data := ad.Bytes()
				r.hash = hashIn(data)
				r.comment, _ = userdata.GetString(data, userdata.TypeComment)
			}
		}
		if to := o.chains[chain]; to != nil {
			to.rules = append(to.rules, r)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("nft: list rules: %w", err)
	}
	o.lists = map[string]content{}
	if lists := o.chains[listsChain]; lists != nil {
		for _, r := range lists.rules {
			if said, ok := contentOf(r.comment); ok && r.hash != 0 {
				o.lists[said.set] = said
			}
		}
	}
	return nil
}

// dumpOnce is one attempt of dump.
func (c *Conn) dumpOnce(typ int, filter func(*netlink.AttributeEncoder), each func(*netlink.AttributeDecoder) error) error {
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	if filter != nil {
		filter(ae)
	}
	data, err := ae.Encode()
	if err != nil {
		return err
	}
	if err := c.heal(); err != nil {
		return err
	}
	replies, err := c.nl.Execute(message(typ, netlink.Dump, data))
	c.broken = err != nil && !answered(err)
	if err != nil {
		return err
	}
	for _, r := range replies {
		if r.Header.Flags&netlink.DumpInterrupted != 0 {
			return unix.EINTR
		}
		if len(r.Data) < 4 || r.Data[0] != unix.NFPROTO_INET {
			continue
		}
		ad, err := netlink.NewAttributeDecoder(r.Data[4:])
		if err != nil {
			return err
		}
		ad.ByteOrder = binary.BigEndian
		if err := each(ad); err != nil {
			return err
		}
		if err := ad.Err(); err != nil {
			return err
		}
	}
	return nil
}
