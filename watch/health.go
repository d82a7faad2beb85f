// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"time"

	"enlace/policy"
	"enlace/watch/probe"
)

// health is the probing of all links: a patient for each family of each link whose targets are known.
type health struct {
	patients map[string]*patients     // by link
	resume   map[string][2]remembered // what was found before, of those that are not probed yet
	followed bool                     // there was a plan to follow
	wake     func(fmt.Stringer)
	written  map[string][2]remembered
}

// patients are those of a link, and what they were made for.
type patients struct {
	health     policy.Health
	members    [2]*probe.Patient // by Family; nil where nothing is probed
	conclusive [2]bool           // how they were made
}

func newHealth(files Files, wake func(fmt.Stringer)) *health {
	before := files.recallHealth()
	if before == nil {
		before = map[string][2]remembered{}
	}
	return &health{patients: map[string]*patients{}, resume: before, written: maps.Clone(before), wake: wake}
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
			h.resume[l.Name] = h.remembered()[l.Name]
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
	for name := range h.resume {
		if !wanted[name] {
			delete(h.resume, name)
		}
	}
	h.followed = true
}

// followOne probes a link in a family, which begins when there is a way and somebody to ask. When what there is to ask changes, it begins anew.
func (h *health) followOne(of *patients, l policy.Link, f policy.Family, w *probe.Way) {
	targets := l.Health.TargetsIn(f)
	member := of.members[f]
	if w == nil && member == nil {
		return
	}
	if w != nil {
		nobody := len(targets) == 0 || len(l.Health.Targets) == 0 && !w.Gateway.IsValid()
		conclusive := len(l.Health.Targets) > 0 || w.Ethernet
		if member != nil && (nobody || conclusive != of.conclusive[f]) {
			member.Close()
			of.members[f], member = nil, nil
		}
		if nobody {
			return
		}
		if member == nil {
			member = h.begin(l, f, targets, conclusive)
			of.members[f], of.conclusive[f] = member, conclusive
		}
	}
	member.Follow(w)
}

// begin makes a patient, which goes on where an earlier one ended.
func (h *health) begin(l policy.Link, f policy.Family, targets []policy.Probe, conclusive bool) *probe.Patient {
	m := policy.NewMonitor(l.Health, targets, conclusive, rand.Uint32())
	r := h.resume[l.Name][f]
	hold, _ := time.ParseDuration(r.Hold)
	if r.Base != l.Health.Hold.String() {
		hold = 0 // it grew from another
	}
	m.Resume(time.Now(), policy.Standing{State: r.State, Why: r.Why}, hold)
	both := h.resume[l.Name]
	both[f] = remembered{}
	h.resume[l.Name] = both
	return probe.NewPatient(m, targets, func(w probe.Way, s policy.Standing) { h.wake(verdict{w, s}) })
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
	for name, families := range h.resume { // as it was left; then what has a way has a patient
		if h.followed {
			break
		}
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
	out := maps.Clone(h.resume)
	for name, of := range h.patients {
		r := out[name]
		for f, member := range of.members {
			if member == nil {
				continue
			}
			s, _ := member.Standing()
			r[f] = remembered{State: s.State, Why: s.Why, Silent: s.Silent}
			if hold, failed := member.Hold(); hold > 0 && (failed || s.State != "") {
				r[f].Hold, r[f].Base = hold.String(), of.health.Hold.String()
			}
		}
		out[name] = r
	}
	return out
}

// save writes what is remembered, when it is something else than last time.
func (h *health) save(files Files) error {
	if !h.followed {
		return nil // nothing is known yet
	}
	now := h.remembered()
	if reflect.DeepEqual(now, h.written) {
		return nil
	}
	h.written = now
	return files.remember(now)
}

// why is what brought a link to where it is, as its probes say it.
func (h *health) why(link string) string {
	if of := h.patients[link]; of != nil {
		for _, member := range of.members {
			if member == nil {
				continue
			}
			if s, _ := member.Standing(); s.State == policy.Up && s.Why != "" {
				return s.Why
			}
		}
	}
	return ""
}

// targets are how the targets of a link answer.
func (h *health) targets(link string) []policy.TargetStanding {
	var out []policy.TargetStanding
	for _, member := range h.members(link) {
		out = append(out, member.Targets()...)
	}
	return out
}

// members are the patients of a link.
func (h *health) members(link string) []*probe.Patient {
	var out []*probe.Patient
	if of := h.patients[link]; of != nil {
		for _, member := range of.members {
			if member != nil {
				out = append(out, member)
			}
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
