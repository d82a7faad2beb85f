// SPDX-License-Identifier: Apache-2.0

package lang

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"enlace/policy"
)

func (d *decoder) rule(b *hclsyntax.Block) {
	r := policy.Rule{Name: b.Labels[0], Otherwise: policy.Target{Kind: policy.ToDefault}, Pos: pos(b.DefRange())}
	m := &r.Match
	d.body(b, fields{
		"from":        d.side(&m.From, &m.Router),
		"to":          d.side(&m.To, nil),
		"protocol":    d.protocols(&m.Protocols),
		"port":        d.ports(b, &m.Ports),
		"source_port": d.ports(b, &m.SourcePorts),
		"tos":         d.tos(&m.DSCP),
		"dscp":        d.dscp(&m.DSCP),
		"mark":        d.marks(&m.Marks),
		"interface":   d.inputs(&m.Interfaces),
		"via":         d.target(&r.Via, "link", "group", "main"),
		"otherwise":   d.target(&r.Otherwise, "default", "reject", "drop", "link", "group"),
	}, "via")
	d.nested(b, nil)
	d.contradictions(b, m)
	if a := b.Body.Attributes["otherwise"]; a != nil && r.Otherwise == r.Via {
		d.fail(a.Expr.Range(), "Contradiction", "otherwise is the same as via, which has no live link then.")
	}
	d.out.Rules = append(d.out.Rules, r)
}

// contradictions finds matches that no packet can fulfil, or that lack what they need.
func (d *decoder) contradictions(b *hclsyntax.Block, m *policy.Match) {
	attrs := b.Body.Attributes
	for _, name := range []string{"port", "source_port"} {
		a := attrs[name]
		if a == nil {
			continue
		}
		if attrs["protocol"] == nil {
			d.fail(a.NameRange, "Port without a protocol", "Say of which protocol: protocol = \"tcp\", \"udp\", or [\"tcp\", \"udp\"].")
			continue
		}
		for _, p := range m.Protocols {
			if !hasPorts(p) {
				d.fail(a.NameRange, "Port without a protocol", "Protocol %d has no ports. Give ports only with tcp, udp, dccp, sctp or udplite.", p)
				break
			}
		}
	}
	if attrs["tos"] != nil && attrs["dscp"] != nil {
		d.fail(attrs["dscp"].NameRange, "Said twice", "tos and dscp are the same six bits. Write one of them.")
	}
	if m.Router && attrs["interface"] != nil {
		d.fail(attrs["interface"].NameRange, "Contradiction", "The router's own flows do not come in by an interface. Remove interface, or from = router.")
	}
	if attrs["otherwise"] != nil && attrs["via"] != nil && d.isMain(attrs["via"]) {
		d.fail(attrs["otherwise"].NameRange, "Contradiction", "via = main leaves a flow to the main table, which has no otherwise. Remove it.")
	}
	if to := attrs["to"]; to != nil && families(m.From) != 0 && families(m.To) != 0 && families(m.From)&families(m.To) == 0 {
		d.fail(to.NameRange, "Contradiction", "from and to have no address family in common, so no flow can match.")
	}
}

func (d *decoder) isMain(a *hclsyntax.Attribute) bool {
	t, ok := a.Expr.(*hclsyntax.ScopeTraversalExpr)
	return ok && t.Traversal.RootName() == "main"
}

// families is a bit for each family among the literals; 0 when anything else is among them.
func families(ops []policy.Operand) int {
	bits := 0
	for _, o := range ops {
		if o.Kind != policy.Literal {
			return 0
		}
		bits |= 1 << policy.FamilyOf(o.Range.From())
	}
	return bits
}

// tos reads whole TOS bytes. Their two low bits are ECN (RFC 3168), which Linux clears on TCP sockets.
func (d *decoder) tos(out *[]uint8) reader {
	return func(a *hclsyntax.Attribute) {
		for _, v := range d.elements(a) {
			n, err := wholeOf(v)
			switch {
			case err != nil || n < 0 || n > 255:
				d.fail(a.Expr.Range(), "Unusable TOS", "tos wants numbers from 0x00 to 0xfc.")
			case n&3 != 0:
				d.fail(a.Expr.Range(), "Unusable TOS",
					"The two lowest bits of TOS are ECN, which Linux clears on TCP sockets: 0x%02x never arrives. Use a multiple of 4, such as 0x%02x, here and in the program that sets it.", n, max(n<<2&0xfc, 4))
			default:
				*out = append(*out, uint8(n>>2))
			}
		}
	}
}

// dscpNames are the code points with names (RFC 2474, RFC 2597, RFC 3246, RFC 5865, RFC 8622).
var dscpNames = map[string]uint8{
	"cs0": 0, "cs1": 8, "cs2": 16, "cs3": 24, "cs4": 32, "cs5": 40, "cs6": 48, "cs7": 56,
	"af11": 10, "af12": 12, "af13": 14, "af21": 18, "af22": 20, "af23": 22, "af31": 26, "af32": 28, "af33": 30,
	"af41": 34, "af42": 36, "af43": 38, "ef": 46, "va": 44, "le": 1,
}

func (d *decoder) dscp(out *[]uint8) reader {
	return func(a *hclsyntax.Attribute) {
		for _, v := range d.elements(a) {
			if v.Type() == cty.String {
				if n, ok := dscpNames[v.AsString()]; ok {
					*out = append(*out, n)
					continue
				}
			}
			n, err := wholeOf(v)
			if err != nil || n < 0 || n > 63 {
				d.fail(a.Expr.Range(), "Unusable DSCP", "dscp wants numbers from 0 to 63, or names such as \"ef\", \"cs1\" and \"af21\".")
				continue
			}
			*out = append(*out, uint8(n))
		}
	}
}

// marks reads marks that other programs set: 0x10, or "0x10/0xff".
func (d *decoder) marks(out *[]policy.MaskedMark) reader {
	return func(a *hclsyntax.Attribute) {
		for _, v := range d.elements(a) {
			m, err := markOf(v)
			if err != nil {
				d.fail(a.Expr.Range(), "Unusable mark", "mark wants a number of 32 bits such as 0x10, or one with a mask such as \"0x10/0xff\".")
				continue
			}
			*out = append(*out, m)
		}
	}
}

func markOf(v cty.Value) (policy.MaskedMark, error) {
	mask := ""
	if v.Type() == cty.String {
		value, after, _ := strings.Cut(v.AsString(), "/")
		v, mask = cty.StringVal(value), after
	}
	n, err := wholeOf(v)
	if err != nil || n < 0 || n > 1<<32-1 {
		return policy.MaskedMark{}, fmt.Errorf("not a mark")
	}
	m := policy.MaskedMark{Value: uint32(n), Mask: 1<<32 - 1}
	if mask != "" {
		bits, err := strconv.ParseUint(mask, 0, 32)
		if err != nil || bits == 0 || uint32(bits)&m.Value != m.Value {
			return m, fmt.Errorf("not a mask")
		}
		m.Mask = uint32(bits)
	}
	return m, nil
}

// inputs reads names of input interfaces.
func (d *decoder) inputs(out *[]string) reader {
	return func(a *hclsyntax.Attribute) {
		for _, v := range d.elements(a) {
			if v.Type() != cty.String || !validInterface(v.AsString()) {
				d.fail(a.Expr.Range(), "Unusable interface name", "interface wants names of network interfaces in quotes, such as \"wg0\".")
				continue
			}
			*out = append(*out, v.AsString())
		}
	}
}
