// SPDX-License-Identifier: Apache-2.0

package lang

import (
	"errors"
	"fmt"
	"net"
	"os/user"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"enlace/policy"
)

func (d *decoder) rule(b *hclsyntax.Block) {
	r := policy.Rule{Name: b.Labels[0], Otherwise: policy.Target{Kind: policy.ToDefault}, Pos: pos(b.DefRange())}
	m := &r.Match
	known := d.matches(b, m)
	known["from"] = d.side(&m.From, &m.Router)
	known["tos"], known["dscp"] = d.tos(&m.DSCP), d.dscp(&m.DSCP)
	known["mark"], known["user"] = d.marks(&m.Marks), d.users(&m.Users)
	known["via"] = d.target(&r.Via, "link", "group", "main")
	known["flows"] = d.flows(&r.Flows)
	known["otherwise"] = d.target(&r.Otherwise, "default", "reject", "drop", "link", "group")
	d.body(b, known, "via")
	d.nested(b, nil)
	d.contradictions(b, m)
	if a := b.Body.Attributes["otherwise"]; a != nil && r.Otherwise == r.Via {
		d.fail(a.Expr.Range(), "Contradiction", "otherwise is the same as via, which has no live link then.")
	}
	d.out.Rules = append(d.out.Rules, r)
}

// matches are the attributes that rules and redirects have in common.
func (d *decoder) matches(b *hclsyntax.Block, m *policy.Match) fields {
	return fields{
		"from":        d.side(&m.From, nil),
		"to":          d.side(&m.To, nil),
		"not_from":    d.side(&m.NotFrom, nil),
		"not_to":      d.side(&m.NotTo, nil),
		"protocol":    d.protocols(&m.Protocols),
		"port":        d.ports(b, &m.Ports),
		"source_port": d.ports(b, &m.SourcePorts),
		"interface":   d.inputs(&m.Interfaces),
		"mac":         d.macs(&m.MACs),
	}
}

// redirect reads where flows from inside are sent instead of where they are addressed: to a proxy on the router.
func (d *decoder) redirect(b *hclsyntax.Block) {
	r := policy.Redirect{Name: b.Labels[0], Pos: pos(b.DefRange())}
	known := d.matches(b, &r.Match)
	known["to_port"] = d.forwardPort(b, &r.ToPort)
	d.body(b, known, "protocol", "port", "to_port")
	d.nested(b, nil)
	d.contradictions(b, &r.Match)
	if a := b.Body.Attributes["protocol"]; a != nil {
		for _, p := range r.Match.Protocols {
			if p != policy.TCP && p != policy.UDP {
				d.fail(a.Expr.Range(), "Unusable protocol", "A redirect is for \"tcp\" or \"udp\", or both.")
				break
			}
		}
	}
	d.out.Redirects = append(d.out.Redirects, r)
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
	if m.Router && attrs["mac"] != nil {
		d.fail(attrs["mac"].NameRange, "Contradiction", "The router's own flows do not come in a frame. Remove mac, or from = router.")
	}
	if a := attrs["user"]; a != nil && !m.Router && b.Type == "rule" {
		d.fail(a.NameRange, "Contradiction", "Only the router's own flows have a user. Add from = router, or remove user.")
	}
	if m.Router && attrs["not_from"] != nil {
		d.fail(attrs["not_from"].NameRange, "Contradiction", "The router's own flows have the address of the link that they leave by, which is not chosen yet. Remove not_from.")
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
					"The two lowest bits of TOS are ECN, which Linux clears on TCP sockets: 0x%02x never arrives. Use a multiple of 4, such as 0x%02x, here and in the program that sets it (squid.conf: tcp_outgoing_tos 0x%02[2]x localnet), or mark its flows (squid.conf: tcp_outgoing_mark 0x10 localnet; here: mark = 0x10).", n, max(n<<2&0xfc, 4))
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

// users reads the owners of the router's own sockets, by name or number. Names are looked up on this host.
func (d *decoder) users(out *[]uint32) reader {
	return func(a *hclsyntax.Attribute) {
		for _, v := range d.elements(a) {
			if n, err := wholeOf(v); err == nil {
				if n < 0 || n >= 1<<32-1 {
					d.fail(a.Expr.Range(), "Unknown user", "%d is not the number of a user.", n)
					continue
				}
				*out = append(*out, uint32(n))
				continue
			}
			if v.Type() != cty.String {
				d.fail(a.Expr.Range(), "Wrong type", "%q wants names of users in quotes, such as \"proxy\", or their numbers.", a.Name)
				return
			}
			u, err := user.Lookup(v.AsString())
			if err != nil {
				d.fail(a.Expr.Range(), "Unknown user", "This host has no user %q. Install the program that it belongs to first, or write the user's number.", v.AsString())
				continue
			}
			if n, err := strconv.ParseUint(u.Uid, 10, 32); err == nil {
				*out = append(*out, uint32(n))
			}
		}
	}
}

// macs reads Ethernet addresses.
func (d *decoder) macs(out *[]policy.MAC) reader {
	return func(a *hclsyntax.Attribute) {
		for _, v := range d.elements(a) {
			var mac policy.MAC
			var hw net.HardwareAddr
			err := errors.New("not text")
			if v.Type() == cty.String {
				hw, err = net.ParseMAC(v.AsString())
			}
			if err != nil || copy(mac[:], hw) != len(hw) || hw[0]&1 != 0 {
				d.fail(a.Expr.Range(), "Unusable address", "mac wants Ethernet addresses of hosts in quotes, such as \"52:54:00:12:34:56\".")
				continue
			}
			*out = append(*out, mac)
		}
	}
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
