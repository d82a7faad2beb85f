// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"strings"
	"sync"
)

// dirty is the one bit that says that the world may not be as it was, with the reasons. Anybody may set it, at any time and as often as
// they like; the loop takes it.
type dirty struct {
	c chan struct{} // holds a token while the bit is set

	mu      sync.Mutex
	reasons []string
	more    int
	last    fmt.Stringer
}

// mostReasons is how many reasons are kept of one pass.
const mostReasons = 4

func newDirty() *dirty { return &dirty{c: make(chan struct{}, 1)} }

// set sets the bit. The reason is put into words only when it is kept.
func (d *dirty) set(reason fmt.Stringer) {
	d.mu.Lock()
	d.last = reason
	if len(d.reasons) < mostReasons {
		d.reasons = append(d.reasons, reason.String())
	} else {
		d.more++
	}
	d.mu.Unlock()
	select {
	case d.c <- struct{}{}:
	default:
	}
}

// take clears the bit, and returns what set it.
func (d *dirty) take() reasons {
	select {
	case <-d.c:
	default:
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r := reasons{said: d.reasons, more: d.more}
	if d.last != nil {
		r.last = d.last.String()
	}
	d.reasons, d.more, d.last = nil, 0, nil
	return r
}

// reasons are why a pass was made.
type reasons struct {
	said []string
	more int
	last string // the one that came last: a link that comes up does so by it
}

// String is one line.
func (r reasons) String() string {
	s := strings.Join(r.said, "; ")
	if r.more > 0 {
		s += fmt.Sprintf("; and %d more", r.more)
	}
	return s
}

// because is a reason in words.
type because string

func (b because) String() string { return string(b) }
