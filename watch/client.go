// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Client speaks with the daemon that runs on this host.
type Client struct{ http http.Client }

// ErrNotRunning says that there is no daemon to speak with.
var ErrNotRunning = errors.New("enlace watch does not run")

// patience is how long an answer may take. A policy with a hundred thousand addresses takes seconds on a slow machine.
const patience = 2 * time.Minute

// statusPatience is the same for the status, which is there already.
const statusPatience = 5 * time.Second

// Dial finds the daemon.
func Dial(files Files) (*Client, error) {
	conn, err := net.Dial("unix", files.Socket)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED):
		if pid := runs(files); pid != "" {
			return nil, fmt.Errorf("enlace watch runs, as process %s, and does not answer on %s: wait a moment if it was just started, otherwise restart it", pid, files.Socket)
		}
		return nil, ErrNotRunning
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("this needs root; enlace status may also be asked by members of group %s (%w)", Group, err)
	case err != nil:
		return nil, err
	}
	_ = conn.Close()
	return &Client{http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", files.Socket)
		},
	}}}, nil
}

// runs is the process number of the daemon, empty when there is none. It looks at the daemon's lock.
func runs(files Files) string {
	f, err := os.Open(files.Alone)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		return ""
	}
	pid, _ := io.ReadAll(io.LimitReader(f, 20))
	return strings.TrimSpace(string(pid))
}

// Status asks how things are.
func (c *Client) Status() (*Status, error) {
	var s Status
	quick := &Client{c.http}
	quick.http.Timeout = statusPatience
	return &s, quick.call(http.MethodGet, "status", "", &s)
}

// Apply makes the daemon read its policy anew and waits until it is in force.
func (c *Client) Apply(path string) (Outcome, error) { return c.order("apply", path) }

// Down makes the daemon remove everything and end.
func (c *Client) Down() (Outcome, error) { return c.order("down", "") }

// Drain takes a link out of use; with now its flows are moved, too. Undrain puts it back.
func (c *Client) Drain(link string, now bool) (Outcome, error) {
	if now {
		return c.order("drain?now", link)
	}
	return c.order("drain", link)
}

// Undrain is the opposite of Drain.
func (c *Client) Undrain(link string) (Outcome, error) { return c.order("undrain", link) }

// Follow hands over how each link is, and then every change, until the daemon ends, the context does, or a function fails.
func (c *Client) Follow(ctx context.Context, each func(Event) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://enlace/v1/events", nil)
	if err != nil {
		return err
	}
	patient := c.http
	patient.Timeout = 0
	resp, err := patient.Do(req)
	if err != nil {
		return fmt.Errorf("enlace watch: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	for lines := json.NewDecoder(resp.Body); ; {
		var e Event
		if err := lines.Decode(&e); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("enlace watch has ended (%w)", err)
		}
		if err := each(e); err != nil {
			return err
		}
	}
}

func (c *Client) order(what, body string) (Outcome, error) {
	var out Outcome
	err := c.call(http.MethodPost, what, body, &out)
	if err == nil && out.Error != "" {
		err = errors.New(strings.TrimSpace(out.Error))
	}
	return out, err
}

func (c *Client) call(method, what, body string, into any) error {
	req, err := http.NewRequest(method, "http://enlace/v1/"+what, strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("enlace watch: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("enlace watch: %s", strings.TrimSpace(string(text)))
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
