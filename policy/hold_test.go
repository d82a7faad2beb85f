// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"math/rand/v2"
	"testing"
	"time"
)

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
