// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"enlace/policy"
)

// hooks run the programs that a policy names when a link changes. They are in nobody's way: each link has one at a time, what happens
// meanwhile is put together into one event for the next, and one that hangs is killed.
type hooks struct {
	log     *slog.Logger
	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	links  map[string]*hook
	failed map[string]failure // by link: of the last run
}

// hook is that of a link, while it runs.
type hook struct{ waiting *call }

// failure is what a program complained about.
type failure struct{ program, text string }

// scrap keeps the beginning of what is written to it.
type scrap struct{ bytes.Buffer }

func (s *scrap) Write(b []byte) (int, error) {
	_, _ = s.Buffer.Write(b[:min(len(b), max(0, mostSaid-s.Len()))])
	return len(b), nil
}

// call is an event for a program.
type call struct {
	program string
	event   Event
}

const (
	// longestHook is how long a hook may run.
	longestHook = 30 * time.Second
	// mostSaid is how much of a hook's output the log gets.
	mostSaid = 2000
)

func newHooks(log *slog.Logger) *hooks {
	ctx, stop := context.WithCancel(context.Background())
	return &hooks{log: log, ctx: ctx, stop: stop, links: map[string]*hook{}, failed: map[string]failure{}}
}

// fire runs a program for an event, now or when the present run is over.
func (h *hooks) fire(program string, e Event) {
	if program == "" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if running := h.links[e.Link]; running != nil {
		if running.waiting != nil {
			e = e.after(running.waiting.event)
		}
		running.waiting = &call{program, e}
		return
	}
	h.links[e.Link] = &hook{}
	h.running.Add(1)
	go func() {
		defer h.running.Done()
		for next := (&call{program, e}); next != nil; next = h.next(e.Link) {
			h.run(*next)
		}
	}()
}

// next is what has come together meanwhile, nil when nothing has.
func (h *hooks) next(link string) *call {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := h.links[link].waiting
	if h.links[link].waiting = nil; next == nil || h.ctx.Err() != nil {
		delete(h.links, link)
		return nil
	}
	return next
}

// run runs a program once.
func (h *hooks) run(c call) {
	ctx, cancel := context.WithTimeout(h.ctx, longestHook)
	defer cancel()
	doc, err := json.Marshal(c.event)
	if err != nil {
		h.log.Error("hook", "error", err)
		return
	}
	var said scrap
	cmd := exec.CommandContext(ctx, c.program)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(append(doc, '\n')), &said, &said
	cmd.Env = environment(c.event)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what it has started ends with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	began := time.Now()
	err = cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it has left behind
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // that held on to its output
	}
	if ctx.Err() != nil && h.ctx.Err() == nil {
		err = fmt.Errorf("killed after %s", longestHook)
	}
	text := strings.TrimSpace(said.String())
	h.mu.Lock()
	delete(h.failed, c.event.Link)
	if err != nil && h.ctx.Err() == nil {
		h.failed[c.event.Link] = failure{c.program, fmt.Sprintf("on_change, %s, for %s: %v", c.program, c.event.New, err)}
	}
	h.mu.Unlock()
	took := time.Since(began).Round(time.Millisecond)
	if err != nil {
		h.log.Warn("hook failed", "program", c.program, "link", c.event.Link, "error", err, "said", text, "took", took)
		return
	}
	h.log.Debug("hook", "program", c.program, "link", c.event.Link, "said", text, "took", took)
}

// environment is what a hook gets besides the document on its standard input.
func environment(e Event) []string {
	address := func(p *PathStatus) (address, gateway string) {
		show := func(a netip.Addr) string {
			if !a.IsValid() {
				return ""
			}
			return a.String()
		}
		if p == nil {
			return "", ""
		}
		return show(p.Address), show(p.Gateway)
	}
	a4, g4 := address(e.IPv4)
	a6, g6 := address(e.IPv6)
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"ENLACE_LINK=" + e.Link, "ENLACE_INTERFACE=" + e.Interface, "ENLACE_OLD=" + string(e.Old), "ENLACE_NEW=" + string(e.New),
		"ENLACE_REASON=" + e.Why, "ENLACE_TIME=" + e.Time.Format(time.RFC3339),
		"ENLACE_ADDRESS4=" + a4, "ENLACE_GATEWAY4=" + g4, "ENLACE_ADDRESS6=" + a6, "ENLACE_GATEWAY6=" + g6,
	}
}

// problems are the hooks that failed last time.
func (h *hooks) problems(p policy.Policy) []policy.Problem {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []policy.Problem
	for _, l := range p.Links {
		program := hookOf(p, l)
		text := ""
		if f := h.failed[l.Name]; f.program == program {
			text = f.text
		}
		if why := unusable(program); text == "" && why != "" {
			text = fmt.Sprintf("on_change, %s, cannot be run: %s", program, why)
		}
		if text != "" && program != "" {
			out = append(out, policy.Problem{Code: policy.HookFailed, Subject: "link " + l.Name, Text: text, Pos: l.Pos})
		}
	}
	return out
}

// hookOf is the program that is run when a link changes, empty when there is none.
func hookOf(p policy.Policy, l policy.Link) string {
	if l.OnChange != "" {
		return l.OnChange
	}
	return p.Settings.OnChange
}

// unusable says why a program cannot be run, as far as that is seen without running it.
func unusable(program string) string {
	if program == "" {
		return ""
	}
	switch i, err := os.Stat(program); {
	case err != nil:
		return err.Error()
	case i.IsDir() || i.Mode()&0o111 == 0:
		return "it is not executable"
	}
	return ""
}

// close ends the hooks that run.
func (h *hooks) close() {
	h.stop()
	h.running.Wait()
}
