// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/binary"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

const lossTable = "loss"

// Lose makes the provider lose so many percent of the packets that come to it or that it sends itself, by chance; 100 is a silent death, in
// which only ARP is still answered; 0 ends it.
func (i *ISP) Lose(percent int) error {
	return i.lossy(func(c *nftables.Conn, t *nftables.Table, chain *nftables.Chain) {
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: append(byChance(percent), &expr.Verdict{Kind: expr.VerdictDrop})})
	}, percent > 0)
}

// Mute makes the provider drop what goes to some addresses, or comes from them: hosts behind it that are switched off.
func (i *ISP) Mute(hosts ...[]byte) error {
	return i.lossy(func(c *nftables.Conn, t *nftables.Table, chain *nftables.Chain) {
		for _, h := range hosts {
			for _, offset := range []uint32{12, 16} {
				c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: []expr.Any{
					&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
					&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.NFPROTO_IPV4}},
					&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
					&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: h},
					&expr.Verdict{Kind: expr.VerdictDrop},
				}})
			}
		}
	}, len(hosts) > 0)
}

// byChance matches so many percent of packets.
func byChance(percent int) []expr.Any {
	return []expr.Any{
		&expr.Numgen{Register: 1, Modulus: 100, Type: unix.NFT_NG_RANDOM},
		&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: binary.BigEndian.AppendUint32(nil, uint32(percent))},
	}
}

// lossy replaces what the provider drops.
func (i *ISP) lossy(rules func(*nftables.Conn, *nftables.Table, *nftables.Chain), some bool) error {
	return i.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		t := &nftables.Table{Family: nftables.TableFamilyINet, Name: lossTable}
		c.AddTable(t)
		c.DelTable(t)
		if some {
			c.AddTable(t)
			for name, hook := range map[string]*nftables.ChainHook{"in": nftables.ChainHookPrerouting, "out": nftables.ChainHookOutput} {
				rules(c, t, c.AddChain(&nftables.Chain{
					Table: t, Name: name, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityRaw,
				}))
			}
		}
		return c.Flush()
	})
}
