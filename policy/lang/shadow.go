// SPDX-License-Identifier: Apache-2.0

package lang

import (
	"slices"

	"go4.org/netipx"

	"enlace/policy"
)

// shadowed warns of rules that an earlier rule leaves nothing to match. A LAN without networks of its own counts only as
// itself, because its addresses are not known yet.
func (d *decoder) shadowed() {
	sides := make([][2]side, len(d.out.Rules)) // from, to
	for i, r := range d.out.Rules {
		sides[i] = [2]side{d.sideOf(r.Match.From), d.sideOf(r.Match.To)}
	}
	for i, later := range d.out.Rules {
		for j, earlier := range d.out.Rules[:i] {
			if covers(earlier.Match, later.Match) && sides[j][0].covers(sides[i][0]) && sides[j][1].covers(sides[i][1]) {
				d.warn(d.scope.names["rule"][later.Name], "Rule never reached",
					"Rule %q (%s) already takes every flow that this one matches. Move this rule before it, or remove one.", earlier.Name, earlier.Pos)
				break
			}
		}
	}
}

// covers tells whether every flow that b matches is matched by a, addresses aside.
func covers(a, b policy.Match) bool {
	return a.Router == b.Router &&
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

// side are the addresses of from or to, as far as the policy itself tells them.
type side struct {
	any   bool
	known *netipx.IPSet
	lans  map[string]bool // LANs whose addresses are not known yet
}

// covers tells whether every address of b is one of a.
func (a side) covers(b side) bool {
	if a.any || b.any {
		return a.any
	}
	for lan := range b.lans {
		if !a.lans[lan] {
			return false
		}
	}
	for _, r := range b.known.Ranges() {
		if !a.known.ContainsRange(r) {
			return false
		}
	}
	return true
}

func (d *decoder) sideOf(ops []policy.Operand) side {
	var b netipx.IPSetBuilder
	s := side{any: len(ops) == 0, lans: map[string]bool{}}
	for _, o := range ops {
		switch o.Kind {
		case policy.Literal:
			b.AddRange(o.Range)
		case policy.OfSet:
			for _, set := range d.out.Sets {
				if set.Name == o.Name {
					for _, r := range set.Ranges {
						b.AddRange(r)
					}
				}
			}
		case policy.OfLAN:
			for _, l := range d.out.LANs {
				if l.Name != o.Name {
					continue
				}
				for _, n := range l.Networks {
					b.AddPrefix(n)
				}
				s.lans[l.Name] = len(l.Networks) == 0
			}
		}
	}
	for lan, unknown := range s.lans {
		if !unknown {
			delete(s.lans, lan)
		}
	}
	s.known, _ = b.IPSet()
	return s
}
