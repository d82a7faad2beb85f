// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"enlace/policy"
)

// Event is a change of a link. STATUS.md describes it field by field; hooks get the same.
type Event struct {
	Time      time.Time    `json:"time"`
	Link      string       `json:"link"`
	Interface string       `json:"interface"`
	Old       policy.State `json:"old,omitempty"`
	New       policy.State `json:"new"`
	Why       string       `json:"why,omitempty"`
	IPv4      *PathStatus  `json:"ipv4,omitempty"`
	IPv6      *PathStatus  `json:"ipv6,omitempty"`
	Missed    int          `json:"missed,omitempty"`
}

// after is the event that stands for an earlier one and this, when there was no time for the earlier.
func (e Event) after(earlier Event) Event {
	e.Old = earlier.Old
	e.Missed += earlier.Missed + 1
	return e
}

// feed hands events to whoever follows them. Who is slow misses some, and is told how many.
type feed struct {
	mu        sync.Mutex
	followers map[*follower]bool
}

// follower is one who follows.
type follower struct {
	events chan Event
	missed map[string]Event // by link, what there was no room for
}

// backlog is how many events wait for a slow follower.
const backlog = 256

func newFeed() *feed { return &feed{followers: map[*follower]bool{}} }

func (f *feed) publish(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for one := range f.followers {
		late := e
		if before, missed := one.missed[e.Link]; missed {
			late = e.after(before)
		}
		select {
		case one.events <- late:
			delete(one.missed, e.Link)
		default:
			one.missed[e.Link] = late
		}
	}
}

func (f *feed) join() *follower {
	one := &follower{events: make(chan Event, backlog), missed: map[string]Event{}}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.followers[one] = true
	return one
}

func (f *feed) leave(one *follower) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.followers, one)
}

// serveEvents writes one event a line until the other side or the daemon goes: first how each link is, as events without old, then what
// changes.
func (l *Loop) serveEvents(w http.ResponseWriter, r *http.Request) {
	one := l.feed.join() // before the present is looked at
	defer l.feed.leave(one)
	w.Header().Set("Content-Type", "application/x-ndjson")
	out, flush := json.NewEncoder(w), http.NewResponseController(w)
	var links []LinkStatus
	if s := l.status.Load(); s != nil {
		links = s.Links
	}
	for _, s := range links {
		e := Event{Link: s.Name, Interface: s.Interface, New: s.State, Why: s.Why, IPv4: s.IPv4, IPv6: s.IPv6}
		if s.Since != nil {
			e.Time = *s.Since
		}
		if out.Encode(e) != nil {
			return
		}
	}
	for {
		if flush.Flush() != nil {
			return
		}
		select {
		case e := <-one.events:
			if out.Encode(e) != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}
