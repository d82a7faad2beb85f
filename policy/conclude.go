// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Advance draws the conclusions of a time, and tells whether there is anything new to tell: another verdict, or another target that is silent.
func (m *Monitor) Advance(now time.Time) bool {
	before := m.Standing()
	if m.away {
		if m.state == Holding && now.Sub(m.pulse) >= settled {
			m.enter(now, "", "")
		}
		return before != m.Standing()
	}
	audible := m.audible()
	for i := range m.targets {
		m.targets[i].expire(now)
	}
	switch m.state {
	case Unproved, Up, Degraded:
		m.working(now)
	case Down:
		if m.answering(m.entered) >= m.quorum() {
			m.begin(now)
			m.enter(now, Holding, "it answers again, and has to work for %s before it is used", m.hold)
		}
	case Holding:
		m.holding(now)
	}
	return before != m.Standing() || audible != m.audible()
}

// working judges a link that is in use.
func (m *Monitor) working(now time.Time) {
	if m.silent(now) {
		if m.state == Unproved && !m.conclusive {
			m.why = "no target has ever answered: whether it works is not known; name targets that answer"
			return
		}
		m.left = now
		m.punish()
		m.enter(now, Down, "%s for %s", m.noAnswer(), m.sinceHeard(now).Round(time.Millisecond))
		return
	}
	if m.state == Unproved {
		if m.answering(time.Time{}) < m.quorum() {
			return
		}
		m.failed = false
		m.enter(now, Up, "its targets answer")
	}
	loss, latency := m.loss(), m.latency()
	lossy, slow := loss > m.health.Loss, m.health.Latency > 0 && latency > m.health.Latency
	switch {
	case m.state == Up && lossy:
		m.enter(now, Degraded, "it loses %d %% of probes, more than %d %%", loss, m.health.Loss)
	case m.state == Up && slow:
		m.enter(now, Degraded, "answers take %s, more than %s", latency.Round(time.Millisecond), m.health.Latency)
	case m.state == Degraded && loss <= m.health.Loss/2 && (m.health.Latency == 0 || latency <= m.health.Latency*4/5) && now.Sub(m.entered) >= max(m.hold, m.health.Hold):
		m.enter(now, Up, "it answers well again")
	}
}

// silent tells whether fewer targets than the quorum are heard, for long enough.
func (m *Monitor) silent(now time.Time) bool {
	return m.audible() < m.quorum() && m.sinceHeard(now) >= m.health.Silence
}

// audible is how many targets have not missed so many probes that they are silent.
func (m *Monitor) audible() int {
	n := 0
	for i := range m.targets {
		if !m.targets[i].silent(m.patient()) {
			n++
		}
	}
	return n
}

// sinceHeard is for how long too few targets were heard.
func (m *Monitor) sinceHeard(now time.Time) time.Duration {
	return now.Sub(m.nth(func(a, b target) int { return b.heard.Compare(a.heard) }).heard)
}

// nth is the target that decides: as many as the quorum are as good as it, or better.
func (m *Monitor) nth(compare func(a, b target) int) target {
	list := slices.Clone(m.targets)
	slices.SortStableFunc(list, compare)
	return list[m.quorum()-1]
}

// loss and latency are those of the target that decides: one bad target says nothing of the link.
func (m *Monitor) loss() int {
	t := m.nth(func(a, b target) int { return a.losses - b.losses })
	return t.loss()
}

func (m *Monitor) latency() time.Duration {
	slowness := func(t target) time.Duration {
		if !t.proved || t.silent(false) {
			return longestWait // says nothing about how fast the link is
		}
		return t.rtt
	}
	return slowness(m.nth(func(a, b target) int { return cmp.Compare(slowness(a), slowness(b)) }))
}

// steadiest is the target that decides how many probes were missed in a row.
func (m *Monitor) steadiest() target {
	return m.nth(func(a, b target) int { return a.streak - b.streak })
}

// holding judges a link that has to prove itself.
func (m *Monitor) holding(now time.Time) {
	worst := m.steadiest()
	if worst.streak >= unclean || m.loss() > m.health.Loss {
		m.clean = now
	}
	switch {
	case now.Sub(m.pulse) >= settled:
		m.enter(now, Down, "%s for %s", m.noAnswer(), now.Sub(m.pulse).Round(time.Second))
	case m.answering(time.Time{}) >= m.quorum() && now.Sub(m.clean) >= m.hold:
		m.failed, m.upSince = false, now
		m.enter(now, Up, "it has worked for %s", m.hold)
	case worst.streak >= unclean:
		m.why = m.unsteady()
	}
}

func (m *Monitor) unsteady() string {
	return fmt.Sprintf("it comes and goes; it has to work for %s without a break", m.hold)
}

// noAnswer says which targets are not heard.
func (m *Monitor) noAnswer() string {
	var out []string
	for i, p := range m.probes {
		if m.targets[i].streak > 0 {
			out = append(out, p.String())
		}
	}
	text := "no answer from " + strings.Join(out, ", ")
	if q := m.quorum(); q > 1 {
		text += fmt.Sprintf(" (%d of %d targets have to answer)", q, len(m.probes))
	}
	return text
}

// TargetStanding is how one target answers.
type TargetStanding struct {
	Target  string
	Answers bool
	Loss    int // percent of the last probes
	Latency time.Duration
}

// Targets are how all targets answer, none when there is no way to them.
func (m *Monitor) Targets() []TargetStanding {
	var out []TargetStanding
	if m.away {
		return nil
	}
	for i, p := range m.probes {
		t := &m.targets[i]
		out = append(out, TargetStanding{p.String(), t.proved && !t.silent(false), t.loss(), t.rtt})
	}
	return out
}
