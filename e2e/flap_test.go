// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"enlace/e2e/lab"
	"enlace/policy"
	"enlace/watch"
)

// listener is `enlace status --follow --json`.
type listener struct {
	cmd    *exec.Cmd
	ended  chan struct{}
	mu     sync.Mutex
	events []watch.Event
}

// listen starts it, and waits until it has told how the links are.
func (d *daemon) listen() *listener {
	d.t.Helper()
	l := &listener{cmd: exec.Command(os.Getenv(binaryVariable), "--root", d.root, "status", "--follow", "--json"), ended: make(chan struct{})}
	out, err := l.cmd.StdoutPipe()
	must(d.t, err)
	must(d.t, l.cmd.Start())
	ready := make(chan struct{})
	go func() {
		defer close(l.ended)
		links := len(d.ISPs)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var e watch.Event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				d.t.Errorf("status --follow --json said %q: %v", lines.Text(), err)
				continue
			}
			if e.Old == "" {
				if links--; links == 0 {
					close(ready)
				}
				continue
			}
			l.mu.Lock()
			l.events = append(l.events, e)
			l.mu.Unlock()
		}
	}()
	select {
	case <-ready:
	case <-time.After(patience):
		d.t.Fatal("status --follow says nothing")
	}
	d.t.Cleanup(func() { _ = l.cmd.Process.Kill() })
	return l
}

// stop ends it and returns the changes of state of a link.
func (l *listener) stop(t testing.TB, link string) (changes []watch.Event) {
	t.Helper()
	must(t, l.cmd.Process.Signal(syscall.SIGTERM))
	<-l.ended
	must(t, l.cmd.Wait())
	for _, e := range l.events {
		if e.Link == link && e.Old != e.New {
			changes = append(changes, e)
		}
	}
	return changes
}

// TestPain17_UnsteadyLinks: a link that loses half of its packets, and one that comes and goes, change their state twice at most, and
// status says why. One that loses a little, and one of whose targets is switched off, do not change it at all.
func TestPain17_UnsteadyLinks(t *testing.T) {
	const two, three = `targets = ["198.51.100.1", "198.51.100.2"]`, `targets = ["198.51.100.1", "198.51.100.2", "198.51.100.3"]`
	every := 3 * time.Second
	for _, c := range []struct {
		name    string
		health  string
		how     func(t *testing.T, i *lab.ISP, on bool)
		comes   bool // and goes
		most    int  // changes
		explain string
	}{
		{"half is lost", "", func(t *testing.T, i *lab.ISP, _ bool) { must(t, i.Lose(50)) }, false, 2, " "},
		{"half is lost, two targets", two, func(t *testing.T, i *lab.ISP, _ bool) { must(t, i.Lose(50)) }, false, 2, " "},
		{"silent every 3 s", "", func(t *testing.T, i *lab.ISP, on bool) { must(t, i.Lose(map[bool]int{true: 100, false: 0}[on])) }, true, 2, "it comes and goes; it has to work for 10s without a break"},
		{"unplugged every 3 s", "", func(t *testing.T, i *lab.ISP, on bool) {
			if on {
				must(t, i.Unplug())
			} else {
				must(t, i.PlugIn())
			}
		}, true, 2, "it comes and goes; it has to work for 10s without a break"},
		{"5 % lost, two targets", two, func(t *testing.T, i *lab.ISP, _ bool) { must(t, i.Lose(5)) }, false, 0, ""},
		{"one of three dead", three, func(t *testing.T, i *lab.ISP, _ bool) { must(t, i.Mute([]byte{198, 51, 100, 2})) }, false, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRouter(t, lab.Virtua.OnlyV4(), lab.Embratel.OnlyV4())
			d := r.fresh(strings.Replace(plain, `link "virtua" { interface = "eth1" }`, "link \"virtua\" {\n  interface = \"eth1\"\n  health {\n"+c.health+"\n}\n}", 1))
			d.link("virtua", "up", "")
			d.link("embratel", "up", "")
			l := d.listen()
			whole := 2 * time.Minute
			if c.most == 0 {
				whole = 10 * time.Minute
			}
			tick := time.NewTicker(every)
			defer tick.Stop()
			bad := true
			c.how(t, r.ISP("virtua"), bad)
			for end := time.Now().Add(times(20*time.Second, whole)); time.Now().Before(end); <-tick.C {
				if c.comes {
					c.how(t, r.ISP("virtua"), bad)
					bad = !bad
				}
			}
			s := d.link("virtua", d.state("virtua"), "")
			changes := l.stop(t, "virtua")
			t.Logf("%d changes: %v; in the end %s: %s; %v", len(changes), transitions(changes), s.State, s.Why, s.Targets)
			if len(changes) > c.most {
				t.Errorf("%d changes of state, want %d at most", len(changes), c.most)
			}
			if !strings.Contains(s.Why, c.explain) {
				t.Errorf("status explains it by %q, want %q", s.Why, c.explain)
			}
			if told := slices.ContainsFunc(d.status().Problems, func(p watch.ProblemStatus) bool { return p.Code == policy.TargetSilent }); c.most == 0 && told != (c.health == three) {
				t.Errorf("a dead target is told: %v", told)
			}
		})
	}
}

func transitions(list []watch.Event) (out []string) {
	for _, e := range list {
		out = append(out, string(e.Old)+" > "+string(e.New)+" ("+e.Why+")")
	}
	return out
}

// state is that of a link now.
func (d *daemon) state(link string) string {
	for _, l := range d.status().Links {
		if l.Name == link {
			return string(l.State)
		}
	}
	return ""
}
