// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"time"
)

// Sent notes a probe and returns its number.
func (m *Monitor) Sent(now time.Time, at int) uint32 {
	t := &m.targets[at]
	t.next = now.Add(m.spread(m.health.Interval))
	return t.send(now)
}

// Unsent says that a probe could not be sent after all.
func (m *Monitor) Unsent(at int, seq uint32) {
	t := &m.targets[at]
	t.open = slices.DeleteFunc(t.open, func(p probing) bool { return p.seq == seq })
}

// spread is an interval, a tenth more or less, so that routers that were started together do not stay in step.
func (m *Monitor) spread(d time.Duration) time.Duration {
	m.jitter = m.jitter*1664525 + 1013904223 // Numerical Recipes' generator: anything uneven will do
	return d - d/10 + time.Duration(uint64(d/5)*uint64(m.jitter>>16)>>16)
}

// Answered notes an answer.
func (m *Monitor) Answered(now time.Time, at int, seq uint32) {
	if m.targets[at].answer(now, seq) && m.answering(m.pulse) >= m.quorum() {
		m.pulse = now
	}
}

func (m *Monitor) quorum() int { return min(max(m.health.Quorum, 1), len(m.targets)) }

// answering is how many targets have answered a probe that was sent after a time.
func (m *Monitor) answering(since time.Time) int {
	n := 0
	for i := range m.targets {
		if m.targets[i].proved && m.targets[i].heard.After(since) {
			n++
		}
	}
	return n
}

// Due returns the targets that are to be probed now.
func (m *Monitor) Due(now time.Time) []int {
	var out []int
	for i := range m.targets {
		if !m.dueAt(i).After(now) {
			out = append(out, i)
		}
	}
	return out
}

// dueAt is when a target is probed next: soon when there is doubt.
func (m *Monitor) dueAt(i int) time.Time {
	t := &m.targets[i]
	if m.doubtful() || t.proved && t.measured < acquaintance && t.streak == 0 {
		if soon := t.asked.Add(quick); soon.Before(t.next) {
			return soon
		}
	}
	return t.next
}

// doubtful tells whether a target that used to answer missed a probe, and too few have answered since.
func (m *Monitor) doubtful() bool {
	if m.state != Up && m.state != Degraded && m.state != Unproved {
		return false
	}
	var first time.Time
	for i := range m.targets {
		t := &m.targets[i]
		if t.streak > 0 && !t.silent(m.patient()) && (first.IsZero() || t.missed.Before(first)) {
			first = t.missed
		}
	}
	return !first.IsZero() && m.answering(first) < m.quorum()
}

// patient: a link that is known to lose much has to be silent for long.
func (m *Monitor) patient() bool { return m.state == Degraded }

// Next is when to come back at the latest, to send or to Advance.
func (m *Monitor) Next(now time.Time) time.Time {
	next := now.Add(m.health.Interval)
	if m.away {
		return m.pulse.Add(settled)
	}
	for i := range m.targets {
		for _, at := range []time.Time{m.dueAt(i), m.overdueAt(i)} {
			if !at.IsZero() && at.Before(next) {
				next = at
			}
		}
	}
	if m.audible() < m.quorum() { // silent as soon as it has been for long enough
		if over := now.Add(m.health.Silence - m.sinceHeard(now)); over.After(now) && over.Before(next) {
			next = over
		}
	}
	if m.state == Holding {
		if over := m.clean.Add(m.hold); over.After(now) && over.Before(next) {
			next = over
		}
	}
	return next
}

func (m *Monitor) overdueAt(i int) time.Time {
	at, _ := m.targets[i].due()
	return at
}
