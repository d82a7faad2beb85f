// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"reflect"
	"time"
)

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
		return pass, l.trouble.failed(time.Now(), err), err
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
		l.kernel.putInForce(pass.Plan)
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

// trouble is how often it failed in a row, and until when the same is not tried again.
type trouble struct {
	times int
	until time.Time
	err   error // the last
}

// failed returns how long to wait before the next attempt.
func (t *trouble) failed(now time.Time, err error) time.Duration {
	wait := slowestRetry
	if t.times < 10 {
		wait = min(firstRetry<<t.times, slowestRetry)
	}
	t.times++
	t.until, t.err = now.Add(wait), err
	return wait
}

func (t *trouble) over() { t.times = 0 }

// lasting tells whether events alone are no reason any more to try the same at once.
func (t *trouble) lasting() bool { return t.times > 3 }
