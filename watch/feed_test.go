// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"enlace/policy"
)

// TestSlowFollower: who does not read misses events, is told how many, and is in nobody's way.
func TestSlowFollower(t *testing.T) {
	f := newFeed()
	slow := f.join()
	defer f.leave(slow)
	const all = backlog + 10
	for range all {
		f.publish(Event{Link: "a", Old: policy.Up, New: policy.Down})
	}
	for range backlog {
		if e := <-slow.events; e.Missed != 0 {
			t.Fatalf("missed %d while there was room", e.Missed)
		}
	}
	f.publish(Event{Link: "a", Old: policy.Down, New: policy.Up})
	if e := <-slow.events; e.Missed != all-backlog {
		t.Errorf("told of %d missed, want %d", e.Missed, all-backlog)
	}
}

// TestEventsPutTogether: the old state is that before the first of them.
func TestEventsPutTogether(t *testing.T) {
	first := Event{Old: policy.Up, New: policy.Down}
	e := Event{Old: policy.Down, New: policy.Holding}.after(first)
	e = Event{Old: policy.Holding, New: policy.Up}.after(e)
	if e.Old != policy.Up || e.New != policy.Up || e.Missed != 2 {
		t.Errorf("%+v", e)
	}
}

// TestDrainedFile: draining is kept, twice is once, and a file that cannot be read is an error: a link that a person took out of use must not
// come back by itself.
func TestDrainedFile(t *testing.T) {
	f := FilesBelow(t.TempDir())
	if there, err := f.Undrain("a"); there || err != nil {
		t.Errorf("undrain of nothing: %v, %v", there, err)
	}
	for _, now := range []bool{false, true} {
		if err := f.Drain("a", now); err != nil {
			t.Fatal(err)
		}
		list, err := f.drained()
		if err != nil || len(list) != 1 || list["a"].Now != now || !strings.HasPrefix(list["a"].Why, "since 20") {
			t.Errorf("drained: %v, %v", list, err)
		}
	}
	if there, err := f.Undrain("a"); !there || err != nil {
		t.Errorf("undrain: %v, %v", there, err)
	}
	if _, err := os.Stat(f.Drained); err == nil {
		t.Error("an empty file stays")
	}
	if err := os.MkdirAll(filepath.Dir(f.Drained), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.Drained, []byte("half a fi"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.drained(); err == nil || !strings.Contains(err.Error(), f.Drained) {
		t.Errorf("a broken file: %v", err)
	}
}

// TestRemembered: what probing found comes back; without a daemon with the advice to start one.
func TestRemembered(t *testing.T) {
	f := FilesBelow(t.TempDir())
	want := map[string][2]remembered{"a": {{State: policy.Down, Why: "silent", Hold: (20 * time.Second).String()}, {}}}
	if err := f.remember(want); err != nil {
		t.Fatal(err)
	}
	if got := f.recallHealth(); got["a"] != want["a"] {
		t.Errorf("recalled %v, want %v", got, want)
	}
	if s := readStandings(f)["a"][policy.V4]; s.State != policy.Down || !strings.Contains(s.Why, "does not run") {
		t.Errorf("without a daemon: %v", s)
	}
	alone, err := Alone(f)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = alone.Close() }()
	if s := readStandings(f); s["a"][policy.V4] != (policy.Standing{State: policy.Down, Why: "silent"}) {
		t.Errorf("with a daemon: %v", s)
	}
}
