// SPDX-License-Identifier: Apache-2.0

package lang

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"enlace/policy"
)

// protocolNumbers are the protocols that a policy may call by name (IANA's registry of protocol numbers).
var protocolNumbers = map[string]policy.Protocol{
	"icmp": 1, "igmp": 2, "tcp": policy.TCP, "udp": policy.UDP, "dccp": policy.DCCP, "ipv6": 41, "gre": 47, "esp": 50, "ah": 51,
	"icmpv6": 58, "ospf": 89, "sctp": policy.SCTP, "udplite": policy.UDPLite,
}

// hasPorts tells whether packets of the protocol begin with source and destination port.
func hasPorts(p policy.Protocol) bool {
	switch p {
	case policy.TCP, policy.UDP, policy.DCCP, policy.SCTP, policy.UDPLite:
		return true
	}
	return false
}

// protocols reads one protocol or several, by name or number.
func (d *decoder) protocols(out *[]policy.Protocol) reader {
	return func(a *hclsyntax.Attribute) {
		var names []string
		for name := range protocolNumbers {
			names = append(names, name)
		}
		for _, v := range d.elements(a) {
			if v.Type() == cty.String {
				if p, ok := protocolNumbers[v.AsString()]; ok {
					*out = append(*out, p)
					continue
				}
			}
			n, err := wholeOf(v)
			switch {
			case err == nil && n >= 1 && n <= 255:
				*out = append(*out, policy.Protocol(n))
			case v.Type() == cty.String:
				d.fail(a.Expr.Range(), "Unknown protocol", "No protocol is called %q.%s Numbers from 1 to 255 are fine too.", v.AsString(), hint(v.AsString(), names))
			default:
				d.fail(a.Expr.Range(), "Unknown protocol", "%q wants a protocol's name in quotes, such as \"tcp\", or a number from 1 to 255.", a.Name)
			}
		}
	}
}

// ports reads ports, ranges of ports and names of services.
func (d *decoder) ports(b *hclsyntax.Block, out *[]policy.PortRange) reader {
	return func(a *hclsyntax.Attribute) {
		for _, v := range d.elements(a) {
			r, err := portRange(v, d.serviceNetwork(b))
			if err != nil {
				d.fail(a.Expr.Range(), "Unusable port", "%s.", capital(err.Error()))
				continue
			}
			*out = append(*out, r)
		}
	}
}

func (d *decoder) forwardPort(b *hclsyntax.Block, out *uint16) reader {
	return func(a *hclsyntax.Attribute) {
		v, ok := d.eval(a)
		if !ok {
			return
		}
		if v.Type() != cty.Number && v.Type() != cty.String {
			d.fail(a.Expr.Range(), "One port wanted", "%q of a %s is one port. Write a block for each.", a.Name, b.Type)
			return
		}
		r, err := portRange(v, d.serviceNetwork(b))
		switch {
		case err != nil:
			d.fail(a.Expr.Range(), "Unusable port", "%s.", capital(err.Error()))
		case r.First != r.Last:
			d.fail(a.Expr.Range(), "One port wanted", "%q of a %s is one port. Write a block for each.", a.Name, b.Type)
		default:
			*out = r.First
		}
	}
}

// serviceNetwork is the protocol under which names of services are looked up: the block's own, or tcp.
func (d *decoder) serviceNetwork(b *hclsyntax.Block) string {
	if a := b.Body.Attributes["protocol"]; a != nil {
		if v, diags := a.Expr.Value(d.scope.context()); !diags.HasErrors() && v.IsWhollyKnown() && !v.IsNull() && v.Type() == cty.String {
			if name := v.AsString(); name == "udp" {
				return name
			}
		}
	}
	return "tcp"
}

// portRange is a port, a range "1000-2000" or a service such as "smtp". Services are those of /etc/services; nothing is
// asked over the network.
func portRange(v cty.Value, network string) (policy.PortRange, error) {
	if n, err := wholeOf(v); err == nil {
		if n < 1 || n > 65535 {
			return policy.PortRange{}, fmt.Errorf("%d is not a port; ports go from 1 to 65535", n)
		}
		return policy.PortRange{First: uint16(n), Last: uint16(n)}, nil
	}
	if v.Type() != cty.String {
		return policy.PortRange{}, fmt.Errorf(`a port is a number, a range such as "1000-2000", or a service such as "smtp"`)
	}
	text := v.AsString()
	if first, last, ok := strings.Cut(text, "-"); ok {
		a, errA := strconv.ParseUint(strings.TrimSpace(first), 10, 16)
		b, errB := strconv.ParseUint(strings.TrimSpace(last), 10, 16)
		if errA == nil && errB == nil {
			if a < 1 || a > b {
				return policy.PortRange{}, fmt.Errorf("%q is not a range of ports: the first is at least 1 and not above the last", text)
			}
			return policy.PortRange{First: uint16(a), Last: uint16(b)}, nil
		}
	}
	n, err := net.DefaultResolver.LookupPort(context.Background(), network, text)
	if err != nil || n == 0 {
		return policy.PortRange{}, fmt.Errorf(`%q is neither a port, nor a range such as "1000-2000", nor a %s service known to this host`, text, network)
	}
	return policy.PortRange{First: uint16(n), Last: uint16(n)}, nil
}

// addrPort gives an address that was written without a port the given one.
func addrPort(a netip.AddrPort, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr(), port)
}
