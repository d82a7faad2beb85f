// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"math/rand/v2"
	"testing"
	"time"
)

// simulation runs a monitor against a link that answers as a test wants, in a time of its own.
type simulation struct {
	t       *testing.T
	m       *Monitor
	now     time.Time
	start   time.Time
	answers func(at time.Duration, target int) (bool, time.Duration) // whether, and after how long
	open    []reply
	sent    int
	changes []change
}

type reply struct {
	at     time.Time
	target int
	seq    uint32
}

type change struct {
	at  time.Duration
	old State
	new State
}

func simulate(t *testing.T, h Health, targets int, answers func(at time.Duration, target int) (bool, time.Duration)) *simulation {
	t.Helper()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := &simulation{t: t, m: NewMonitor(h, make([]Probe, targets), true, 1), now: start, start: start, answers: answers}
	s.m.Appear(start)
	return s
}

// run goes on until a time since the start.
func (s *simulation) run(until time.Duration) *simulation {
	end := s.start.Add(until)
	for s.now.Before(end) {
		old := s.m.Standing().State
		s.m.Advance(s.now)
		if now := s.m.Standing().State; now != old {
			s.changes = append(s.changes, change{s.now.Sub(s.start), old, now})
		}
		if !s.m.Away() {
			for _, i := range s.m.Due(s.now) {
				s.sent++
				seq := s.m.Sent(s.now, i)
				if ok, after := s.answers(s.now.Sub(s.start), i); ok {
					s.open = append(s.open, reply{s.now.Add(after), i, seq})
				}
			}
		}
		next := s.m.Next(s.now)
		if !next.After(s.now) {
			next = s.now.Add(time.Millisecond)
		}
		for _, r := range s.open {
			if r.at.Before(next) {
				next = r.at
			}
		}
		s.now = next
		keep := s.open[:0]
		for _, r := range s.open {
			if r.at.After(s.now) {
				keep = append(keep, r)
			} else {
				s.m.Answered(s.now, r.target, r.seq)
			}
		}
		s.open = keep
	}
	return s
}

// well answers after a millisecond.
func well(time.Duration, int) (bool, time.Duration) { return true, time.Millisecond }

// diesAt answers until then.
func diesAt(at time.Duration) func(time.Duration, int) (bool, time.Duration) {
	return func(now time.Duration, _ int) (bool, time.Duration) { return now < at, time.Millisecond }
}

// TestSilenceIsNoticed: whenever a link dies, it is down within a second, with any number of targets, and never before it dies.
func TestSilenceIsNoticed(t *testing.T) {
	for targets := 1; targets <= 4; targets++ {
		for dies := 600 * time.Millisecond; dies < 3*time.Second; dies += 7 * time.Millisecond {
			s := simulate(t, DefaultHealth(), targets, diesAt(dies)).run(dies + 2*time.Second)
			last := s.changes[len(s.changes)-1]
			if took := last.at - dies; last.new != Down || took < 0 || took > 950*time.Millisecond {
				t.Fatalf("%d targets, dies at %v: %v", targets, dies, s.changes)
			}
		}
	}
}

// TestOneTargetNeverDecides: with several targets one of them may be dead, or lose everything now and then, and the link stays up.
func TestOneTargetNeverDecides(t *testing.T) {
	for targets := 2; targets <= 4; targets++ {
		for quorum := 1; quorum < targets; quorum++ {
			h := DefaultHealth()
			h.Quorum = quorum
			s := simulate(t, h, targets, func(at time.Duration, i int) (bool, time.Duration) {
				return i != 0 || at < 3*time.Second || at > time.Minute && at < 2*time.Minute, time.Millisecond
			}).run(5 * time.Minute)
			if len(s.changes) != 1 || s.m.Standing().State != Up {
				t.Errorf("%d targets, quorum %d: %v", targets, quorum, s.changes)
			}
		}
	}
}

// TestQuorum: fewer targets than the quorum are silence.
func TestQuorum(t *testing.T) {
	h := DefaultHealth()
	h.Quorum = 2
	s := simulate(t, h, 3, func(at time.Duration, i int) (bool, time.Duration) {
		return i == 0 || at < 3*time.Second, time.Millisecond
	}).run(5 * time.Second)
	if s.m.Standing().State != Down {
		t.Errorf("one of three targets answers, the quorum is 2: %v", s.changes)
	}
}

// TestNoFalseAlarm: an hour of 10 % loss of probes, with two targets, changes nothing; nor does a slow link, or one with jitter.
func TestNoFalseAlarm(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 1))
		for name, answers := range map[string]func(time.Duration, int) (bool, time.Duration){
			"loss": func(time.Duration, int) (bool, time.Duration) { return r.IntN(100) >= 10, 10 * time.Millisecond },
			"satellite": func(time.Duration, int) (bool, time.Duration) {
				return r.IntN(100) >= 2, 650*time.Millisecond + time.Duration(r.IntN(50))*time.Millisecond
			},
			"jitter": func(time.Duration, int) (bool, time.Duration) {
				return true, time.Duration(r.ExpFloat64()*60) * time.Millisecond
			},
		} {
			if s := simulate(t, DefaultHealth(), 2, answers).run(time.Hour); len(s.changes) != 1 {
				t.Errorf("seed %d, %s: %v", seed, name, s.changes)
			}
		}
	}
}
