// SPDX-License-Identifier: Apache-2.0

package lang

import (
	"slices"

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
	d.flowsFit()
	d.bypasses()
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
	for i, l := range d.out.Links {
		for _, more := range [][]uint8{numbers.Steady, numbers.Guests} {
			if more != nil && (int(more[i]) > last || more[i] == 0) {
				d.fail(d.scope.names["link"][l.Name], "No room for a mark", "Mask 0x%08x has room for the numbers 1 to %d, and the flows of this link that keep or fail back need one more. Give mark_mask more bits.", d.out.Settings.MarkMask, last)
				break
			}
		}
	}
	for i, g := range d.out.Groups {
		if n := int(numbers.Groups[i]); n > last || n == 0 && g.By == policy.ByRoute {
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
	for i, later := range d.out.Forwards {
		for _, f := range d.out.Forwards[:i] {
			if len(f.From) > 0 || policy.FamilyOf(f.To.Addr()) != policy.FamilyOf(later.To.Addr()) ||
				later.Ports.Last < f.Ports.First || f.Ports.Last < later.Ports.First {
				continue
			}
			link, sameLink := common(f.Links, later.Links)
			if _, sameProtocol := common(f.Protocols, later.Protocols); sameLink && sameProtocol {
				d.fail(d.scope.names["forward"][later.Name], "Forwarded twice", "Forward %q already has a port of link %q that this one has. Remove one, or restrict the first with from.", f.Name, link)
				break
			}
		}
	}
}

// common is an element that two lists share.
func common[T comparable](a, b []T) (shared T, ok bool) {
	for _, x := range a {
		if slices.Contains(b, x) {
			return x, true
		}
	}
	return shared, false
}

// groupNamed is the group that a target names, nil when it is something else.
func (d *decoder) groupNamed(t policy.Target) *policy.Group {
	for i, g := range d.out.Groups {
		if t.Kind == policy.ToGroup && t.Name == g.Name {
			return &d.out.Groups[i]
		}
	}
	return nil
}

// flowsFit complains about flows of what has none, and of what never comes home.
func (d *decoder) flowsFit() {
	for _, r := range d.out.Rules {
		if r.Flows != policy.FlowsUnsaid && r.Via.Kind == policy.ToMain {
			d.fail(d.scope.names["rule"][r.Name], "Contradiction", "via = main leaves flows to the main table, so enlace cannot say what becomes of them. Remove flows.")
		}
		if r.Flows > policy.Failover {
			for _, t := range []policy.Target{r.Via, r.Otherwise} {
				if g := d.groupNamed(t); g != nil && g.By == policy.ByRoute {
					d.fail(d.scope.names["rule"][r.Name], "Contradiction", "In group %q the kernel chooses the link, and its flows are those of failover. Let the group choose another way, or remove flows.", g.Name)
				}
			}
		}
	}
	if g := d.groupNamed(d.out.Default); g != nil && g.By == policy.ByRoute && d.out.DefaultFlows > policy.Failover {
		d.fail(d.scope.names["default"][""], "Contradiction", "In group %q the kernel chooses the link, and its flows are those of failover. Let the group choose another way, or remove flows.", g.Name)
	}
	if at, ok := d.scope.names["default"][""]; ok && d.out.DefaultFlows != policy.FlowsUnsaid && d.out.Default.Kind == policy.ToMain {
		d.fail(at, "Contradiction", "via = main leaves flows to the main table, so enlace cannot say what becomes of them. Remove flows.")
	}
	for _, g := range d.out.Groups {
		if g.By == policy.ByRoute && g.Flows != policy.FlowsUnsaid && g.Flows != policy.Failover {
			d.fail(d.scope.names["group"][g.Name], "Contradiction", "With by = \"route\" the kernel chooses, and flows are those of failover. Use another way, or remove flows.")
		}
	}
}
