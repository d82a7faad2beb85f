// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"enlace/policy"
)

// history is what a single pass cannot know: since when things are as they are.
type history struct {
	links     map[string]standing
	problems  map[string]*complaint
	sayRepair *rate.Limiter

	repairs      int // since the last time that all was well for a while
	lastRepair   time.Time
	repairedWhat []string
}

// standing is the state of a link, since when, and why.
type standing struct {
	state  policy.State
	before policy.State // before the last change
	since  time.Time
	why    string
	paths  string // addresses and gateways
}

// mentioned is for how long a repair is told as a problem.
const mentioned = 10 * time.Minute

func newHistory() *history {
	return &history{
		links: map[string]standing{}, problems: map[string]*complaint{},
		sayRepair: rate.NewLimiter(rate.Every(10*time.Second), 5),
	}
}

// link notes a link's state, what is wrong with it or else why it is so, and tells whether it, or its address or gateway, has changed; the first time counts.
func (h *history) link(now time.Time, l policy.PlannedLink, wrong, why string) (s standing, changed bool) {
	paths := fmt.Sprint(l.Paths[policy.V4], l.Paths[policy.V6])
	s, known := h.links[l.Name]
	changed = !known || s.state != l.State || s.paths != paths
	s.before = s.state
	if !known || s.state != l.State {
		s = standing{state: l.State, before: s.state, since: now, why: why}
	}
	if wrong != "" {
		s.why = wrong
	}
	s.paths = paths
	h.links[l.Name] = s
	return s, changed
}

// complaint is a problem since when, and whether the log has it.
type complaint struct {
	policy.Problem
	since time.Time
	said  bool
}

// lasting is how long a problem has to last before the log has it. A DHCP client that changes an address leaves a link without address or
// gateway for some milliseconds: that is no problem.
const lasting = time.Second

// problem notes a problem, and returns since when it is there.
func (h *history) problem(now time.Time, p policy.Problem) time.Time {
	key := string(p.Code) + " " + p.Subject
	if h.problems[key] == nil {
		h.problems[key] = &complaint{since: now}
	}
	h.problems[key].Problem = p
	return h.problems[key].since
}

// settle drops the problems that are over, and returns those that the log should have now: the ones that last, and, of those that it has, the
// ones that are over.
func (h *history) settle(now time.Time, current []policy.Problem) (last, over []policy.Problem) {
	keep := map[string]*complaint{}
	for _, p := range current {
		key := string(p.Code) + " " + p.Subject
		c := h.problems[key]
		if c == nil {
			continue
		}
		keep[key] = c
		if !c.said && now.Sub(c.since) >= lasting {
			c.said = true
			last = append(last, c.Problem)
		}
	}
	for key, c := range h.problems {
		if keep[key] == nil && c.said {
			over = append(over, c.Problem)
		}
	}
	h.problems = keep
	return last, over
}

// unsaid is in how long the next problem has lasted long enough for the log.
func (h *history) unsaid(now time.Time) time.Duration {
	next := slowTick
	for _, c := range h.problems {
		if !c.said {
			next = min(next, max(lasting-now.Sub(c.since), time.Millisecond))
		}
	}
	return next
}

// repaired notes what had to be put back.
func (h *history) repaired(now time.Time, lines []string) {
	if now.Sub(h.lastRepair) > mentioned {
		h.repairs = 0
	}
	h.repairs++
	h.lastRepair, h.repairedWhat = now, lines
}

// meddling is the problem that others change what is enlace's, if they did lately.
func (h *history) meddling(now time.Time) []policy.Problem {
	if h.repairs == 0 || now.Sub(h.lastRepair) > mentioned {
		return nil
	}
	what := h.repairedWhat[0]
	if n := len(h.repairedWhat); n > 1 {
		what += fmt.Sprintf(", and %d more", n-1)
	}
	hint := ""
	if strings.Contains(what, " ip ") || strings.Contains(what, " ip -6 ") {
		hint = "; with systemd-networkd see ManageForeignRoutes= and ManageForeignRoutingPolicyRules= in networkd.conf(5)"
	}
	return []policy.Problem{{Code: policy.ChangedOutside, Subject: "kernel", Text: fmt.Sprintf(
		"what enlace set up was changed from outside and put back, %d times, last at %s: %s%s", h.repairs, h.lastRepair.Format(time.TimeOnly), what, hint)}}
}
