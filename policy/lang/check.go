// SPDX-License-Identifier: Apache-2.0

package lang

import (
	"enlace/policy"

	"github.com/hashicorp/hcl/v2"
)

// check finds what is wrong between blocks, once all are read. What concerns one value only was told where it was read.
func (d *decoder) check() {
	if d.diags.HasErrors() {
		return // a half-read policy would give complaints that go away by themselves
	}
	if len(d.out.Links) == 0 {
		d.failFile("No link", "The policy has no link block. Declare one for each internet uplink; to remove what enlace made, use: enlace down.")
	}
	d.fitNumbers()
	d.ownMarks()
	d.linkInputs()
	d.forwardTwice()
	d.nothingLeft()
	d.shadowed()
}

// failFile is an error without a place.
func (d *decoder) failFile(summary, detail string) {
	d.diags = append(d.diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail})
}

// fitNumbers complains about links and groups whose number has no room in the mark mask.
func (d *decoder) fitNumbers() {
	last := policy.LastNumber(d.out.Settings.MarkMask)
	numbers := d.out.Number(nil)
	for i, l := range d.out.Links {
		if n := int(numbers.Links[i]); n > last || n == 0 {
			d.fail(d.scope.names["link"][l.Name], "No room for a mark", "Mask 0x%08x has room for the numbers 1 to %d, and this link would get %d. Give mark_mask more bits.", d.out.Settings.MarkMask, last, n)
		}
	}
	for i, g := range d.out.Groups {
		if n := int(numbers.Groups[i]); n > last {
			d.fail(d.scope.names["group"][g.Name], "No room for a mark", "Mask 0x%08x has room for the numbers 1 to %d, and this group would get %d. Give mark_mask more bits.", d.out.Settings.MarkMask, last, n)
		}
	}
}

// ownMarks complains about rules that match bits which enlace itself sets, and takes our bits out of masks of all bits.
func (d *decoder) ownMarks() {
	ours := d.out.Settings.MarkMask
	for i, r := range d.out.Rules {
		for j, m := range r.Match.Marks {
			if m.Value&ours != 0 || m.Mask != 1<<32-1 && m.Mask&ours != 0 {
				d.fail(d.scope.names["rule"][r.Name], "Mark collides", "Mark 0x%x/0x%x has bits of mark_mask 0x%08x, which enlace sets itself. Mark with other bits, or move mark_mask.", m.Value, m.Mask, ours)
				continue
			}
			d.out.Rules[i].Match.Marks[j].Mask &^= ours
		}
	}
}

// linkInputs complains about rules for flows that come in from a link: those are answered through it and never tried.
func (d *decoder) linkInputs() {
	for _, r := range d.out.Rules {
		d.linkInput(d.scope.names["rule"][r.Name], r.Match.Interfaces)
	}
	for _, r := range d.out.Redirects {
		d.linkInput(d.scope.names["redirect"][r.Name], r.Match.Interfaces)
	}
}

func (d *decoder) linkInput(at hcl.Range, interfaces []string) {
	for _, name := range interfaces {
		for _, l := range d.out.Links {
			if l.Interface == name {
				d.fail(at, "Rule never reached", "Interface %s is that of link %q. Flows that come in from a link are answered through it; rules and redirects are for flows from inside.", name, l.Name)
			}
		}
	}
}

// nothingLeft complains about matches whose exceptions take away everything.
func (d *decoder) nothingLeft() {
	tell := func(kind, name string, m policy.Match) {
		for _, side := range []struct {
			what      string
			all, less []policy.Operand
		}{{"from", m.From, m.NotFrom}, {"to", m.To, m.NotTo}} {
			all, less := d.sideOf(side.all), d.sideOf(side.less)
			if len(side.all) > 0 && len(side.less) > 0 && less.covers(&all) {
				d.fail(d.scope.names[kind][name], "Contradiction", "not_%s excepts everything that %s has, so no flow can match.", side.what, side.what)
			}
		}
	}
	for _, r := range d.out.Rules {
		tell("rule", r.Name, r.Match)
	}
	for _, r := range d.out.Redirects {
		tell("redirect", r.Name, r.Match)
	}
}

// forwardTwice complains about two forwards of the same port of a link to hosts of the same family.
func (d *decoder) forwardTwice() {
	type key struct {
		link     string
		protocol policy.Protocol
		port     uint16
		family   policy.Family
	}
	seen := map[key]string{}
	for _, f := range d.out.Forwards {
		k := key{f.Link, f.Protocol, f.Port, policy.FamilyOf(f.To.Addr())}
		if first, ok := seen[k]; ok {
			d.fail(d.scope.names["forward"][f.Name], "Forwarded twice", "Forward %q already has this port of link %q. Remove one.", first, f.Link)
			continue
		}
		seen[k] = f.Name
	}
}
