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

// TestFlappingIsHeld: whatever a link does, two changes to up are a hold apart at least, and it is not up while it does not answer for more than a
// second. The link is random: it works and does not for random times, and goes and comes back.
func TestFlappingIsHeld(t *testing.T) {
	ups := 0
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 2))
		loss, until := 0, time.Duration(0)
		h := DefaultHealth()
		h.Hold = time.Duration(1+r.IntN(20)) * time.Second
		s := simulate(t, h, 1+r.IntN(3), func(at time.Duration, _ int) (bool, time.Duration) {
			if at >= until {
				until = at + time.Duration(r.IntN(40000))*time.Millisecond
				loss = []int{0, 0, 5, 50, 100, 100}[r.IntN(6)]
			}
			return r.IntN(100) >= loss, time.Duration(1+r.IntN(20)) * time.Millisecond
		})
		for at := time.Duration(0); at < 20*time.Minute; {
			at += time.Duration(r.IntN(60000)) * time.Millisecond
			s.run(at)
			if r.IntN(4) == 0 {
				s.m.Vanish(s.now)
				at += 3*time.Second + time.Duration(r.IntN(20000))*time.Millisecond
				s.run(at)
				s.m.Appear(s.now)
			}
		}
		left := time.Duration(-1)
		for i, c := range s.changes {
			if c.old == Up && c.new == Down {
				left = c.at
			}
			if c.old == Holding && c.new == Up {
				ups++
				if left >= 0 && c.at-left < h.Hold {
					t.Fatalf("seed %d: up again %v after it was down, the hold is %v: %v", seed, c.at-left, h.Hold, s.changes[:i+1])
				}
			}
		}
	}
	if ups < 100 {
		t.Errorf("links came up again %d times, want many", ups)
	}
}

// TestComesAndGoes: three seconds on and three seconds off are two changes, in however long a time, and so is half of the packets lost.
func TestComesAndGoes(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 3))
		for name, answers := range map[string]func(time.Duration, int) (bool, time.Duration){
			"on and off": func(at time.Duration, _ int) (bool, time.Duration) {
				return at < 5*time.Second || at/(3*time.Second)%2 == 0, time.Millisecond
			},
			"half lost": func(at time.Duration, _ int) (bool, time.Duration) {
				return at < 5*time.Second || r.IntN(100) < 25, time.Millisecond // each way
			},
		} {
			if s := simulate(t, DefaultHealth(), 1, answers).run(2 * time.Minute); len(s.changes) > 3 { // the first is that it is proved
				t.Errorf("seed %d, %s: %v", seed, name, s.changes)
			}
		}
	}
}

// TestHoldGrows: each failure soon after the last doubles the hold, up to the longest; after a long time up it is short again.
func TestHoldGrows(t *testing.T) {
	h := DefaultHealth()
	h.LongestHold = 35 * time.Second
	dead := false
	s := simulate(t, h, 1, func(time.Duration, int) (bool, time.Duration) { return !dead, time.Millisecond }).run(20 * time.Second)
	at := 20 * time.Second
	for _, want := range []time.Duration{10 * time.Second, 20 * time.Second, 35 * time.Second, 35 * time.Second} {
		dead = true
		s.run(at + 2*time.Second)
		dead = false
		s.run(at + 2*time.Second + want)
		if s.m.Standing().State != Holding {
			t.Errorf("after %v it is %v, want it on hold: %v", want, s.m.Standing(), s.changes)
		}
		at += want + 4*time.Second
		s.run(at)
		if s.m.Standing().State != Up {
			t.Errorf("after more than %v it is %v, want it up", want, s.m.Standing())
		}
	}
	at += 10 * 36 * time.Second
	s.run(at)
	dead = true
	s.run(at + 2*time.Second)
	dead = false
	s.run(at + 15*time.Second)
	if s.m.Standing().State != Up {
		t.Errorf("a failure after a long time up is held for %v", s.m.HoldTime())
	}
}

// TestEveryHealthKnob: each attribute of health makes a difference.
func TestEveryHealthKnob(t *testing.T) {
	outcome := func(change func(*Health), answers func(time.Duration, int) (bool, time.Duration)) (State, time.Duration, int) {
		h := DefaultHealth()
		change(&h)
		s := simulate(t, h, 2, answers).run(2 * time.Minute)
		return s.m.Standing().State, s.changes[len(s.changes)-1].at.Round(time.Second), s.sent
	}
	r := rand.New(rand.NewPCG(1, 4))
	lossy := func(time.Duration, int) (bool, time.Duration) { return r.IntN(100) >= 20, time.Millisecond }
	slow := func(time.Duration, int) (bool, time.Duration) { return true, 80 * time.Millisecond }
	pause := func(at time.Duration, _ int) (bool, time.Duration) {
		return at < 10*time.Second || at > 13*time.Second, time.Millisecond
	}
	second := func(at time.Duration, i int) (bool, time.Duration) {
		return i == 0 || at < 10*time.Second, time.Millisecond
	}
	for _, c := range []struct {
		knob    string
		change  func(*Health)
		answers func(time.Duration, int) (bool, time.Duration)
	}{
		{"interval", func(h *Health) { h.Interval = time.Second }, well},
		{"silence", func(h *Health) { h.Silence = 5 * time.Second }, pause},
		{"loss", func(h *Health) { h.Loss = 5 }, lossy},
		{"latency", func(h *Health) { h.Latency = 50 * time.Millisecond }, slow},
		{"hold", func(h *Health) { h.Hold = 30 * time.Second }, pause},
		{"quorum", func(h *Health) { h.Quorum = 2 }, second},
	} {
		s1, at1, n1 := outcome(func(*Health) {}, c.answers)
		s2, at2, n2 := outcome(c.change, c.answers)
		if s1 == s2 && at1 == at2 && n1*9/10 <= n2 && n2 <= n1*11/10 {
			t.Errorf("%s makes no difference: %s at %v with %d probes", c.knob, s1, at1, n1)
		}
	}
}

// TestEveryStateHasAnExit: from every state a link that works comes to up in the end, and one that does not leaves it.
func TestEveryStateHasAnExit(t *testing.T) {
	for _, from := range []State{Unproved, Up, Degraded, Holding, Down} {
		for _, works := range []bool{true, false} {
			s := simulate(t, DefaultHealth(), 1, func(time.Duration, int) (bool, time.Duration) { return works, time.Millisecond })
			s.m = NewMonitor(DefaultHealth(), make([]Probe, 1), true, 1)
			s.m.Resume(s.now, Standing{State: from}, 10*time.Second)
			s.run(time.Minute)
			if got, want := s.m.Standing().State, map[bool]State{true: Up, false: Down}[works]; got != want {
				t.Errorf("from %s, works %v: %s after a minute, want %s", from, works, got, want)
			}
		}
	}
}

// TestFewProbes: a link that works is asked no more often than its interval says, and one that is dead is not either.
func TestFewProbes(t *testing.T) {
	for name, answers := range map[string]func(time.Duration, int) (bool, time.Duration){"well": well, "dead": diesAt(0), "dies": diesAt(time.Minute)} {
		if s := simulate(t, DefaultHealth(), 2, answers).run(10 * time.Minute); s.sent > 2*1300 {
			t.Errorf("%s: %d probes in ten minutes, want 2,400 and a few", name, s.sent)
		}
	}
}
