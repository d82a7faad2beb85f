// SPDX-License-Identifier: Apache-2.0

package lang

import (
	"slices"

	"github.com/hashicorp/hcl/v2"
	"go4.org/netipx"

	"enlace/policy"
)

func diagnostic(summary, detail string) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagWarning, Summary: summary, Detail: detail}
}

// shadowed warns of rules that an earlier rule leaves nothing to match. A LAN without networks of its own counts only as
// itself, because its addresses are not known yet.
func (d *decoder) shadowed() {
	for i, later := range d.out.Rules {
		for _, earlier := range d.out.Rules[:i] {
			if d.covers(earlier.Match, later.Match) {
				d.warn(d.scope.names["rule"][later.Name], "Rule never reached",
					"Rule %q (%s) already takes every flow that this one matches. Move this rule before it, or remove one.", earlier.Name, earlier.Pos)
				break
			}
		}
	}
}

// covers tells whether every flow that b matches is matched by a.
func (d *decoder) covers(a, b policy.Match) bool {
	return a.Router == b.Router &&
		d.sideCovers(a.From, b.From) && d.sideCovers(a.To, b.To) &&
		listCovers(a.Protocols, b.Protocols) && listCovers(a.DSCP, b.DSCP) &&
		listCovers(a.Marks, b.Marks) && listCovers(a.Interfaces, b.Interfaces) &&
		portsCover(a.Ports, b.Ports) && portsCover(a.SourcePorts, b.SourcePorts)
}

// listCovers: an empty list matches everything, otherwise every element of b must be one of a.
func listCovers[T comparable](a, b []T) bool {
	if len(a) == 0 {
		return true
	}
	for _, x := range b {
		if !slices.Contains(a, x) {
			return false
		}
	}
	return len(b) > 0
}

func portsCover(a, b []policy.PortRange) bool {
	if len(a) == 0 {
		return true
	}
	for _, x := range b {
		if !slices.ContainsFunc(a, func(y policy.PortRange) bool { return y.First <= x.First && x.Last <= y.Last }) {
			return false
		}
	}
	return len(b) > 0
}

func (d *decoder) sideCovers(a, b []policy.Operand) bool {
	if len(a) == 0 {
		return true
	}
	covering, lans := d.known(a)
	for _, o := range b {
		if o.Kind == policy.OfLAN && lans[o.Name] {
			continue
		}
		set, unknown := d.known([]policy.Operand{o})
		if len(unknown) > 0 {
			return false
		}
		for _, r := range set.Ranges() {
			if !covering.ContainsRange(r) {
				return false
			}
		}
	}
	return len(b) > 0
}

// known are the addresses of operands that the policy itself tells, and the LANs among them whose addresses it does not.
func (d *decoder) known(ops []policy.Operand) (*netipx.IPSet, map[string]bool) {
	var b netipx.IPSetBuilder
	lans := map[string]bool{}
	for _, o := range ops {
		switch o.Kind {
		case policy.Literal:
			b.AddRange(o.Range)
		case policy.OfSet:
			for _, s := range d.out.Sets {
				if s.Name == o.Name {
					for _, r := range s.Ranges {
						b.AddRange(r)
					}
				}
			}
		case policy.OfLAN:
			for _, l := range d.out.LANs {
				if l.Name == o.Name {
					for _, n := range l.Networks {
						b.AddPrefix(n)
					}
					if len(l.Networks) == 0 {
						lans[l.Name] = true
					}
				}
			}
		}
	}
	set, _ := b.IPSet()
	return set, lans
}
