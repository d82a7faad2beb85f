// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strings"
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
	if s.State == "" {
		return
	}
	m.hold = min(hold, m.health.LongestHold)
	m.begin(now)
	m.away, m.upSince = false, now
	m.failed = s.State == Down || s.State == Holding
	m.enter(now, s.State, "%s", s.Why)
}

// HoldTime is the present length of the hold, 0 before the first.
func (m *Monitor) HoldTime() time.Duration { return m.hold }

// Standing is the verdict.
func (m *Monitor) Standing() Standing { return Standing{m.state, m.why} }

func (m *Monitor) enter(now time.Time, s State, format string, args ...any) {
	if m.state != s {
		m.entered = now
	}
	m.state, m.why = s, fmt.Sprintf(format, args...)
}

// begin starts probing: everything is asked, one after the other.
func (m *Monitor) begin(now time.Time) {
	for i := range m.targets {
		m.targets[i].reset(now)
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

// Sent notes a probe and returns its number.
func (m *Monitor) Sent(now time.Time, at int) uint32 {
	t := &m.targets[at]
	t.next = now.Add(m.spread(m.health.Interval))
	return t.send(now)
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
		m.enter(now, Down, "no answer from %s for %s", m.names(), m.sinceHeard(now).Round(time.Millisecond))
		return
	}
	if m.state == Unproved {
		if m.answering(time.Time{}) < m.quorum() {
			return
		}
		m.failed = false
		m.enter(now, Up, "")
	}
	loss, latency := m.loss(), m.latency()
	lossy, slow := loss > m.health.Loss, m.health.Latency > 0 && latency > m.health.Latency
	switch {
	case m.state == Up && lossy:
		m.enter(now, Degraded, "it loses %d %% of probes, more than %d %%", loss, m.health.Loss)
	case m.state == Up && slow:
		m.enter(now, Degraded, "answers take %s, more than %s", latency.Round(time.Millisecond), m.health.Latency)
	case m.state == Degraded && loss <= m.health.Loss/2 && (m.health.Latency == 0 || latency <= m.health.Latency*4/5) && now.Sub(m.entered) >= max(m.hold, m.health.Hold):
		m.enter(now, Up, "")
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
	return m.nth(func(a, b target) int { return int(a.rtt - b.rtt) }).rtt
}

// holding judges a link that has to prove itself.
func (m *Monitor) holding(now time.Time) {
	worst := m.nth(func(a, b target) int { return a.streak - b.streak })
	if worst.streak >= unclean || m.loss() > m.health.Loss {
		m.clean = now
	}
	switch {
	case now.Sub(m.pulse) >= settled:
		m.enter(now, Down, "no answer from %s for %s", m.names(), now.Sub(m.pulse).Round(time.Second))
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

// names are the targets in words.
func (m *Monitor) names() string {
	var out []string
	for _, p := range m.probes {
		out = append(out, p.String())
	}
	return strings.Join(out, ", ")
}

// TargetStanding is how one target answers.
type TargetStanding struct {
	Target  string
	Answers bool
	Loss    int // percent of the last probes
	Latency time.Duration
}

// Targets are how all targets answer.
func (m *Monitor) Targets() []TargetStanding {
	var out []TargetStanding
	for i, p := range m.probes {
		t := &m.targets[i]
		out = append(out, TargetStanding{p.String(), t.proved && !t.silent(false), t.loss(), t.rtt})
	}
	return out
}
