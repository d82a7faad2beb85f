// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// places are the files and directories whose changes matter.
type places struct {
	policy []string // files, or directories of *.hcl files
	leases []string // directories
}

// places are those of the policy at the moment. Where a name is a link, what it leads to is watched, too.
func (l *Loop) places() places {
	p := places{policy: append([]string{l.source.Path}, l.source.Lists...), leases: l.kernel.files.Leases.All()}
	for _, name := range slices.Clone(p.policy) {
		if target, err := filepath.EvalSymlinks(name); err == nil && target != name {
			p.policy = append(p.policy, target)
		}
	}
	return p
}

// fileWatch tells when a policy or a lease changes. Directories are watched, not files: editors and DHCP clients put new files in the
// place of old ones. Where a directory does not exist yet, the nearest one above it is watched until it does.
type fileWatch struct {
	w *fsnotify.Watcher

	mu     sync.Mutex
	places places
	late   chan struct{} // a policy file changed before it was watched
}

// quiet is for how long a policy's files must not change before they are read: half of a file may be a policy, too.
const quiet = 300 * time.Millisecond

func (l *Loop) watchFiles(ctx context.Context) (*fileWatch, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch files: %w", err)
	}
	f := &fileWatch{w: w, late: make(chan struct{}, 1)}
	f.follow(l.places(), l.source.Read)
	go f.run(ctx, l)
	return f, nil
}

func (f *fileWatch) close() { _ = f.w.Close() }

// follow changes what is watched. The policy was read at a time before that.
func (f *fileWatch) follow(p places, read time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.places = p
	f.arm()
	if f.written(read) {
		select {
		case f.late <- struct{}{}:
		default:
		}
	}
}

// arm watches the directories that exist now, and no others. One that is made while the one above it is taken on is not announced:
// so it looks again until nothing is new.
func (f *fileWatch) arm() {
	for {
		wanted := f.wanted()
		news := false
		for name := range wanted {
			if !slices.Contains(f.w.WatchList(), name) {
				news = f.w.Add(name) == nil || news // what vanished meanwhile is found at the next change above it
			}
		}
		for _, old := range f.w.WatchList() {
			if !wanted[old] {
				_ = f.w.Remove(old)
			}
		}
		if !news {
			return
		}
	}
}

// wanted are the directories to watch.
func (f *fileWatch) wanted() map[string]bool {
	wanted := map[string]bool{}
	for _, name := range f.places.policy {
		if info, err := os.Stat(name); err != nil || !info.IsDir() {
			name = filepath.Dir(name)
		}
		wanted[existing(name)] = true
	}
	for _, name := range f.places.leases {
		wanted[existing(name)] = true
	}
	return wanted
}

// existing is the directory, or the nearest one above it that exists.
func existing(name string) string {
	for {
		if info, err := os.Stat(name); err == nil && info.IsDir() {
			return name
		}
		above := filepath.Dir(name)
		if above == name {
			return name
		}
		name = above
	}
}

// run waits for changes until the watch is closed.
func (f *fileWatch) run(ctx context.Context, l *Loop) {
	calm := time.NewTimer(0)
	calm.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-f.w.Errors:
			if !ok {
				return
			}
			l.resync(because("changes of files were lost"))
			calm.Reset(quiet)
		case e, ok := <-f.w.Events:
			if !ok {
				return
			}
			policy, lease := f.concerns(e)
			if policy {
				calm.Reset(quiet)
			}
			if lease {
				l.dirty.set(because("lease file " + e.Name))
			}
		case <-f.late:
			calm.Reset(quiet)
		case <-calm.C:
			if f.writing(time.Now()) {
				calm.Reset(quiet)
				continue
			}
			select {
			case l.orders <- order{kind: reload, why: "policy file changed"}:
			case <-ctx.Done():
				return
			}
		}
	}
}

// writing tells whether a policy file was written a moment ago: perhaps there is more to come.
func (f *fileWatch) writing(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.written(now.Add(-quiet))
}

// written tells whether a policy file was written after a time.
func (f *fileWatch) written(after time.Time) bool {
	for _, name := range f.places.policy {
		names := []string{name}
		if inside, err := filepath.Glob(filepath.Join(name, "*.hcl")); err == nil {
			names = append(names, inside...)
		}
		for _, n := range names {
			if info, err := os.Stat(n); err == nil && info.ModTime().After(after) && !info.IsDir() {
				return true
			}
		}
	}
	return false
}

// concerns tells what a change is about.
func (f *fileWatch) concerns(e fsnotify.Event) (policy, lease bool) {
	if e.Op == fsnotify.Chmod {
		return false, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range f.places.policy {
		inside := filepath.Dir(e.Name) == name && filepath.Ext(e.Name) == ".hcl" && !strings.HasPrefix(filepath.Base(e.Name), ".")
		policy = policy || e.Name == name || inside
	}
	lease = slices.Contains(f.places.leases, filepath.Dir(e.Name)) && !strings.HasPrefix(filepath.Base(e.Name), ".")
	newPolicy, newLease := leadsTo(e.Name, f.places.policy), leadsTo(e.Name, f.places.leases)
	if newPolicy || newLease {
		f.arm() // and there may be files already
	}
	return policy || newPolicy, lease || newLease
}

// leadsTo tells whether a path is one of the places or above one.
func leadsTo(name string, places []string) bool {
	return slices.ContainsFunc(places, func(p string) bool { return p == name || strings.HasPrefix(p, name+"/") })
}
