// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
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
			return nil // it ended meanwhile
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
		why.said, why.last = []string{"slow tick"}, "slow tick"
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
	return min(wait, l.history.unsaid(time.Now()))
}

// bring brings the kernel to what the policy wants, and says when to look again.
func (l *Loop) bring() (*Pass, time.Duration, error) {
	pass, err := l.attempt()
	switch {
	case errors.Is(err, errQuarrel):
		return pass, l.nextRepair(), nil
	case errors.Is(err, errLater):
		return pass, time.Until(l.trouble.until), nil
	case err != nil:
		if pass != nil {
			l.tried = pass.Plan
		}
		return pass, l.trouble.failed(time.Now()), err
	}
	l.trouble.over()
	l.plan, l.inForce = pass.Plan, true
	wait := slowTick
	if !pass.NextEnd.IsZero() {
		wait = min(wait, max(time.Until(pass.NextEnd), 0)+time.Millisecond)
	}
	return pass, wait, nil
}

// errQuarrel says that a repair has to wait.
var errQuarrel = errors.New("others undo what enlace sets up faster than it is put back")

// errLater says that the same was refused a moment ago.
var errLater = errors.New("to be tried again later")

// attempt compares, and commits what differs, unless that is the next of too many repairs.
func (l *Loop) attempt() (pass *Pass, err error) {
	if err := l.kernel.hold(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.kernel.Release()) }()
	if pass, err = l.kernel.Compare(l.policy); err != nil {
		return pass, err
	}
	l.tables.Set(pass.want.routes)
	if pass.Empty() {
		return pass, nil
	}
	if l.trouble.lasting() && time.Now().Before(l.trouble.until) && reflect.DeepEqual(pass.Plan, l.tried) {
		return pass, errLater
	}
	if l.inForce && pass.Objects() > 0 && reflect.DeepEqual(pass.Plan, l.plan) {
		if !l.repairs.Allow() {
			return pass, errQuarrel
		}
		l.repaired(pass)
	}
	return pass, l.kernel.commit(pass)
}

// nextRepair is when the next repair may be made.
func (l *Loop) nextRepair() time.Duration {
	r := l.repairs.Reserve()
	defer r.Cancel()
	return r.Delay()
}

// repaired notes that something was changed from outside. Whose fault it is cannot be known for sure; what it was can.
func (l *Loop) repaired(pass *Pass) {
	l.counts.Repairs++
	pass.repair = true
	lines := pass.Lines()
	l.history.repaired(time.Now(), lines)
	if l.history.sayRepair.Allow() {
		l.Log.Warn("put back what was changed from outside", "objects", len(lines), "first", lines[0], "repairs", l.counts.Repairs)
	}
}

// release makes the kernel forget flows, beside the loop: it takes long where there are many. It ends with the tasks.
func (l *Loop) release(ended chan<- struct{}) {
	defer close(ended)
	for t := range l.tasks {
		err := t.do()
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

// trouble is how often it failed in a row, and until when the same is not tried again.
type trouble struct {
	times int
	until time.Time
}

// failed returns how long to wait before the next attempt.
func (t *trouble) failed(now time.Time) time.Duration {
	wait := slowestRetry
	if t.times < 10 {
		wait = min(firstRetry<<t.times, slowestRetry)
	}
	t.times++
	t.until = now.Add(wait)
	return wait
}

func (t *trouble) over() { t.times = 0 }

// lasting tells whether events alone are no reason any more to try the same at once.
func (t *trouble) lasting() bool { return t.times > 3 }

// String is for the log.
func (p Passed) String() string {
	return fmt.Sprintf("%s: %d changes, %d writes in %s", p.Reasons, p.Changes, p.Writes, p.Took.Round(10*time.Microsecond))
}
