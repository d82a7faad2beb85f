// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"strings"
	"time"

	"enlace/policy"
	"enlace/policy/lang"
)

// Source is where a policy comes from.
type Source struct {
	Path  string    // file or directory
	Lists []string  // files that it names
	Read  time.Time // when reading began
}

// source is that of the policy in force.
type source struct {
	Source
	// refused is why a newer text of it is not in force, empty when there is none.
	refused   string
	refusedAt time.Time
}

// order is a wish of a person or of the file watch.
type order struct {
	kind orderKind
	why  string
	path string // of the policy that is meant, for apply
	link string // to drain or undrain
	now  bool   // to move its flows, too
	done chan Outcome
}

type orderKind int

const (
	reload orderKind = iota
	applyNow
	goDown
	drainLink
	undrainLink
)

// Outcome is the answer to a wish.
type Outcome struct {
	Changes  int      `json:"changes"`
	Problems []string `json:"problems,omitempty"`
	Lines    []string `json:"lines,omitempty"` // what was removed
	Error    string   `json:"error,omitempty"`
}

// obey does what an order says, and tells whether the loop ends with it. A policy that cannot be used changes nothing: the one that is in
// force goes on.
func (l *Loop) obey(o order, files *fileWatch) (end bool) {
	switch {
	case o.kind == goDown:
		return l.goDown(o)
	case o.kind == drainLink || o.kind == undrainLink:
		l.drain(o)
		return false
	case o.kind == applyNow && o.path != l.source.Path:
		o.finish(Outcome{Error: fmt.Sprintf("enlace watch follows %s: change that, or stop it", l.source.Path)})
		return false
	}
	l.notify(systemdReloading())
	if err := l.load(files); err != nil {
		l.source.refused, l.source.refusedAt = err.Error(), time.Now()
		l.Log.Error("the new policy is not used; the old one goes on", "policy", l.source.Path, "error", strings.TrimSpace(err.Error()))
		o.finish(Outcome{Error: err.Error()})
		l.report(nil, Passed{})
	} else {
		l.source.refused = ""
		l.tried = policy.Plan{} // whoever asks wants it to be tried now
		l.waiting = append(l.waiting, o)
		l.dirty.set(because(o.why))
	}
	l.notify(systemdReady)
	l.notifyStatus()
	return false
}

// load reads the policy anew.
func (l *Loop) load(files *fileWatch) error {
	began := time.Now()
	p, report := lang.Load(l.source.Path)
	l.source.Lists = report.Lists()
	files.follow(l.places(), began)
	if report.HasErrors() {
		var b strings.Builder
		_ = report.Write(&b, 100, false)
		return fmt.Errorf("%s", b.String())
	}
	if now := l.policy.Settings.Protocol; p.Settings.Protocol != now {
		return fmt.Errorf("settings { protocol } cannot change while enlace watch runs: it tells what is enlace's from what is not. Run enlace down, change it, and start again")
	}
	l.policy, l.source.Read = p, began
	return nil
}

// drain takes a link out of use, or puts it back.
func (l *Loop) drain(o order) {
	if _, err := l.policy.LinkNamed(o.link); err != nil {
		o.finish(Outcome{Error: err.Error()})
		return
	}
	var err error
	if o.kind == drainLink {
		err = l.kernel.files.Drain(o.link, o.now)
	} else {
		_, err = l.kernel.files.Undrain(o.link)
	}
	if err != nil {
		o.finish(Outcome{Error: err.Error()})
		return
	}
	l.waiting = append(l.waiting, o)
	l.dirty.set(because(o.why + " " + o.link))
}

// goDown removes everything and ends the loop, which would put it back otherwise.
func (l *Loop) goDown(o order) (end bool) {
	lines, err := l.kernel.Down(l.policy.Settings)
	if err != nil {
		o.finish(Outcome{Lines: lines, Error: err.Error()})
		l.dirty.set(because("down failed"))
		return false
	}
	l.Log.Info("everything is removed, as enlace down asked; ending")
	o.finish(Outcome{Lines: lines})
	return true
}

// answer tells those who wait for a pass what became of it.
func (l *Loop) answer(pass *Pass, done Passed) {
	for _, o := range l.waiting {
		out := Outcome{Changes: done.Changes}
		if pass != nil {
			out.Problems = texts(pass.Problems)
		}
		if done.Err != nil {
			out.Error = done.Err.Error()
		}
		o.finish(out)
	}
	l.waiting = nil
}

func (o order) finish(out Outcome) {
	if o.done != nil {
		o.done <- out
	}
}

func texts(problems []policy.Problem) []string {
	var out []string
	for _, p := range problems {
		out = append(out, p.String())
	}
	return out
}
