// SPDX-License-Identifier: Apache-2.0

package lang

import (
	"enlace/policy"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// forward reads a port forward.
func (d *decoder) forward(b *hclsyntax.Block) {
	f := policy.Forward{Name: b.Labels[0], Hairpin: true, Pos: pos(b.DefRange())}
	var ports []policy.PortRange
	d.body(b, fields{
		"link":     d.links(&f.Links),
		"protocol": d.protocols(&f.Protocols),
		"port":     d.ports(b, &ports),
		"to":       d.forwardTo(&f.To),
		"from":     d.side(&f.From, nil),
		"hairpin":  d.boolean(&f.Hairpin),
	}, "link", "protocol", "port", "to")
	d.nested(b, nil)
	attrs := b.Body.Attributes
	for _, p := range f.Protocols {
		if !hasPorts(p) {
			d.fail(attrs["protocol"].Expr.Range(), "Unusable protocol", "A forward is for protocols that have ports, such as \"tcp\", \"udp\", or both.")
			break
		}
	}
	switch {
	case len(ports) > 1:
		d.fail(attrs["port"].Expr.Range(), "One range wanted", "The port of a forward is one, or one range such as \"8000-8010\". Write a block for each.")
	case len(ports) == 1:
		f.Ports = ports[0]
	}
	if f.Ports.First != f.Ports.Last && f.To.Port() != 0 {
		d.fail(attrs["to"].Expr.Range(), "Port not wanted", "A range of ports goes to the same ports: write the address alone.")
	}
	if f.Ports.First == f.Ports.Last && f.To.Port() == 0 {
		f.To = addrPort(f.To, f.Ports.First)
	}
	d.forwardFrom(b, f)
	d.out.Forwards = append(d.out.Forwards, f)
}

// forwardFrom complains about a restriction that lets nobody in.
func (d *decoder) forwardFrom(b *hclsyntax.Block, f policy.Forward) {
	a := b.Body.Attributes["from"]
	if a == nil || !f.To.IsValid() {
		return
	}
	if fam := families(f.From); fam != 0 && fam&(1<<policy.FamilyOf(f.To.Addr())) == 0 {
		d.fail(a.Expr.Range(), "Contradiction", "None of these can reach %s, which is of the other address family.", f.To.Addr())
	}
}
