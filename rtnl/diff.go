// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"fmt"
	"slices"
)

// Change is the difference between what the kernel has and what it should have.
type Change struct {
	SetSysctls []Sysctl
	AddRoutes  []Route
	NewRoutes  map[Key]bool // those of AddRoutes that replace nothing of ours
	AddRules   []Rule
	DelRules   []Rule
	DelRoutes  []Route
	lines      []func() string
}

// Len is how many objects the change concerns; 0 means that nothing is to be done.
func (ch Change) Len() int { return len(ch.lines) }

// Lines describe the change for people, in the words of `ip`.
func (ch Change) Lines() []string {
	out := make([]string, len(ch.lines))
	for i, l := range ch.lines {
		out[i] = l()
	}
	return out
}

// Diff compares two states. What stands where one of held was, which are routes of ours that were in force, is replaced, whoever made
// it; what stands elsewhere in the way is not ours to replace.
func Diff(have, want, held State) Change {
	ch := Change{NewRoutes: map[Key]bool{}}
	ch.sysctls(have, want)
	ch.routes(have, want)
	ch.rules(have, want)
	for _, r := range held.Routes {
		delete(ch.NewRoutes, r.Key)
	}
	return ch
}

func (ch *Change) line(format string, args ...any) {
	ch.lines = append(ch.lines, func() string { return fmt.Sprintf(format, args...) })
}

func (ch *Change) sysctls(have, want State) {
	values := map[string]string{}
	for _, s := range have.Sysctls {
		values[s.Name] = s.Value
	}
	for _, s := range want.Sysctls {
		if old, ok := values[s.Name]; ok && old != s.Value {
			ch.SetSysctls = append(ch.SetSysctls, s)
			ch.line("+ sysctl %s = %s (was %s)", s.Name, s.Value, old)
		}
	}
}

func (ch *Change) routes(have, want State) {
	old := map[Key]Route{}
	for _, r := range have.Routes {
		old[r.Key] = r
	}
	wanted := map[Key]bool{}
	for _, r := range want.Routes {
		wanted[r.Key] = true
		was, exists := old[r.Key]
		switch {
		case !exists:
			ch.line("+ %s", r)
			ch.NewRoutes[r.Key] = true
		case !was.equal(r):
			ch.line("~ %s (was%s)", r, ways(was))
		default:
			continue
		}
		ch.AddRoutes = append(ch.AddRoutes, r)
	}
	for _, r := range have.Routes {
		if !wanted[r.Key] {
			ch.line("- %s", r)
			ch.DelRoutes = append(ch.DelRoutes, r)
		}
	}
}

// ways is a route in a line about its replacement.
type ways Route

// String is the route's hops in short.
func (r ways) String() string {
	s := ""
	for _, h := range r.Hops {
		s += h.text()
		if len(r.Hops) > 1 {
			s += fmt.Sprintf(" weight %d", h.Weight)
		}
	}
	if r.Source.IsValid() {
		s += " src " + r.Source.String()
	}
	return s
}

func (ch *Change) rules(have, want State) {
	for _, r := range want.Rules {
		if !slices.Contains(have.Rules, r) {
			ch.line("+ %s", r)
			ch.AddRules = append(ch.AddRules, r)
		}
	}
	for i, r := range have.Rules {
		if !slices.Contains(want.Rules, r) || slices.Contains(have.Rules[:i], r) {
			ch.line("- %s", r)
			ch.DelRules = append(ch.DelRules, r)
		}
	}
}
