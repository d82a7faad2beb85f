// SPDX-License-Identifier: Apache-2.0

package lang

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"go4.org/netipx"

	"enlace/policy"
)

// addressOf is the address in a value.
func addressOf(v cty.Value) (netip.Addr, error) {
	if v.Type() != cty.String {
		return netip.Addr{}, errors.New("an address goes in quotes")
	}
	a, err := netip.ParseAddr(v.AsString())
	if err != nil {
		return a, errors.New("that is not an address")
	}
	if a.Zone() != "" {
		return a, errors.New("an address here has no zone")
	}
	return a.Unmap(), nil
}

// longestRange has room for two addresses of IPv6, with blanks.
const longestRange = 128

// ParseRange reads an address, a prefix or a range FIRST-LAST.
func ParseRange(s string) (netipx.IPRange, error) {
	if len(s) > longestRange {
		return netipx.IPRange{}, fmt.Errorf("this is a text of %d characters, not an address; a list in a file is named in a set: file = \"NAME\"", len(s))
	}
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return netipx.IPRange{}, fmt.Errorf("%q is not a prefix such as 10.1.0.0/16", s)
		}
		if p.Addr().Is4In6() {
			return netipx.IPRange{}, fmt.Errorf("%q is IPv4 in the clothes of IPv6, which no packet has; write the IPv4 prefix", s)
		}
		if p.Masked() != p {
			return netipx.IPRange{}, fmt.Errorf("%q has bits set behind its length; write %s", s, p.Masked())
		}
		return netipx.RangeOfPrefix(p), nil
	}
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	a, errA := netip.ParseAddr(strings.TrimSpace(first))
	b, errB := netip.ParseAddr(strings.TrimSpace(last))
	if errA != nil || errB != nil || a.Zone() != "" || b.Zone() != "" {
		return netipx.IPRange{}, fmt.Errorf("%q is not an address, a prefix or a range FIRST-LAST", s)
	}
	r := netipx.IPRangeFrom(a.Unmap(), b.Unmap())
	if !r.IsValid() {
		return r, fmt.Errorf("%q is not a range: both ends are of one family, and the first is not above the last", s)
	}
	return r, nil
}

// prefixes reads a list of networks.
func (d *decoder) prefixes(out *[]netip.Prefix) reader {
	return func(a *hclsyntax.Attribute) {
		for _, v := range d.elements(a) {
			if v.Type() != cty.String {
				d.fail(a.Expr.Range(), "Wrong type", "%q wants networks in quotes, such as \"10.1.0.0/16\".", a.Name)
				return
			}
			p, err := netip.ParsePrefix(v.AsString())
			if err != nil || p.Masked() != p || p.Bits() == 0 || p.Addr().Is4In6() || p.Addr().IsMulticast() {
				d.fail(a.Expr.Range(), "Unusable network", "%q is not a network such as 10.1.0.0/16, with no bits behind its length.", v.AsString())
				continue
			}
			*out = append(*out, p)
		}
	}
}

// ranges reads a list of addresses, prefixes and ranges. Duplicates and overlaps are merged.
func (d *decoder) ranges(out *[]netipx.IPRange) reader {
	return func(a *hclsyntax.Attribute) {
		var list []netipx.IPRange
		for _, v := range d.elements(a) {
			if v.Type() != cty.String {
				d.fail(a.Expr.Range(), "Wrong type", "%q wants addresses in quotes.", a.Name)
				return
			}
			r, err := ParseRange(v.AsString())
			if err != nil {
				d.fail(a.Expr.Range(), "Unusable address", "%s.", capital(err.Error()))
				continue
			}
			list = append(list, r)
		}
		*out = merged(list)
	}
}

// side reads from or to: references and literals. The keyword router sets its flag, where there is one.
func (d *decoder) side(out *[]policy.Operand, router *bool) reader {
	return func(a *hclsyntax.Attribute) {
		list := d.elements(a)
		for _, v := range list {
			switch v.Type() {
			case cty.String:
				r, err := ParseRange(v.AsString())
				if err != nil {
					d.fail(a.Expr.Range(), "Unusable address", "%s. References such as lan.NAME are written without quotes.", capital(err.Error()))
					continue
				}
				*out = append(*out, policy.Operand{Range: r})
			case referenceType:
				d.operand(a, *v.EncapsulatedValue().(*reference), out, router, len(list) == 1)
			default:
				d.fail(a.Expr.Range(), "Wrong type", "%q wants lan.NAME, set.NAME, or an address, prefix or range in quotes.", a.Name)
			}
		}
	}
}

// operand reads one reference of from or to.
func (d *decoder) operand(a *hclsyntax.Attribute, r reference, out *[]policy.Operand, router *bool, alone bool) {
	switch {
	case r.Kind == "lan":
		*out = append(*out, policy.Operand{Kind: policy.OfLAN, Name: r.Name})
	case r.Kind == "set":
		*out = append(*out, policy.Operand{Kind: policy.OfSet, Name: r.Name})
	case r.Kind == "" && r.Name == "router" && router != nil && alone:
		*router = true
	case r.Kind == "" && r.Name == "router" && router != nil:
		d.fail(a.Expr.Range(), "Router in a list", "The router's own flows need a rule of their own: from = router.")
	default:
		d.fail(a.Expr.Range(), "Wrong reference", "%q cannot be %s: it wants lan.NAME, set.NAME, or an address, prefix or range in quotes.", a.Name, r)
	}
}

// forwardTo reads where a forward leads: an address, or address and port.
func (d *decoder) forwardTo(out *netip.AddrPort) reader {
	return func(a *hclsyntax.Attribute) {
		v, ok := d.as(a, cty.String, "the address of a host inside, such as \"10.1.0.20\" or \"10.1.0.20:80\", in quotes")
		if !ok {
			return
		}
		text := v.AsString()
		if addr, err := netip.ParseAddr(text); err == nil && isHost(addr) {
			*out = netip.AddrPortFrom(addr.Unmap(), 0)
			return
		}
		to, err := netip.ParseAddrPort(text)
		if err == nil && !isHost(to.Addr()) {
			err = errors.New("no host")
		}
		if err != nil || to.Addr().Zone() != "" || to.Port() == 0 {
			d.fail(a.Expr.Range(), "Unusable address", "%q is not ADDRESS or ADDRESS:PORT of a host (IPv6 with a port: \"[ADDRESS]:PORT\").", text)
			return
		}
		*out = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	}
}

// isHost tells whether an address can be that of another host.
func isHost(a netip.Addr) bool {
	return a.Zone() == "" && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast()
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
