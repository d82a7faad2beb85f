// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"enlace/policy"
)

// history is what a single pass cannot know: since when things are as they are.
type history struct {
	links     map[string]standing
	problems  map[string]time.Time
	sayRepair *rate.Limiter

	repairs      int // since the last time that all was well for a while
	lastRepair   time.Time
	repairedWhat []string
}

// standing is the state of a link, since when, and why.
type standing struct {
	state policy.State
	since time.Time
	why   string
}

// mentioned is for how long a repair is told as a problem.
const mentioned = 10 * time.Minute

func newHistory() *history {
	return &history{
		links: map[string]standing{}, problems: map[string]time.Time{},
		sayRepair: rate.NewLimiter(rate.Every(10*time.Second), 5),
	}
}

// link notes a link's state, and tells whether it has changed.
func (h *history) link(now time.Time, l policy.PlannedLink, why string) (standing, bool) {
	s, known := h.links[l.Name]
	if known && s.state == l.State {
		return s, false
	}
	s = standing{l.State, now, why}
	h.links[l.Name] = s
	return s, known
}

// problem returns since when a problem is there.
func (h *history) problem(now time.Time, p policy.Problem) time.Time {
	key := string(p.Code) + " " + p.Subject
	if _, ok := h.problems[key]; !ok {
		h.problems[key] = now
	}
	return h.problems[key]
}

// forget drops the problems that are over.
func (h *history) forget(current []policy.Problem) {
	keep := map[string]time.Time{}
	for _, p := range current {
		key := string(p.Code) + " " + p.Subject
		if since, ok := h.problems[key]; ok {
			keep[key] = since
		}
	}
	h.problems = keep
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
	return []policy.Problem{{Code: policy.ChangedOutside, Subject: "kernel", Text: fmt.Sprintf(
		"what enlace set up was changed from outside and put back, %d times, last at %s: %s; with systemd-networkd see ManageForeignRoutes= and ManageForeignRoutingPolicyRules= in networkd.conf(5)",
		h.repairs, h.lastRepair.Format(time.TimeOnly), what)}}
}
