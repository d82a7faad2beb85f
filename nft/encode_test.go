// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
	"net/netip"
	"testing"

	"enlace/policy"
)

// manyLinks is a plan with n links, each with a pinned network and a forward.
func manyLinks(n int) policy.Plan {
	p := policy.Policy{Settings: policy.DefaultSettings()}
	var f policy.Facts
	g := policy.Group{Name: "balanced"}
	for i := range n {
		name, device := fmt.Sprintf("l%d", i), fmt.Sprintf("wan%d", i)
		to := policy.Target{Kind: policy.ToLink, Name: name}
		p.Links = append(p.Links, policy.Link{Name: name, Interface: device, Masquerade: true, Gateway: [2]netip.Addr{netip.AddrFrom4([4]byte{100, 64, byte(i), 1})}})
		g.Members = append(g.Members, policy.Member{Link: name, Weight: 1})
		f.Interfaces = append(f.Interfaces, policy.Interface{Name: device, Index: i + 2, Up: true, Carrier: true, Addresses: []policy.Address{
			{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, byte(i), 2}), 24)},
		}})
		p.Rules = append(p.Rules, policy.Rule{Name: "r" + name, Via: to, Match: policy.Match{Protocols: []policy.Protocol{policy.TCP}, Ports: []policy.PortRange{{First: 25, Last: 25}}}})
		p.Forwards = append(p.Forwards, policy.Forward{Name: "f" + name, Links: []string{name}, Protocols: []policy.Protocol{policy.TCP}, Ports: policy.PortRange{First: 80, Last: 80}, To: netip.MustParseAddrPort("10.1.0.20:80")})
	}
	p.Groups = append(p.Groups, g)
	plan, _ := policy.Derive(p, f)
	return plan
}

// BenchmarkEncode makes the whole table of 64 links, from the plan to the messages.
func BenchmarkEncode(b *testing.B) {
	plan := manyLinks(64)
	b.ReportAllocs()
	for b.Loop() {
		d := differ{have: &Observed{}, want: Compile(plan), change: &Change{main: newBatch(), tidy: newBatch()}}
		d.diff()
	}
}
