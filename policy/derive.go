// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"net/netip"
	"slices"

	"go4.org/netipx"
)

// Derive says what the kernel should hold, given the policy and what was observed. It never fails: where the host does not
// have what the policy needs, the rest is planned, and a problem says what is missing. The same input always gives the same
// plan.
func Derive(p Policy, f Facts) (Plan, []Problem) {
	d := deriver{policy: p, facts: f, linkAt: map[string]int{}, groupAt: map[string]int{}}
	d.plan.Settings = p.Settings
	d.lans()
	d.links()
	d.groups()
	d.plan.Default = d.defaults()
	d.plan.DefaultPos = p.DefaultPos
	d.rules()
	d.inUse()
	d.bypass()
	d.forwards()
	d.neighbours()
	return d.plan, d.problems
}

// deriver is one derivation in progress.
type deriver struct {
	policy   Policy
	facts    Facts
	plan     Plan
	problems []Problem
	linkAt   map[string]int // name to place
	groupAt  map[string]int
	networks map[string][]netip.Prefix // of the LANs
}

func (d *deriver) problem(code Code, subject string, pos Pos, format string, args ...any) {
	d.problems = append(d.problems, Problem{Code: code, Subject: subject, Text: fmt.Sprintf(format, args...), Pos: pos})
}

// lans finds the networks of every LAN.
func (d *deriver) lans() {
	d.networks = map[string][]netip.Prefix{}
	for _, l := range d.policy.LANs {
		i, ok := d.facts.InterfaceNamed(l.Interface)
		if inside := (Device{l.Interface, i.Index}); !slices.Contains(d.plan.Inside, inside) {
			d.plan.Inside = append(d.plan.Inside, inside)
		}
		if !ok {
			d.problem(LANMissing, "lan "+l.Name, l.Pos, "there is no interface %q; rules that name this lan without networks of its own take no flows", l.Interface)
		}
		if ok && (!i.Up || !i.Carrier) {
			d.problem(LANDown, "lan "+l.Name, l.Pos, "interface %s is switched off, or has no carrier: nobody there reaches the internet", l.Interface)
		}
		d.networks[l.Name] = l.Networks
		if len(l.Networks) == 0 {
			d.networks[l.Name] = i.networks()
		}
	}
}

// rules resolves addresses and targets.
func (d *deriver) rules() {
	for _, r := range d.policy.Rules {
		planned := PlannedRule{Name: r.Name, Match: r.Match, Via: d.resolve(r.Flows, r.Via, r.Otherwise), Pos: r.Pos}
		planned.Sides = d.sides(&planned.Match)
		d.plan.Rules = append(d.plan.Rules, planned)
	}
	for _, r := range d.policy.Redirects {
		planned := PlannedRedirect{Name: r.Name, Match: r.Match, ToPort: r.ToPort, Pos: r.Pos}
		planned.Sides = d.sides(&planned.Match)
		d.plan.Redirects = append(d.plan.Redirects, planned)
	}
}

// sides takes the addresses out of a match and resolves them.
func (d *deriver) sides(m *Match) Sides {
	s := Sides{From: d.addresses(m.From), To: d.addresses(m.To)}
	if len(m.NotFrom) > 0 {
		s.NotFrom = d.addresses(m.NotFrom)
	}
	if len(m.NotTo) > 0 {
		s.NotTo = d.addresses(m.NotTo)
	}
	m.From, m.To, m.NotFrom, m.NotTo = nil, nil, nil, nil
	return s
}

// addresses turns what a rule names into ranges, sorted and merged.
func (d *deriver) addresses(ops []Operand) Addresses {
	if len(ops) == 0 {
		return Addresses{Any: true}
	}
	if len(ops) == 1 && ops[0].Kind == OfSet { // the usual case of very long ones, sorted and merged already
		for _, s := range d.policy.Sets {
			if s.Name == ops[0].Name {
				return Addresses{Name: named(ops[0]), Ranges: s.Ranges}
			}
		}
	}
	var b netipx.IPSetBuilder
	for _, o := range ops {
		switch o.Kind {
		case Literal:
			b.AddRange(o.Range)
		case OfLAN:
			for _, n := range d.networks[o.Name] {
				b.AddPrefix(n)
			}
		case OfSet:
			for _, s := range d.policy.Sets {
				if s.Name == o.Name {
					for _, r := range s.Ranges {
						b.AddRange(r)
					}
				}
			}
		}
	}
	set, err := b.IPSet()
	if err != nil {
		panic("policy: a range that the language accepted is not valid: " + err.Error())
	}
	a := Addresses{Ranges: set.Ranges()}
	if len(ops) == 1 && ops[0].Kind != Literal {
		a.Name = named(ops[0])
	}
	return a
}

// forwards resolves who may use them, and the links.
func (d *deriver) forwards() {
	for _, f := range d.policy.Forwards {
		planned := PlannedForward{Forward: f, From: d.addresses(f.From)}
		planned.Forward.From = nil
		for _, l := range f.Links {
			planned.Via = append(planned.Via, d.linkAt[l])
		}
		d.plan.Forwards = append(d.plan.Forwards, planned)
	}
}

// neighbours reports other programs whose ip rules look at bits of our mark mask.
func (d *deriver) neighbours() {
	for _, m := range d.facts.Marks {
		if both := m.Mask & d.policy.Settings.MarkMask; both != 0 {
			d.problem(MarkInUse, "settings", Pos{}, "an ip rule of another program looks at mark bits 0x%08x, which are also enlace's; give mark_mask other bits", both)
		}
	}
}

// named is a name for the addresses of a lan or set, distinct between the two.
func named(o Operand) string {
	if o.Kind == OfLAN {
		return "lan." + o.Name
	}
	return "set." + o.Name
}
