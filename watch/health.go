// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"time"

	"enlace/policy"
	"enlace/watch/probe"
)

// health is the probing of all links: a patient for each family of each link whose targets are known.
type health struct {
	patients map[string]*patients // by link
	resume   map[string][2]remembered
	wake     func(fmt.Stringer)
	written  map[string][2]remembered
}

// patients are those of a link, and what they were made for.
type patients struct {
	health  policy.Health
	members [2]*probe.Patient // by Family; nil where nothing is probed
}

func newHealth(files Files, wake func(fmt.Stringer)) *health {
	before := files.recallHealth()
	return &health{patients: map[string]*patients{}, resume: before, written: before, wake: wake}
}

// follow probes the links of a plan as it reaches them.
func (h *health) follow(p policy.Policy, plan policy.Plan, facts policy.Facts) {
	wanted := map[string]bool{}
	for i, l := range p.Links {
		if l.Health.Off || i >= len(plan.Links) {
			continue
		}
		wanted[l.Name] = true
		of := h.patients[l.Name]
		if of != nil && !reflect.DeepEqual(of.health, l.Health) {
			h.resume = h.remembered()
			of.close()
			of = nil
		}
		if of == nil {
			of = &patients{health: l.Health}
			h.patients[l.Name] = of
		}
		for _, f := range policy.Families {
			h.followOne(of, l, f, wayOf(plan.Links[i], f, facts))
		}
	}
	for name, of := range h.patients {
		if !wanted[name] {
			of.close()
			delete(h.patients, name)
		}
	}
	h.resume = nil
}

// followOne probes a link in a family, which begins when there is a way for the first time.
func (h *health) followOne(of *patients, l policy.Link, f policy.Family, w *probe.Way) {
	member := of.members[f]
	if member == nil {
		targets := l.Health.TargetsIn(f)
		if w == nil || len(targets) == 0 || len(l.Health.Targets) == 0 && !w.Gateway.IsValid() {
			return
		}
		m := policy.NewMonitor(l.Health, targets, len(l.Health.Targets) > 0 || w.Ethernet, rand.Uint32())
		if r := h.resume[l.Name][f]; r.State != "" {
			hold, _ := time.ParseDuration(r.Hold)
			m.Resume(time.Now(), policy.Standing{State: r.State, Why: r.Why}, hold)
		}
		member = probe.NewPatient(m, targets, func(w probe.Way, s policy.Standing) { h.wake(verdict{w, s}) })
		of.members[f] = member
	}
	member.Follow(w)
}

// wayOf is how a link's probes leave in a family, nil when there is no way.
func wayOf(l policy.PlannedLink, f policy.Family, facts policy.Facts) *probe.Way {
	path := l.Paths[f]
	if path == nil {
		return nil
	}
	i, _ := facts.InterfaceNamed(l.Interface)
	return &probe.Way{
		Link: l.Name, Interface: l.Interface, Index: l.Index, Mark: l.Mark, Family: f,
		Source: path.Address, Gateway: path.Gateway, Ethernet: !i.PointToPoint && path.Gateway.IsValid(),
	}
}

// verdict is a reason for a pass.
type verdict struct {
	probe.Way
	policy.Standing
}

func (v verdict) String() string {
	s := fmt.Sprintf("probes of %s (%s): %s", v.Link, v.Family, v.State)
	if v.Why != "" {
		s += ", " + v.Why
	}
	return s
}

// standings are the verdicts of now, and next is when one may change without an event, the zero time if none does.
func (h *health) standings() (out map[string][2]policy.Standing, next time.Time) {
	out = map[string][2]policy.Standing{}
	for name, families := range h.resume { // of those that are not probed yet
		out[name] = [2]policy.Standing{{State: families[0].State, Why: families[0].Why}, {State: families[1].State, Why: families[1].Why}}
	}
	for name, of := range h.patients {
		var s [2]policy.Standing
		for f, member := range of.members {
			if member == nil {
				continue
			}
			var at time.Time
			if s[f], at = member.Standing(); !at.IsZero() && (next.IsZero() || at.Before(next)) {
				next = at
			}
		}
		for f := range s { // a family without targets stands and falls with the other
			if of.members[f] == nil && of.members[1-f] != nil && len(of.health.Targets) > 0 {
				s[f] = s[1-f]
			}
		}
		out[name] = s
	}
	return out, next
}

// remembered is what the next daemon should know.
func (h *health) remembered() map[string][2]remembered {
	out := map[string][2]remembered{}
	all, _ := h.standings()
	for name, families := range all {
		var r [2]remembered
		for f, s := range families {
			r[f] = remembered{State: s.State, Why: s.Why}
			if member := h.patients[name].members[f]; member != nil && member.Hold() > 0 {
				r[f].Hold = member.Hold().String()
			}
		}
		out[name] = r
	}
	return out
}

// save writes what is remembered, when it is something else than last time.
func (h *health) save(files Files) error {
	now := h.remembered()
	if reflect.DeepEqual(now, h.written) {
		return nil
	}
	h.written = now
	return files.remember(now)
}

// targets are how the targets of a link answer.
func (h *health) targets(link string) []policy.TargetStanding {
	of := h.patients[link]
	if of == nil {
		return nil
	}
	var out []policy.TargetStanding
	for _, member := range of.members {
		if member != nil {
			out = append(out, member.Targets()...)
		}
	}
	return out
}

func (p *patients) close() {
	for _, member := range p.members {
		if member != nil {
			member.Close()
		}
	}
}

// close ends all probing.
func (h *health) close() {
	for _, of := range h.patients {
		of.close()
	}
}
