// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Change is the difference between what the kernel has and what it should have.
type Change struct {
	SetSysctls []Sysctl
	AddRoutes  []Route
	NewRoutes  map[Key]bool // those of AddRoutes that replace nothing of ours
	AddRules   []Rule
	DelRules   []Rule
	DelRoutes  []Route
	// Lines describe it for people, as `ip` commands.
	Lines []string
}

// Empty tells whether nothing is to be done.
func (ch Change) Empty() bool { return len(ch.Lines) == 0 }

// Diff compares two states.
func Diff(have, want State) Change {
	ch := Change{NewRoutes: map[Key]bool{}}
	ch.sysctls(have, want)
	ch.routes(have, want)
	ch.rules(have, want)
	return ch
}

func (ch *Change) line(format string, args ...any) {
	ch.Lines = append(ch.Lines, fmt.Sprintf(format, args...))
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
			ch.line("~ %s (was%s)", r, was.ways())
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

// ways are a route's hops in short.
func (r Route) ways() string {
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

// Add makes everything of the change that adds or replaces: routes first, because rules lead to them.
func (c *Conn) Add(ch Change, protocol uint8) error {
	for _, r := range ch.AddRoutes {
		// A new route must not replace one of somebody else, which has the same key and another protocol number.
		write := c.rt.Route.Replace
		if ch.NewRoutes[r.Key] {
			write = c.rt.Route.Add
		}
		err := write(r.message(protocol))
		if errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("rtnl: table %d already has a route to %s that is not enlace's; remove it, or give the link or group another table", r.Table, r.Dest)
		}
		if err != nil {
			return fmt.Errorf("rtnl: %s: %w", r, explain(err))
		}
		c.Writes++
	}
	for _, r := range ch.AddRules {
		// EEXIST says that it is already there.
		if err := c.rule(unix.RTM_NEWRULE, netlink.Create|netlink.Excl, r); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("rtnl: %s: %w", r, explain(err))
		}
	}
	return nil
}

// Remove makes everything of the change that removes: rules first, so that none leads to a table that is empty. What is
// gone already is fine.
func (c *Conn) Remove(ch Change, protocol uint8) error {
	for _, r := range ch.DelRules {
		if err := c.rule(unix.RTM_DELRULE, 0, r); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("rtnl: remove %s: %w", r, explain(err))
		}
	}
	for _, r := range ch.DelRoutes {
		if err := c.rt.Route.Delete(r.message(protocol)); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("rtnl: remove %s: %w", r, explain(err))
		}
		c.Writes++
	}
	return nil
}

// rule sends one message about a rule.
func (c *Conn) rule(typ netlink.HeaderType, flags netlink.HeaderFlags, r Rule) error {
	data, err := r.encode()
	if err != nil {
		return err
	}
	_, err = c.rules.Execute(netlink.Message{Header: netlink.Header{Type: typ, Flags: netlink.Request | netlink.Acknowledge | flags}, Data: data})
	if err == nil {
		c.Writes++
	}
	return err
}
