// SPDX-License-Identifier: Apache-2.0

package lang

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"enlace/policy"
)

// reader reads one attribute into the place that it was made for.
type reader = func(*hclsyntax.Attribute)

func (d *decoder) boolean(out *bool) reader {
	return func(a *hclsyntax.Attribute) {
		if v, ok := d.as(a, cty.Bool, "true or false"); ok {
			*out = v.True()
		}
	}
}

// whole reads a whole number within bounds. Text such as "0x10" is a number too.
func (d *decoder) whole(a *hclsyntax.Attribute, low, high int64) (int64, bool) {
	v, ok := d.eval(a)
	if !ok {
		return 0, false
	}
	n, err := wholeOf(v)
	if err != nil || n < low || n > high {
		d.fail(a.Expr.Range(), "Unusable number", "%q wants a whole number from %d to %d.", a.Name, low, high)
		return 0, false
	}
	return n, true
}

// wholeOf is a number, or text that reads as one.
func wholeOf(v cty.Value) (int64, error) {
	switch v.Type() {
	case cty.Number:
		f := v.AsBigFloat()
		n, exact := f.Int64()
		if !f.IsInt() || exact != 0 {
			return 0, fmt.Errorf("not a whole number")
		}
		return n, nil
	case cty.String:
		return strconv.ParseInt(v.AsString(), 0, 64)
	}
	return 0, fmt.Errorf("not a number")
}

// integer reads a number from 1 on.
func (d *decoder) integer(out *int, high int64) reader {
	return func(a *hclsyntax.Attribute) {
		if n, ok := d.whole(a, 1, high); ok {
			*out = int(n)
		}
	}
}

func (d *decoder) integer32(out *uint32, low, high int64) reader {
	return func(a *hclsyntax.Attribute) {
		if n, ok := d.whole(a, low, high); ok {
			*out = uint32(n)
		}
	}
}

func (d *decoder) integer8(out *uint8, low, high int64) reader {
	return func(a *hclsyntax.Attribute) {
		if n, ok := d.whole(a, low, high); ok {
			*out = uint8(n)
		}
	}
}

// ownerTag reads the number by which enlace knows its routes and rules again. It must be nobody else's: what carries it is
// removed when the policy does not want it.
func (d *decoder) ownerTag(out *uint8) reader {
	return func(a *hclsyntax.Attribute) {
		n, ok := d.whole(a, 5, 255)
		if owner := otherOwners[uint8(n)]; ok && owner != "" {
			d.fail(a.Expr.Range(), "Owner tag in use", "Protocol %d is that of %s, whose routes enlace would take for its own. Leave protocol out, or choose another.", n, owner)
		} else if ok {
			*out = uint8(n)
		}
	}
}

// otherOwners are the protocol numbers of other programs (linux/rtnetlink.h and iproute2's rt_protos).
var otherOwners = map[uint8]string{
	8: "gated", 9: "router advertisements", 10: "mrt", 11: "zebra", 12: "BIRD", 13: "dnrouted", 14: "XORP", 15: "ntk", 16: "DHCP", 17: "mrouted",
	18: "keepalived", 42: "babel", 84: "OVN", 99: "Open/R", 186: "BGP", 187: "IS-IS", 188: "OSPF", 189: "RIP", 192: "EIGRP", 196: "FRR static",
}

// number reads the number of a link or group, which stands in its marks. Whether it fits into the mask is checked later.
func (d *decoder) number(b *hclsyntax.Block, out *uint8) reader {
	return func(a *hclsyntax.Attribute) {
		d.integer8(out, 1, 254)(a)
		if *out != 0 {
			d.claim("mark", fmt.Sprint(*out), b, a)
		}
	}
}

// table reads a routing table's number. 253 to 255 are the kernel's own tables default, main and local (rtnetlink.h).
func (d *decoder) table(b *hclsyntax.Block, out *uint32) reader {
	return func(a *hclsyntax.Attribute) {
		n, ok := d.whole(a, 1, 1<<32-1)
		if !ok {
			return
		}
		if n >= 253 && n <= 255 {
			d.fail(a.Expr.Range(), "Reserved table", "Tables 253 to 255 are the kernel's own (default, main, local). Choose another number.")
			return
		}
		*out = uint32(n)
		d.claim("table", fmt.Sprint(n), b, a)
	}
}

// markMask reads the bits of marks that are enlace's.
func (d *decoder) markMask(out *uint32) reader {
	return func(a *hclsyntax.Attribute) {
		n, ok := d.whole(a, 1, 1<<32-1)
		if !ok {
			return
		}
		m := uint32(n)
		if ones := bits.OnesCount32(m); ones < 2 || bits.Len32(m)-bits.TrailingZeros32(m) != ones {
			d.fail(a.Expr.Range(), "Unusable mask", "mark_mask wants at least two bits that stand side by side, such as 0xff000000.")
			return
		}
		for _, o := range otherMasks {
			if o.mask&m != 0 {
				d.fail(a.Expr.Range(), "Mark mask collides", "Mask 0x%08x shares bits with 0x%08x, which %s uses. Leave mark_mask out, or choose other bits.", m, o.mask, o.owner)
				return
			}
		}
		*out = m
	}
}

// otherMasks are the marks of programs that often share a router: kube-proxy's masquerade and drop bits, and tailscale's
// (tailscale net/tsaddr and its linuxfw package).
var otherMasks = []struct {
	mask  uint32
	owner string
}{
	{0x0000c000, "Kubernetes"},
	{0x00ff0000, "Tailscale"},
}

// interfaceName reads the name of a network interface; IFNAMSIZ is 16 with the final NUL (linux/if.h).
func (d *decoder) interfaceName(b *hclsyntax.Block, out *string) reader {
	return func(a *hclsyntax.Attribute) {
		v, ok := d.as(a, cty.String, "the name of a network interface in quotes")
		if !ok {
			return
		}
		if name := v.AsString(); !validInterface(name) {
			d.fail(a.Expr.Range(), "Unusable interface name", "The name of an interface has 1 to 15 characters without blanks, quotes, slashes and wildcards.")
			return
		}
		*out = v.AsString()
		d.claim("interface", *out, b, a)
	}
}

func validInterface(name string) bool {
	return len(name) > 0 && len(name) <= 15 && name != "." && name != ".." && !strings.ContainsAny(name, "/: \t\n\"*\\")
}

func (d *decoder) balance(out *policy.Balance) reader {
	return func(a *hclsyntax.Attribute) {
		v, ok := d.as(a, cty.String, `one of "`+strings.Join(policy.Balances, `", "`)+`"`)
		if !ok {
			return
		}
		at := slices.Index(policy.Balances, v.AsString())
		if at < 0 {
			d.fail(a.Expr.Range(), "Unknown value", "%q is not a way to choose a link.%s", v.AsString(), hint(v.AsString(), policy.Balances))
			return
		}
		*out = policy.Balance(at)
	}
}

var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// gateways reads one gateway, or one for each family.
func (d *decoder) gateways(out *[2]netip.Addr) reader {
	return func(a *hclsyntax.Attribute) {
		for _, v := range d.elements(a) {
			addr, err := addressOf(v)
			if err != nil || addr.IsUnspecified() || addr.IsMulticast() || addr.IsLoopback() || addr == limitedBroadcast {
				d.fail(a.Expr.Range(), "Unusable gateway", "A gateway is the address of a host, such as \"200.252.10.1\". Leave it out to learn it.")
				continue
			}
			family := policy.FamilyOf(addr)
			if out[family].IsValid() {
				d.fail(a.Expr.Range(), "Two gateways", "A link has one gateway for %s. Two uplinks on one interface are two links only if each has an interface of its own.", family)
				continue
			}
			out[family] = addr
		}
	}
}

// target reads where flows go: a reference of the given kinds, or one of the given keywords.
func (d *decoder) target(out *policy.Target, allowed ...string) reader {
	return func(a *hclsyntax.Attribute) {
		v, ok := d.eval(a)
		if !ok {
			return
		}
		if v.Type() != referenceType {
			d.fail(a.Expr.Range(), "Wrong type", "%q wants one of %s, without quotes.", a.Name, spelled(allowed))
			return
		}
		r := *v.EncapsulatedValue().(*reference)
		kind := r.Kind
		if kind == "" {
			kind = r.Name
		}
		if !contains(allowed, kind) {
			d.fail(a.Expr.Range(), "Wrong reference", "%q cannot be %s: it wants one of %s.", a.Name, r, spelled(allowed))
			return
		}
		*out = policy.Target{Kind: targetKinds[kind], Name: r.Name}
		if r.Kind == "" {
			out.Name = ""
		}
	}
}

var targetKinds = map[string]policy.TargetKind{
	"link": policy.ToLink, "group": policy.ToGroup, "main": policy.ToMain, "default": policy.ToDefault,
	"reject": policy.ToReject, "drop": policy.ToDrop,
}

// spelled is the list of allowed targets as they are written.
func spelled(allowed []string) string {
	var out []string
	for _, a := range allowed {
		if contains(kinds, a) {
			a += ".NAME"
		}
		out = append(out, a)
	}
	return strings.Join(out, ", ")
}

// links reads one link or several.
func (d *decoder) links(out *[]string) reader {
	return func(a *hclsyntax.Attribute) {
		for _, v := range d.elements(a) {
			r := &reference{}
			if v.Type() == referenceType {
				r = v.EncapsulatedValue().(*reference)
			}
			switch {
			case r.Kind != "link":
				d.fail(a.Expr.Range(), "Wrong reference", "%q wants link.NAME, without quotes, or a list of them.", a.Name)
			case contains(*out, r.Name):
				d.fail(a.Expr.Range(), "Said twice", "Link %q is there twice.", r.Name)
			default:
				*out = append(*out, r.Name)
			}
		}
	}
}
