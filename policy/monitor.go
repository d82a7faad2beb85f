// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"time"
)

// Monitor judges a link in one family by the answers of its targets. It has no clock and sends nothing: whoever does tells it what was sent
// and answered, and when, and asks what comes next. Times must not go backwards.
//
//	           answer                       silence
//	unproved ---------> up <--> degraded -----------> down
//	    ^                ^                              | answer
//	    | back soon      | has worked for the hold      v
//	  (gone) <-------- holding <------------------------+
//	           silence of settled
//
// From every state the link is gone when the host has no way through it any more. Holding is left only for up, or when nothing at all is heard
// for long: a link that comes and goes stays there, and changes nothing.
type Monitor struct {
	health     Health
	probes     []Probe
	conclusive bool // targets that never answered at all are dead, not unable to answer
	targets    []target

	away    bool  // the host has no way through it
	state   State // empty: gone
	why     string
	entered time.Time // the state
	clean   time.Time // holding: since when it has worked
	pulse   time.Time // when it was last seen to work, or to have a way
	upSince time.Time // when it became usable
	hold    time.Duration
	failed  bool // since the last time that it was usable
	left    time.Time
	soon    time.Time // when it last came back soon: once in a hold that is free
	jitter  uint32
}

const (
	// quick is the time between two probes of a target when there is doubt.
	quick = 50 * time.Millisecond
	// backSoon is how long a link may be gone and be taken for the same: a DHCP client changes the address.
	backSoon = 2 * time.Second
	// settled is how long a link on hold may be silent, or gone, before that is told.
	settled = 15 * time.Second
	// unclean is how many misses in a row begin the hold anew.
	unclean = 3
	// longLived is how many holds a link has to be up for its next failure to count as the first again.
	longLived = 10
)

// NewMonitor makes a monitor for a link that is not there yet. conclusive says whether the targets must answer on a link that works; the
// gateway of a point-to-point interface need not.
// seed is any number: monitors with different ones do not probe in step.
func NewMonitor(h Health, probes []Probe, conclusive bool, seed uint32) *Monitor {
	return &Monitor{health: h, probes: probes, conclusive: conclusive, targets: make([]target, len(probes)), away: true, jitter: seed}
}

// Away tells whether the host has no way through the link.
func (m *Monitor) Away() bool { return m.away }

// Resume puts a monitor into the state of an earlier one, of a process that has ended.
func (m *Monitor) Resume(now time.Time, s Standing, hold time.Duration) {
	m.hold = min(hold, m.health.LongestHold)
	if s.State == "" {
		m.failed = hold > 0 // it was on hold, or would have been
		return
	}
	m.begin(now)
	m.away, m.upSince = false, now
	m.failed = s.State == Down || s.State == Holding
	m.enter(now, s.State, "%s", s.Why)
}

// HoldTime is the present length of the hold, 0 before the first.
func (m *Monitor) HoldTime() time.Duration { return m.hold }

// Failed tells whether the link has failed since it was last usable.
func (m *Monitor) Failed() bool { return m.failed }

// Standing is the verdict.
func (m *Monitor) Standing() Standing {
	silent := m.state == Holding && (m.away || len(m.targets) > 0 && m.steadiest().streak >= unclean)
	return Standing{m.state, m.why, silent}
}

func (m *Monitor) enter(now time.Time, s State, format string, args ...any) {
	if m.state != s {
		m.entered = now
	}
	m.state, m.why = s, fmt.Sprintf(format, args...)
}

// begin starts probing: everything is asked, one after the other.
func (m *Monitor) begin(now time.Time) {
	for i := range m.targets {
		m.targets[i].reset(now.Add(time.Duration(i) * quick))
	}
	m.pulse, m.clean = now, now
}

// Appear says that the host has a way through the link, Vanish that it has none any more.
func (m *Monitor) Appear(now time.Time) {
	if !m.away {
		return
	}
	m.away = false
	pulse := m.pulse
	m.begin(now)
	first := m.left.IsZero() && !m.failed
	soon := !m.failed && now.Sub(m.left) <= backSoon && (m.soon.IsZero() || now.Sub(m.soon) >= m.health.Hold)
	switch {
	case m.state == Holding:
		m.pulse = pulse
		m.enter(now, Holding, "%s", m.unsteady())
	case first || soon:
		m.upSince = now
		if soon {
			m.soon = now
		}
		m.enter(now, Unproved, "no target has answered yet")
	default:
		m.punish()
		m.enter(now, Holding, "back, and has to work for %s before it is used", m.hold)
	}
}

// Renew says that the way is another one: what was sent is not waited for.
func (m *Monitor) Renew(now time.Time) { m.begin(now) }

// Vanish says that the host has no way through the link any more.
func (m *Monitor) Vanish(now time.Time) {
	if m.away {
		return
	}
	m.away = true
	switch m.state {
	case Holding:
		m.why = m.unsteady()
		return
	case Up, Degraded, Unproved:
		m.left = now
	}
	m.enter(now, "", "")
}

// punish makes the hold for a link that has failed: the first, or twice the last when that is not long ago.
func (m *Monitor) punish() {
	if m.failed {
		return // for this failure already
	}
	m.failed = true
	up := m.left.Sub(m.upSince)
	if m.hold == 0 || up >= longLived*m.hold {
		m.hold = m.health.Hold
		return
	}
	m.hold = min(2*m.hold, m.health.LongestHold)
}
