// SPDX-License-Identifier: Apache-2.0

package policy

import "strings"

// judge fills in the states of a link: what the host shows, corrected by what the answers of its targets show, and by what a person wants.
func (d *deriver) judge(l Link, planned *PlannedLink) {
	d.unfitting(l)
	standings := d.facts.Standings[l.Name]
	subject := "link " + l.Name
	if planned.Paths[V4] == nil && planned.Paths[V6] == nil {
		for _, s := range standings {
			if s.State == Holding { // it comes and goes
				planned.State = Holding
				d.problem(LinkHolding, subject, l.Pos, "%s", s.Why)
				return
			}
		}
		return
	}
	best := V4
	for _, family := range Families {
		if planned.Paths[family] == nil {
			continue
		}
		if planned.States[family] = Up; standings[family].State != "" {
			planned.States[family] = standings[family].State
		}
		if planned.Paths[best] == nil || planned.States[family].fitness() > planned.States[best].fitness() {
			best = family
		}
	}
	planned.State = planned.States[best]
	if drain, drained := d.facts.Drained[l.Name]; drained {
		for _, family := range Families {
			if planned.Paths[family] != nil {
				planned.States[family] = Drained
			}
		}
		planned.State = Drained
		what := "it gets no new flows while others work"
		if drain.Now {
			what += ", and lost those that it had"
		}
		d.problem(LinkDrained, subject, l.Pos, "drained %s: %s; enlace undrain %s puts it back", drain.Why, what, l.Name)
		for _, family := range Families {
			if s := standings[family]; planned.Paths[family] != nil && s.State == Down {
				d.problem(LinkSilent, subject, l.Pos, "%s", s.Why)
			}
		}
		return
	}
	d.tell(l, planned, best, standings)
}

// unfitting tells of addresses of the policy that do not go with the host: a target that is the host itself answers whatever the link does, and an
// address of another interface is not one that answers come back to.
func (d *deriver) unfitting(l Link) {
	for _, t := range l.Health.Targets {
		if t.Address.IsValid() && d.facts.Has(t.Address) {
			d.problem(TargetUnusable, "link "+l.Name, l.Pos, "target %s is an address of this host, which answers whatever the link does", t)
		}
	}
	i, _ := d.facts.InterfaceNamed(l.Interface)
	for _, a := range l.SNAT {
		if a.IsValid() && d.facts.Has(a) && !i.has(a) {
			d.problem(SNATElsewhere, "link "+l.Name, l.Pos, "snat = %q is an address of another interface: its provider does not bring the answers to %s", a, l.Interface)
		}
	}
}

// stateCodes are the problems of links that are not simply up.
var stateCodes = map[State]Code{Down: LinkSilent, Degraded: LinkDegraded, Holding: LinkHolding, Unproved: LinkUnproved}

// tell says why a link is not up, and in which family when they differ.
func (d *deriver) tell(l Link, planned *PlannedLink, best Family, standings [2]Standing) {
	for _, family := range []Family{best, 1 - best} {
		state := planned.States[family]
		if state == "" || state == Up || state == Unproved && !strings.Contains(standings[family].Why, "ever") {
			continue
		}
		why := standings[family].Why
		switch {
		case family != best && state == planned.State:
			continue // the same is told of the other
		case family != best:
			why = family.String() + " is " + string(state) + ": " + why
		}
		d.problem(stateCodes[state], "link "+l.Name, l.Pos, "%s", why)
	}
}
