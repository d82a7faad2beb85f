// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"enlace/policy"
	"enlace/watch/probe"
)

// StatusVersion is the version of Status as JSON. It grows when a field goes or changes its meaning; new fields do not change it.
const StatusVersion = 1

// Status is what a person or a program may want to know. STATUS.md describes it field by field.
type Status struct {
	Version  int              `json:"version"`
	Running  bool             `json:"running"`
	PID      int              `json:"pid,omitempty"`
	Policy   PolicyStatus     `json:"policy"`
	Links    []LinkStatus     `json:"links"`
	Groups   []GroupStatus    `json:"groups"`
	Problems []ProblemStatus  `json:"problems"`
	LastPass *PassStatus      `json:"last_pass,omitempty"`
	LastDone *PassStatus      `json:"last_change,omitempty"`
	Counters *Counters        `json:"counters,omitempty"`
	Started  *time.Time       `json:"started,omitempty"`
	problems []policy.Problem // the same for people
}

// PolicyStatus says which policy is in force.
type PolicyStatus struct {
	Path    string     `json:"path"`
	Loaded  *time.Time `json:"loaded,omitempty"`
	Refused string     `json:"refused,omitempty"`
}

// LinkStatus is one link.
type LinkStatus struct {
	Name      string         `json:"name"`
	Interface string         `json:"interface"`
	State     policy.State   `json:"state"`
	Since     *time.Time     `json:"since,omitempty"`
	Why       string         `json:"why,omitempty"`
	Number    int            `json:"number"`
	Mark      string         `json:"mark"`
	Table     uint32         `json:"table"`
	IPv4      *PathStatus    `json:"ipv4,omitempty"`
	IPv6      *PathStatus    `json:"ipv6,omitempty"`
	Targets   []TargetStatus `json:"targets,omitempty"`
	probed    []*probe.Patient
}

// TargetStatus is how a target of a link's probes answers.
type TargetStatus struct {
	Target  string  `json:"target"`
	Answers bool    `json:"answers"`
	Loss    int     `json:"loss"`
	Latency float64 `json:"latency_ms,omitempty"`
}

// PathStatus is a link's way to the internet in one family.
type PathStatus struct {
	Address netip.Addr `json:"address"`
	SNAT    netip.Addr `json:"snat,omitzero"`
	Gateway netip.Addr `json:"gateway,omitzero"`
	Learned string     `json:"learned"`
}

// GroupStatus is one group.
type GroupStatus struct {
	Name    string         `json:"name"`
	By      string         `json:"by"`
	Members []MemberStatus `json:"members"`
}

// MemberStatus is a link's part in a group.
type MemberStatus struct {
	Link   string `json:"link"`
	Weight int    `json:"weight"`
	Tier   int    `json:"tier"`
	IPv4   bool   `json:"ipv4"`
	IPv6   bool   `json:"ipv6"`
}

// ProblemStatus is where policy and host disagree.
type ProblemStatus struct {
	Code    policy.Code `json:"code"`
	Subject string      `json:"subject"`
	Text    string      `json:"text"`
	Place   string      `json:"place,omitempty"`
	Since   *time.Time  `json:"since,omitempty"`
}

// PassStatus is one pass of the loop.
type PassStatus struct {
	At           time.Time `json:"at"`
	Reasons      string    `json:"reasons"`
	Milliseconds float64   `json:"milliseconds"`
	Changes      int       `json:"changes"`
	Writes       int       `json:"writes"`
	Error        string    `json:"error,omitempty"`
}

// Counters count since the daemon was started.
type Counters struct {
	Passes  int `json:"passes"`
	Changes int `json:"changes"`
	Writes  int `json:"writes"`
	Failed  int `json:"failed"`
	Repairs int `json:"repairs"`
	Resyncs int `json:"resyncs"`
}

// Look is the status of a kernel that no daemon follows, as a pass found it.
func Look(p policy.Policy, path string, pass *Pass) *Status {
	s := &Status{Version: StatusVersion, Policy: PolicyStatus{Path: path}}
	problems := pass.Problems
	if n := pass.Len(); n > 0 {
		problems = append(problems, policy.Problem{
			Code: policy.NotApplied, Subject: "kernel", Text: fmt.Sprintf("%d objects are not as the policy wants them; enlace plan shows them, enlace apply or enlace watch puts them right", n),
		})
	}
	s.describe(p, pass.Plan, problems)
	return s
}

// describe fills in what the plan says.
func (s *Status) describe(p policy.Policy, plan policy.Plan, problems []policy.Problem) {
	s.Links, s.Groups = []LinkStatus{}, []GroupStatus{}
	for _, l := range plan.Links {
		s.Links = append(s.Links, LinkStatus{
			Name: l.Name, Interface: l.Interface, State: l.State, Why: whyOf(l, problems), Number: int(l.Number), Mark: fmt.Sprintf("0x%08x", l.Mark), Table: l.Table,
			IPv4: pathStatus(l, policy.V4), IPv6: pathStatus(l, policy.V6),
		})
	}
	for at, g := range plan.Groups {
		group := GroupStatus{Name: g.Name, By: g.By.String(), Members: []MemberStatus{}}
		for _, m := range p.Groups[at].Members {
			live := func(f policy.Family) bool {
				for _, share := range g.Live[f] {
					if plan.Links[share.Link].Name == m.Link {
						return true
					}
				}
				return false
			}
			group.Members = append(group.Members, MemberStatus{m.Link, m.Weight, m.Tier, live(policy.V4), live(policy.V6)})
		}
		s.Groups = append(s.Groups, group)
	}
	s.list(problems)
}

// list fills in problems.
func (s *Status) list(problems []policy.Problem) {
	s.problems, s.Problems = problems, []ProblemStatus{}
	for _, p := range problems {
		s.Problems = append(s.Problems, ProblemStatus{Code: p.Code, Subject: p.Subject, Text: p.Text, Place: p.Pos.String()})
	}
}

// current is the status with what changes without a pass: how targets answer just now.
func (s *Status) current() *Status {
	if s == nil {
		return nil // nothing is known yet
	}
	now := *s
	now.Links = slices.Clone(s.Links)
	for i := range now.Links {
		for _, p := range now.Links[i].probed {
			for _, t := range p.Targets() {
				now.Links[i].Targets = append(now.Links[i].Targets, TargetStatus{t.Target, t.Answers, t.Loss, float64(t.Latency.Microseconds()) / 1000})
			}
		}
	}
	return &now
}

func pathStatus(l policy.PlannedLink, f policy.Family) *PathStatus {
	p, snat := l.Paths[f], l.SNAT[f]
	if p == nil {
		return nil
	}
	return &PathStatus{Address: p.Address, SNAT: snat, Gateway: p.Gateway, Learned: p.Learned}
}

// whyOf is what is wrong with a link that does not work.
func whyOf(l policy.PlannedLink, problems []policy.Problem) string {
	if l.State == policy.Up || l.State == policy.Unproved {
		return ""
	}
	why := ""
	for _, p := range problems {
		switch {
		case p.Subject != "link "+l.Name:
		case p.Code == policy.LinkSilent || p.Code == policy.LinkDegraded || p.Code == policy.LinkHolding || p.Code == policy.LinkDrained:
			return p.Text
		case why == "":
			why = p.Text
		}
	}
	return why
}

// Well tells whether all links are up and the policy, as it is written, is in force.
func (s *Status) Well() bool {
	for _, l := range s.Links {
		if l.State != policy.Up && l.State != policy.Unproved {
			return false
		}
	}
	for _, p := range s.Problems {
		if p.Code == policy.PolicyRefused || p.Code == policy.NotWritten || p.Code == policy.NotApplied {
			return false
		}
	}
	return true
}

// Line is the status in one line.
func (s *Status) Line() string {
	var links []string
	for _, l := range s.Links {
		links = append(links, l.Name+" "+string(l.State))
	}
	line := strings.Join(links, ", ")
	if n := len(s.Problems); n > 0 {
		line += fmt.Sprintf("; %d problems, see enlace status", n)
	}
	return line
}
