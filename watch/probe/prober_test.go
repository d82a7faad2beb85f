// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"enlace/policy"
)

// friend answers every question, as long as it is well.
type friend struct{ well *atomic.Bool }

func (f friend) ask(_ context.Context, seq uint32, answered func(uint32)) bool {
	if f.well.Load() {
		go answered(seq)
	}
	return true
}

func (friend) close() {}

// patient is one whose targets are friends, and the verdicts on it.
func patient(h policy.Health) (p *Patient, well *atomic.Bool, verdicts chan policy.Standing) {
	well, verdicts = &atomic.Bool{}, make(chan policy.Standing, 100)
	well.Store(true)
	probes := []policy.Probe{{Kind: policy.ProbeGateway}, {Kind: policy.ProbeNeighbour}}
	p = NewPatient(policy.NewMonitor(h, probes, true, 1), probes, func(_ Way, s policy.Standing) { verdicts <- s })
	p.asker = func(Way, policy.Probe, *echoes, *sync.WaitGroup) asker { return friend{well} }
	return p, well, verdicts
}

// await waits for a verdict.
func await(t *testing.T, verdicts <-chan policy.Standing, want policy.State) {
	t.Helper()
	for deadline := time.After(5 * time.Second); ; {
		select {
		case s := <-verdicts:
			if s.State == want {
				return
			}
		case <-deadline:
			t.Fatalf("waited in vain for %s", want)
		}
	}
}

// TestPatient: a link that answers is up, one that falls silent is down, and so on when its way is another.
func TestPatient(t *testing.T) {
	h := policy.DefaultHealth()
	h.Hold = 0
	p, well, verdicts := patient(h)
	defer p.Close()
	p.Follow(&Way{Link: "a", Index: 1})
	await(t, verdicts, policy.Up)
	well.Store(false)
	await(t, verdicts, policy.Down)
	p.Follow(&Way{Link: "a", Index: 2})
	well.Store(true)
	await(t, verdicts, policy.Up)
	p.Follow(nil)
	if s, _ := p.Standing(); s.State != "" {
		t.Errorf("without a way it is %v", s)
	}
	p.Follow(&Way{Link: "a", Index: 2})
	await(t, verdicts, policy.Up)
}

// TestNothingIsLeft: whatever was started ends with Close, after hundreds of ways that came and went, answers under way or not.
func TestNothingIsLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	for n := range 200 {
		p, well, _ := patient(policy.DefaultHealth())
		well.Store(n%2 == 0)
		for i := range 5 {
			p.Follow(&Way{Link: "a", Index: i})
			if i == 3 {
				p.Follow(nil)
			}
		}
		p.Close()
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

// TestQuestion: a name server that answers counts, whatever it says of the name; one in trouble, and answers to other questions, do not.
func TestQuestion(t *testing.T) {
	for code, want := range map[dnsmessage.RCode]bool{dnsmessage.RCodeSuccess: true, dnsmessage.RCodeNameError: true, dnsmessage.RCodeServerFailure: false, dnsmessage.RCodeRefused: false} {
		here, there := net.Pipe()
		go func() {
			buf := make([]byte, 1500)
			n, err := there.Read(buf)
			var m dnsmessage.Message
			if err != nil || m.Unpack(buf[:n]) != nil {
				return
			}
			other := m
			other.ID, other.Response = m.ID+1, true
			m.Response, m.RCode = true, code
			for _, answer := range []dnsmessage.Message{other, m} {
				b, _ := answer.Pack()
				_, _ = there.Write(b)
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		if err := question(ctx, here, "example.org"); (err == nil) != want {
			t.Errorf("%s: %v", code, err)
		}
		cancel()
		_, _ = here.Close(), there.Close()
	}
}
