// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"math"
	"time"
)

// How a target's answers are remembered and judged.
const (
	// window is how many of the last probes count for the loss.
	window = 40
	// acquaintance is how many answers it takes to know how long answers take. Until then a target that answers is asked quickly.
	acquaintance = 6
	// fewestMisses in a row are the least that make a target silent.
	fewestMisses = 5
	// mostMisses in a row make a target silent however many it loses: three seconds of quick probes.
	mostMisses = 60
	// chance is how likely silence may be by the usual loss alone.
	chance = 1e-9
	// Limits of how long an answer is waited for before the probe counts as missed. It is four deviations over the mean otherwise, as in
	// RFC 6298. A later answer still counts.
	shortestWait = 100 * time.Millisecond
	longestWait  = 3 * time.Second
	firstWait    = 300 * time.Millisecond
	// forgotten is how long a late answer is known again.
	forgotten = 10 * time.Second
)

// target is what is known of one target's answers.
type target struct {
	next     time.Time // the next probe is due
	seq      uint32    // of the last probe
	asked    time.Time // when that was sent
	open     []probing // sent and not answered, the oldest first
	lost     [window]bool
	losses   int
	streak   int       // misses since the last answer
	missed   time.Time // when the first of them was noticed
	heard    time.Time // when the last probe was sent that was answered; before the first, when probing began
	proved   bool      // it has answered
	measured int       // answers that went into the next two
	rtt      time.Duration
	varying  time.Duration // mean deviation of rtt
}

// probing is a probe that was sent.
type probing struct {
	seq  uint32
	sent time.Time
	late bool // counted as missed
}

// reset forgets what was answered, but not how long answers take. The next probe is due at a time.
func (t *target) reset(next time.Time) {
	*t = target{seq: t.seq, next: next, heard: next, measured: t.measured, rtt: t.rtt, varying: t.varying}
}

func (t *target) send(now time.Time) uint32 {
	t.seq++
	t.asked = now
	t.open = append(t.open, probing{seq: t.seq, sent: now})
	return t.seq
}

// answer notes an answer and tells whether it was one to a probe that is remembered.
func (t *target) answer(now time.Time, seq uint32) bool {
	for i, p := range t.open {
		if p.seq != seq {
			continue
		}
		t.open = append(t.open[:i], t.open[i+1:]...)
		if t.seq-seq < window {
			t.count(seq, false)
		}
		t.proved = true
		if p.sent.After(t.heard) {
			t.heard = p.sent
		}
		t.streak, t.missed = 0, time.Time{}
		for _, later := range t.open {
			if later.late && later.sent.After(p.sent) {
				t.streak++
			}
		}
		t.measure(now.Sub(p.sent))
		return true
	}
	return false
}

// measure takes a round trip into the mean, in the end with the weights of RFC 6298. The first ones count equally: the very first is slow
// where a neighbour has to be found.
func (t *target) measure(rtt time.Duration) {
	t.measured++
	if t.measured == 1 {
		t.rtt, t.varying = rtt, rtt/2
		return
	}
	n := time.Duration(t.measured)
	t.varying += ((t.rtt - rtt).Abs() - t.varying) / min(n, 4)
	t.rtt += (rtt - t.rtt) / min(n, 8)
}

// wait is how long an answer may take.
func (t *target) wait() time.Duration {
	if t.rtt == 0 {
		return firstWait
	}
	return min(max(t.rtt+4*t.varying, shortestWait), longestWait)
}

// expire counts the probes that are overdue as missed, and forgets old ones.
func (t *target) expire(now time.Time) {
	wait := t.wait()
	keep := t.open[:0]
	for _, p := range t.open {
		if !p.late && now.Sub(p.sent) >= wait {
			p.late = true
			t.count(p.seq, true)
			if t.streak == 0 {
				t.missed = now
			}
			t.streak++
		}
		if now.Sub(p.sent) < forgotten {
			keep = append(keep, p)
		}
	}
	t.open = keep
}

// due is when the next open probe is overdue, false when none is open.
func (t *target) due() (time.Time, bool) {
	for _, p := range t.open {
		if !p.late {
			return p.sent.Add(t.wait()), true
		}
	}
	return time.Time{}, false
}

// count notes whether a probe was lost, in the place of the one a window before.
func (t *target) count(seq uint32, lost bool) {
	at := &t.lost[seq%window]
	if *at {
		t.losses--
	}
	if lost {
		t.losses++
	}
	*at = lost
}

// loss is the share of the last probes that were lost, in percent.
func (t *target) loss() int { return 100 * t.losses / window }

// silent tells whether a target has missed more probes in a row than its usual loss explains.
func (t *target) silent(patient bool) bool { return t.streak >= t.enough(patient) }

// enough is how many misses in a row are silence. The misses in a row themselves say nothing about what is usual.
func (t *target) enough(patient bool) int {
	if patient {
		return mostMisses
	}
	usual := float64(max(t.losses-t.streak, 0)) / window
	switch {
	case usual == 0:
		return fewestMisses
	case usual >= 0.9:
		return mostMisses
	}
	return min(max(int(math.Ceil(math.Log(chance)/math.Log(usual))), fewestMisses), mostMisses)
}
