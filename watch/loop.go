// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/time/rate"

	"enlace/policy"
	"enlace/rtnl"
)

// Loop is the daemon: it applies a policy, and again whenever something happens that it depends on. Whatever happens sets one bit;
// a pass reads everything anew, so that no order of events and no lost one can lead astray.
type Loop struct {
	Log *slog.Logger
	// Passed is called after every pass, if it is set. It must not wait.
	Passed func(Passed)

	kernel  *Kernel
	dirty   *dirty
	policy  policy.Policy
	source  source
	tasks   chan task
	orders  chan order
	waiting []order

	storm   *rate.Limiter
	repairs *rate.Limiter
	trouble trouble
	plan    policy.Plan // the last that is in force
	inForce bool
	tried   policy.Plan // the last that was refused
	tables  rtnl.Tables
	line    string // what systemd was told last
	refusal string // the last error, which the log has
	history *history
	feed    *feed
	hooks   *hooks
	started time.Time
	status  atomic.Pointer[Status]
	counts  Counters
	resyncs atomic.Int64
}

// Passed is what became of a pass.
type Passed struct {
	Reasons string
	Last    string // the last of the reasons
	Began   time.Time
	Took    time.Duration
	Changes int // objects that were changed
	Writes  int // messages and files that were written
	Err     error
}

// How fast the loop is. The first event acts at once, and a few after it: a DHCP client makes three changes in a few milliseconds.
// A storm is taken together. A quarrel with a program that removes what is ours again and again costs both sides something; the
// first repairs are free, so that whoever clears everything object by object does not get far.
const (
	passesASecond  = 100
	passesAtOnce   = 5
	repairsASecond = 20
	repairsAtOnce  = 60
	slowTick       = 30 * time.Second // what has no events: some sysctls, and whatever else escaped
	firstRetry     = 50 * time.Millisecond
	slowestRetry   = 10 * time.Second

	longestFarewell = 5 * time.Second // for flows that are being released when the daemon ends
)

// NewLoop makes a loop for a policy, and where it was read from.
func NewLoop(k *Kernel, p policy.Policy, from Source, log *slog.Logger) *Loop {
	l := &Loop{
		Log: log, kernel: k, dirty: newDirty(), policy: p, tasks: make(chan task, 1000), orders: make(chan order),
		source:  source{Source: from},
		storm:   rate.NewLimiter(passesASecond, passesAtOnce),
		repairs: rate.NewLimiter(repairsASecond, repairsAtOnce),
		history: newHistory(), started: time.Now().Round(0),
	}
	k.health = newHealth(k.files, func(why fmt.Stringer) { l.dirty.set(why) })
	l.feed = newFeed()
	l.hooks = newHooks(log)
	k.onward, k.later = true, func(t task) { l.tasks <- t }
	return l
}

// Run follows the world until the context ends. It returns early only when the kernel cannot be listened to at the start.
func (l *Loop) Run(ctx context.Context, eventBuffer int) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	heard, err := l.listen(eventBuffer)
	if err != nil {
		return err
	}
	defer heard.close()
	files, err := l.watchFiles(ctx)
	if err != nil {
		return err
	}
	defer files.close()
	defer l.hooks.close()
	defer l.kernel.health.close()
	released := make(chan struct{})
	go l.release(released)
	defer func() { // a next start would not know of what is left undone
		close(l.tasks)
		select {
		case <-released:
		case <-time.After(longestFarewell):
		}
	}()
	l.Log.Info("following", "policy", l.source.Path, "links", len(l.policy.Links), "protected", l.kernel.Kept())
	l.report(nil, Passed{})
	l.dirty.set(because("start"))
	return l.follow(ctx, files)
}

// follow is the loop itself.
func (l *Loop) follow(ctx context.Context, files *fileWatch) error {
	wake := time.NewTimer(slowTick)
	defer wake.Stop()
	pulse := l.pulse(ctx)
	ready := false
	for {
		select {
		case <-ctx.Done():
			l.notify(daemon.SdNotifyStopping)
			l.Log.Info("ending; forwarding goes on as it is")
			return nil
		case o := <-l.orders:
			if end := l.obey(o, files); end {
				return nil
			}
			continue
		case <-l.dirty.c:
		case <-pulse:
			l.notify(daemon.SdNotifyWatchdog)
			continue
		case <-wake.C:
		}
		if err := l.storm.Wait(ctx); err != nil {
			continue // the end has come meanwhile
		}
		next := l.pass(l.dirty.take())
		wake.Reset(next)
		if !ready {
			ready = true
			l.notify(systemdReady)
		}
		l.notifyStatus()
	}
}

// pass makes one pass, and returns after how long there has to be another even if nothing happens.
func (l *Loop) pass(why reasons) time.Duration {
	began := time.Now()
	if len(why.said) == 0 {
		why.last = "time to look again"
		why.said = []string{why.last}
	}
	writes := l.kernel.Writes()
	pass, wait, err := l.bring()
	done := Passed{Reasons: why.String(), Last: why.last, Began: began, Took: time.Since(began), Writes: l.kernel.Writes() - writes, Err: err}
	if pass != nil && err == nil && done.Writes > 0 {
		done.Changes = pass.Len()
	}
	l.count(done)
	l.report(pass, done)
	l.answer(pass, done)
	if l.Passed != nil {
		l.Passed(done)
	}
	if err := l.kernel.health.save(l.kernel.files); err != nil {
		l.Log.Warn("what probing found could not be kept for the next start", "error", err)
	}
	if _, next := l.kernel.health.standings(); !next.IsZero() {
		wait = min(wait, max(time.Until(next), time.Millisecond))
	}
	return min(wait, l.history.unsaid(time.Now()))
}

// release makes the kernel forget flows, beside the loop: it takes long where there are many. It ends with the tasks.
func (l *Loop) release(ended chan<- struct{}) {
	defer close(ended)
	for t := range l.tasks {
		began := time.Now()
		err := t.do()
		l.Log.Debug("released", "which", t.what, "took", time.Since(began))
		for range 2 {
			if err == nil {
				break
			}
			time.Sleep(pause)
			err = t.do()
		}
		if err != nil {
			l.Log.Error("flows could not be released", "which", t.what, "error", err)
		}
	}
}

// String is for the log.
func (p Passed) String() string {
	return fmt.Sprintf("%s: %d changes, %d writes in %s", p.Reasons, p.Changes, p.Writes, p.Took.Round(10*time.Microsecond))
}
