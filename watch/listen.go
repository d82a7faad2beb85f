// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"enlace/nft"
	"enlace/rtnl"
)

// EventBuffer is how many bytes of events a socket holds that were not read yet. It is no limit for what is followed: when it
// overflows, everything is read anew.
const EventBuffer = 1 << 20

// pause is how long nothing is listened to after that broke, in case it breaks again at once.
const pause = 100 * time.Millisecond

// ears are the subscriptions to the kernel's events.
type ears struct {
	routes atomic.Pointer[rtnl.Events]
	table  atomic.Pointer[nft.Events]
	ended  atomic.Bool
}

// listen subscribes, before anything is read: what happens meanwhile is not missed.
func (l *Loop) listen(buffer int) (*ears, error) {
	e := &ears{}
	routes := func() error {
		events, err := rtnl.Subscribe(l.kernel.rt.Port, &l.tables, buffer)
		if err == nil {
			e.routes.Store(events)
		}
		return err
	}
	table := func() error {
		events, err := nft.Subscribe(l.kernel.nft.Port, buffer)
		if err == nil {
			e.table.Store(events)
		}
		return err
	}
	if err := errors.Join(routes(), table()); err != nil {
		return nil, err
	}
	go follow(l, e, func() ([]rtnl.Event, error) { return e.routes.Load().Receive() }, func(v rtnl.Event) bool { return v.Lost },
		func() error { return errors.Join(ignore(e.routes.Load().Close()), routes()) })
	go follow(l, e, func() ([]nft.Event, error) { return e.table.Load().Receive() }, func(v nft.Event) bool { return v.Lost },
		func() error { return errors.Join(ignore(e.table.Load().Close()), table()) })
	return e, nil
}

func ignore(error) error { return nil }

// follow turns events into the dirty bit until listening ends. When it breaks, it begins anew: the network goes on changing.
func follow[E fmt.Stringer](l *Loop, e *ears, receive func() ([]E, error), lost func(E) bool, again func() error) {
	for {
		events, err := receive()
		if e.ended.Load() {
			return
		}
		if err != nil {
			l.Log.Warn("listening to the kernel broke; beginning anew", "error", err)
			for time.Sleep(pause); again() != nil && !e.ended.Load(); {
				time.Sleep(time.Second)
			}
			l.resync(because("listening began anew"))
			continue
		}
		for _, v := range events {
			if lost(v) {
				l.resync(v)
			} else {
				l.dirty.set(v)
			}
		}
	}
}

// resync counts that events were lost. A pass reads everything anyway.
func (l *Loop) resync(why fmt.Stringer) {
	l.resyncs.Add(1)
	l.dirty.set(why)
}

func (e *ears) close() {
	e.ended.Store(true)
	for _, c := range []io.Closer{e.routes.Load(), e.table.Load()} {
		_ = c.Close()
	}
}
