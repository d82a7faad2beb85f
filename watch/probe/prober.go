// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"sync"
	"time"

	"enlace/policy"
)

// Patient is a link in one family, and what is known of it. All its methods may be called from anywhere.
type Patient struct {
	mu      sync.Mutex
	monitor *policy.Monitor
	probes  []policy.Probe
	changed func(Way, policy.Standing)
	asker   func(Way, policy.Probe, *echoes, *sync.WaitGroup) asker

	way  Way
	stop context.CancelFunc // of the prober, nil when none runs
	over sync.WaitGroup
}

// NewPatient makes one that is not there yet. changed is called, without any lock, when the verdict is another one.
func NewPatient(m *policy.Monitor, probes []policy.Probe, changed func(Way, policy.Standing)) *Patient {
	return &Patient{monitor: m, probes: probes, changed: changed, asker: newAsker}
}

// Follow says by which way the link is reached now, nil when there is none. Probing begins, ends, or goes on another way.
func (p *Patient) Follow(w *Way) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case w == nil:
		p.halt()
		p.monitor.Vanish(now)
	case p.stop != nil && *w == p.way:
	default:
		if p.stop != nil || !p.monitor.Away() {
			p.monitor.Renew(now)
		}
		p.halt()
		p.monitor.Appear(now)
		p.way = *w
		ctx, cancel := context.WithCancel(context.Background())
		p.stop = cancel
		p.over.Add(1)
		go func() {
			defer p.over.Done()
			p.run(ctx, *w)
		}()
	}
}

func (p *Patient) halt() {
	if p.stop != nil {
		p.stop()
		p.stop = nil
	}
}

// Close ends probing and waits until everything that it started has ended.
func (p *Patient) Close() {
	p.mu.Lock()
	p.halt()
	p.mu.Unlock()
	p.over.Wait()
}

// Standing is the verdict of now, and when it may change although nothing happens: the zero time when a prober sees to that.
func (p *Patient) Standing() (policy.Standing, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if !p.monitor.Away() {
		return p.monitor.Standing(), time.Time{}
	}
	p.monitor.Advance(now)
	s, next := p.monitor.Standing(), p.monitor.Next(now)
	if s.State == "" {
		next = time.Time{}
	}
	return s, next
}

// Hold is the present length of the hold, and whether the link has failed since it was last usable.
func (p *Patient) Hold() (hold time.Duration, failed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.monitor.HoldTime(), p.monitor.Failed()
}

// Targets are how the targets answer.
func (p *Patient) Targets() []policy.TargetStanding {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.monitor.Targets()
}

// answer is that of a target to a probe.
type answer struct {
	target int
	seq    uint32
	at     time.Time
}

// asker sends probes to one target. It must not wait: the answer comes later. It tells whether it could ask at all: while the link's address
// is not ready (IPv6 finds out first whether somebody else has it) nothing can be sent, which says nothing about the link.
type asker interface {
	ask(ctx context.Context, seq uint32, answered func(seq uint32)) bool
	close()
}

// run probes until the context ends.
func (p *Patient) run(ctx context.Context, w Way) {
	answers := make(chan answer, 64)
	askers := make([]asker, len(p.probes))
	var others sync.WaitGroup
	echoes := &echoes{way: w, others: &others}
	defer others.Wait()
	defer echoes.close()
	for i, target := range p.probes {
		askers[i] = p.asker(w, target, echoes, &others)
		defer askers[i].close()
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		due, seqs, next, standing, changed := p.step(ctx)
		if changed {
			p.changed(w, standing)
		}
		for n, i := range due {
			asked := askers[i].ask(ctx, seqs[n], func(seq uint32) {
				select {
				case answers <- answer{i, seq, time.Now()}:
				case <-ctx.Done():
				}
			})
			if !asked {
				p.mu.Lock()
				p.monitor.Unsent(i, seqs[n])
				p.mu.Unlock()
			}
		}
		timer.Reset(max(time.Until(next), time.Millisecond))
		select {
		case <-ctx.Done():
			return
		case a := <-answers:
			p.mu.Lock()
			if ctx.Err() == nil {
				p.monitor.Answered(a.at, a.target, a.seq)
			}
			p.mu.Unlock()
		case <-timer.C:
		}
	}
}

// step draws conclusions, and says what is to be asked now, and when to come back.
func (p *Patient) step(ctx context.Context) (due []int, seqs []uint32, next time.Time, s policy.Standing, changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	now := time.Now()
	changed = p.monitor.Advance(now)
	due = p.monitor.Due(now)
	for _, i := range due {
		seqs = append(seqs, p.monitor.Sent(now, i))
	}
	return due, seqs, p.monitor.Next(now), p.monitor.Standing(), changed
}

// newAsker is what asks a target.
func newAsker(w Way, target policy.Probe, e *echoes, others *sync.WaitGroup) asker {
	switch target.Kind {
	case policy.ProbeGateway:
		return &gateway{echo: echo{e, w.Gateway}, neighbour: newNeighbour(w, others)}
	case policy.ProbeNeighbour:
		return newNeighbour(w, others)
	case policy.ProbeEcho:
		return &echo{e, target.Address}
	}
	return newCaller(w, target, others)
}
