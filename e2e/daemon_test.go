// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"enlace/watch"
)

// daemon is the program under test as `enlace watch` on a router.
type daemon struct {
	*router
	cmd   *exec.Cmd
	log   *log
	ended chan error
}

// log collects what a process writes.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// patience is for how long a test waits for what should take milliseconds, because machines are busy, or for a DHCP client: dhclient
// writes its lease file once in 15 seconds at most (MIN_LEASE_WRITE).
const patience = 30 * time.Second

// watch starts the daemon with a policy and waits until its first pass is done.
func (r *router) watch(policy ...string) *daemon {
	r.t.Helper()
	return r.watchFile(r.write(policy...))
}

// watchFile does that with a policy file that is there, and more arguments.
func (r *router) watchFile(file string, args ...string) *daemon {
	r.t.Helper()
	d := &daemon{router: r, log: &log{}, ended: make(chan error, 1)}
	command := append(slices.Clone(r.before), os.Getenv(binaryVariable), "--root", r.root, "watch", file)
	command = append(command, args...)
	d.cmd = exec.Command(command[0], command[1:]...)
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	d.cmd.Env = append(os.Environ(), r.env...)
	must(r.t, r.Router.Do(d.cmd.Start))
	go func() { d.ended <- d.cmd.Wait() }()
	r.t.Cleanup(func() {
		d.kill()
		if r.t.Failed() {
			r.t.Logf("enlace watch said:\n%s", d.log)
		}
	})
	d.await("the first pass", func(s *watch.Status) bool { return s != nil && s.LastPass != nil })
	return d
}

// status asks the daemon, nil when it does not answer.
func (d *daemon) status() *watch.Status {
	c, err := watch.Dial(watch.FilesBelow(d.root))
	if err != nil {
		return nil
	}
	s, err := c.Status()
	if err != nil {
		return nil
	}
	return s
}

// await waits until the status is as the test wants it.
func (d *daemon) await(what string, ok func(*watch.Status) bool) *watch.Status {
	d.t.Helper()
	var s *watch.Status
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if s = d.status(); s != nil && ok(s) {
			return s
		}
		select {
		case err := <-d.ended:
			d.ended <- err
			d.t.Fatalf("waiting for %s: enlace watch ended: %v\n%s", what, err, d.log)
		default:
		}
	}
	d.t.Fatalf("waited in vain for %s; status %+v\n%s", what, s, d.log)
	return nil
}

// link waits until a link is in a state, and with a gateway if one is named.
func (d *daemon) link(name, state, gateway string) watch.LinkStatus {
	d.t.Helper()
	var found watch.LinkStatus
	d.await(fmt.Sprintf("link %s %s %s", name, state, gateway), func(s *watch.Status) bool {
		for _, l := range s.Links {
			if l.Name == name {
				found = l
			}
		}
		return string(found.State) == state && (gateway == "" || found.IPv4 != nil && found.IPv4.Gateway.String() == gateway)
	})
	return found
}

// stop ends the daemon as systemd would.
func (d *daemon) stop() {
	d.t.Helper()
	must(d.t, d.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-d.ended:
		d.ended <- err
		must(d.t, err)
	case <-time.After(patience):
		d.t.Fatalf("enlace watch does not end\n%s", d.log)
	}
}

// kill ends it as nobody should.
func (d *daemon) kill() {
	if err := d.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		d.t.Error(err)
	}
	err := <-d.ended
	d.ended <- err
}

// TestWatch: the daemon takes over what apply set up without losing a packet, follows a renumbering, and leaves everything in place when
// it ends.
func TestWatch(t *testing.T) {
	r := newRouter(t)
	r.apply(links, balanced, `default { via = group.balanced }`)
	steady := r.heldBy("embratel")
	d := r.watch(links, balanced, `default { via = group.balanced }`)
	if counts := r.shares(50, 30, false); counts["virtua"] != 20 {
		t.Errorf("shares %v, want 20:10", counts)
	}
	must(t, r.Renumber("virtua", netipPrefixes("189.77.0.0/24", "2001:db8:1897::/64")...))
	d.link("virtua", "up", "189.77.0.1")
	if counts := r.shares(50, 30, false); counts["virtua"] != 20 {
		t.Errorf("shares %v after the renumbering, want 20:10", counts)
	}
	r.unchanged()
	steady.Await(10)
	r.unbroken("embratel's flow meanwhile", steady.Stop())
	d.stop()
	if counts := r.shares(50, 30, false); counts["virtua"] != 20 {
		t.Errorf("shares %v without the daemon, want 20:10", counts)
	}
	r.unchanged()
}
