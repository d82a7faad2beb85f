// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"enlace/policy"
)

// count adds a pass to the counters.
func (l *Loop) count(p Passed) {
	l.counts.Passes++
	l.counts.Changes += p.Changes
	l.counts.Writes += p.Writes
	l.counts.Resyncs = int(l.resyncs.Load())
	if p.Err != nil {
		l.counts.Failed++
	}
}

// report publishes the status after a pass, or, when there was none, after something else that people want to know; and says in
// the log what has changed.
func (l *Loop) report(pass *Pass, done Passed) {
	old := l.status.Load()
	s := &Status{Version: StatusVersion, Running: true, PID: os.Getpid(), Started: &l.started}
	s.Policy = PolicyStatus{Path: l.source.Path, Loaded: at(l.source.Read), Refused: l.source.refused}
	if old != nil {
		s.LastPass, s.LastDone = old.LastPass, old.LastDone
	}
	now := time.Now()
	problems := l.problems(pass, now)
	switch {
	case pass != nil:
		s.describe(l.policy, pass.Plan, problems)
		for i := range s.Links {
			s.Links[i].probed = l.kernel.health.members(s.Links[i].Name)
		}
		l.standings(s, pass.Plan, done.Last, now)
	case old != nil:
		s.Links, s.Groups = old.Links, old.Groups
		s.list(problems)
	default:
		s.describe(l.policy, policy.Plan{}, problems)
	}
	for i, p := range problems {
		s.Problems[i].Since = at(l.history.problem(now, p))
	}
	l.sayProblems(now, problems)
	if !done.Began.IsZero() {
		defer func() { l.refusal = s.LastPass.Error }()
		s.passed(done)
		took := done.Took.Round(10 * time.Microsecond)
		switch {
		case done.Err != nil && done.Err.Error() != l.refusal:
			l.Log.Warn("pass failed, and is tried again", "reasons", done.Reasons, "error", done.Err, "took", took)
		case done.Changes > 0 && (pass == nil || !pass.repair): // repairs have a line of their own, not each of them
			l.Log.Info("pass", "reasons", done.Reasons, "changes", done.Changes, "writes", done.Writes, "took", took)
		}
	}
	counts := l.counts
	s.Counters = &counts
	l.status.Store(s)
}

// problems are all that is wrong: with the host, and with the loop's own work.
func (l *Loop) problems(pass *Pass, now time.Time) []policy.Problem {
	var out []policy.Problem
	if l.source.refused != "" {
		first, rest, _ := strings.Cut(strings.TrimSpace(l.source.refused), "\n")
		if _, place, ok := strings.Cut(rest, "  on "); ok {
			place, _, _ = strings.Cut(place, "\n")
			first += " on " + strings.TrimSuffix(place, ":")
		}
		out = append(out, policy.Problem{Code: policy.PolicyRefused, Subject: "policy", Text: fmt.Sprintf(
			"%s as it is since %s is not used, the one loaded at %s goes on: %s (enlace check shows all)",
			l.source.Path, l.source.refusedAt.Format(time.DateTime), l.source.Read.Format(time.DateTime), first)})
	}
	if l.trouble.times > 1 { // once may be that the world went on between reading and writing
		out = append(out, policy.Problem{Code: policy.NotWritten, Subject: "kernel", Text: fmt.Sprintf(
			"not all of the policy is in force; it was tried %d times, and is tried again: %v", l.trouble.times, l.trouble.err)})
	}
	if pass != nil {
		out = append(out, pass.Problems...)
	} else if old := l.status.Load(); old != nil {
		ours := []policy.Code{policy.PolicyRefused, policy.NotWritten, policy.ChangedOutside, policy.HookFailed, policy.TargetSilent}
		for _, p := range old.problems {
			if !slices.Contains(ours, p.Code) {
				out = append(out, p)
			}
		}
	}
	out = append(out, l.silentTargets()...)
	out = append(out, l.hooks.problems(l.policy)...)
	return append(out, l.history.meddling(now)...)
}

// silentTargets are those that do not answer although their link works: nobody would notice otherwise.
func (l *Loop) silentTargets() []policy.Problem {
	var out []policy.Problem
	for _, p := range l.policy.Links {
		var silent []string
		targets := l.kernel.health.targets(p.Name)
		for _, t := range targets {
			if !t.Answers && t.Loss > 0 {
				silent = append(silent, t.Target)
			}
		}
		if len(silent) > 0 && len(silent) < len(targets) {
			out = append(out, policy.Problem{Code: policy.TargetSilent, Subject: "link " + p.Name, Text: "no answer from " + strings.Join(silent, ", ") + ", though others answer", Pos: p.Pos})
		}
	}
	return out
}

// standings fills in since when links are as they are.
func (l *Loop) standings(s *Status, plan policy.Plan, reasons string, now time.Time) {
	for i, p := range plan.Links {
		link := &s.Links[i]
		why := link.Why
		if why == "" && p.State == policy.Up {
			why = l.kernel.health.why(p.Name)
		}
		if why == "" {
			why = reasons
		}
		standing, changed := l.history.link(now, p, link.Why, why)
		link.Since, link.Why = at(standing.since), standing.why
		if changed {
			e := Event{
				Time: now.Round(0), Link: p.Name, Interface: p.Interface, Old: standing.before, New: p.State, Why: standing.why,
				IPv4: pathStatus(p, policy.V4), IPv6: pathStatus(p, policy.V6),
			}
			l.feed.publish(e)
			if link, err := l.policy.LinkNamed(p.Name); err == nil {
				l.hooks.fire(hookOf(l.policy, link), e)
			}
			if standing.before == "" {
				continue // the beginning is no change
			}
			l.Log.Info("link", "name", p.Name, "state", p.State, "why", why, "ipv4", p.Paths[policy.V4], "ipv6", p.Paths[policy.V6])
		}
	}
}

// sayProblems logs those that last, and those that are over.
func (l *Loop) sayProblems(now time.Time, problems []policy.Problem) {
	last, over := l.history.settle(now, problems)
	for _, p := range last {
		if p.Code == policy.PolicyRefused {
			continue // was said at once, and whole
		}
		l.Log.Warn("problem", "code", p.Code, "subject", p.Subject, "text", p.Text)
	}
	for _, p := range over {
		l.Log.Info("problem is over", "code", p.Code, "subject", p.Subject)
	}
}

// passed fills in the last pass.
func (s *Status) passed(done Passed) {
	p := &PassStatus{
		At: done.Began, Reasons: done.Reasons, Milliseconds: float64(done.Took.Microseconds()) / 1000, Changes: done.Changes, Writes: done.Writes,
	}
	if done.Err != nil {
		p.Error = done.Err.Error()
	}
	s.LastPass = p
	if done.Writes > 0 {
		s.LastDone = p
	}
}

func at(t time.Time) *time.Time {
	t = t.Round(0)
	return &t
}
