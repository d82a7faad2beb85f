// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"strings"
	"sync"
	"testing"
	"time"

	"enlace/policy"
)

// TestDirty: however often the bit is set, it is set once; the first reasons are kept, the others counted, and none is lost.
func TestDirty(t *testing.T) {
	d := newDirty()
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			for range 100 {
				d.set(because("x"))
			}
		})
	}
	all.Wait()
	<-d.c
	r := d.take()
	if len(r.said) != mostReasons || r.more != 1000-mostReasons {
		t.Errorf("%d reasons and %d more, want 1000 in all", len(r.said), r.more)
	}
	if s := r.String(); s != "x; x; x; x; and 996 more" {
		t.Errorf("reasons %q", s)
	}
	select {
	case <-d.c:
		t.Error("the bit is set after it was taken")
	default:
	}
	d.set(because("y"))
	if r := d.take(); r.String() != "y" {
		t.Errorf("reasons %q, want y: the others are over", r)
	}
}

// TestTrouble: what fails is tried again soon at first, then less and less often, and events do not hurry it any more.
func TestTrouble(t *testing.T) {
	var tr trouble
	last := time.Duration(0)
	for n := range 100 {
		if n < 3 && tr.lasting() {
			t.Errorf("after %d failures events are no reason to try", n)
		}
		wait := tr.failed(time.Now(), errLater)
		if wait < last || wait > slowestRetry {
			t.Errorf("failure %d: wait %v after %v", n, wait, last)
		}
		last = wait
	}
	if last != slowestRetry || !tr.lasting() {
		t.Errorf("in the end every %v, want %v", last, slowestRetry)
	}
	tr.over()
	if tr.failed(time.Now(), errLater) != firstRetry {
		t.Error("a success does not make things good again")
	}
}

func TestHistory(t *testing.T) {
	h := newHistory()
	now := time.Now()
	l := policy.PlannedLink{Name: "virtua", State: policy.Up}
	if _, changed := h.link(now, l, "", "start"); !changed {
		t.Error("the first look is told, too")
	}
	if s, changed := h.link(now.Add(time.Minute), l, "", "something"); changed || s.since != now || s.why != "start" {
		t.Errorf("nothing changed: %+v", s)
	}
	l.State = policy.Down
	if s, changed := h.link(now.Add(time.Hour), l, "", "no carrier"); !changed || s.since != now.Add(time.Hour) || s.why != "no carrier" {
		t.Errorf("it went down: %+v", s)
	}

	p := policy.Problem{Code: policy.NoCarrier, Subject: "link virtua"}
	current := []policy.Problem{p}
	if h.problem(now, p) != now || h.problem(now.Add(time.Hour), p) != now {
		t.Error("a problem is as old as its first time")
	}
	if last, over := h.settle(now, current); last != nil || over != nil || h.unsaid(now) != lasting {
		t.Errorf("a new problem: %v, %v, %v", last, over, h.unsaid(now))
	}
	if last, _ := h.settle(now.Add(lasting), current); len(last) != 1 {
		t.Error("a problem that lasts is not told")
	}
	if last, _ := h.settle(now.Add(time.Hour), current); last != nil || h.unsaid(now) != slowTick {
		t.Error("a problem is told twice")
	}
	if _, over := h.settle(now.Add(time.Hour), nil); len(over) != 1 {
		t.Error("nobody is told that it is over")
	}
	if h.problem(now.Add(time.Hour), p).Equal(now) {
		t.Error("a problem that was over is new when it comes again")
	}

	if h.meddling(now) != nil {
		t.Error("nobody has meddled")
	}
	h.repaired(now, []string{"+ ip rule a", "+ ip rule b"})
	h.repaired(now, []string{"+ ip rule c"})
	told := h.meddling(now.Add(mentioned))
	if len(told) != 1 || !strings.Contains(told[0].Text, "2 times") || !strings.Contains(told[0].Text, "+ ip rule c") {
		t.Errorf("meddling: %+v", told)
	}
	if h.meddling(now.Add(mentioned+time.Second)) != nil {
		t.Error("it is told for ever")
	}
}
