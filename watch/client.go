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
	"strings"
	"syscall"
	"time"
)

// Client speaks with the daemon that runs on this host.
type Client struct{ http http.Client }

// ErrNotRunning says that there is no daemon to speak with.
var ErrNotRunning = errors.New("enlace watch does not run")

// patience is how long an answer may take. A policy with a hundred thousand addresses takes seconds on a slow machine.
const patience = 2 * time.Minute

// Dial finds the daemon.
func Dial(files Files) (*Client, error) {
	conn, err := net.Dial("unix", files.Socket)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED):
		return nil, ErrNotRunning
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s may be used by root and the members of group %s only", files.Socket, Group)
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

// Status asks how things are.
func (c *Client) Status() (*Status, error) {
	var s Status
	return &s, c.call(http.MethodGet, "status", "", &s)
}

// Apply makes the daemon read its policy anew and waits until it is in force.
func (c *Client) Apply(path string) (Outcome, error) { return c.order("apply", path) }

// Down makes the daemon remove everything and end.
func (c *Client) Down() (Outcome, error) { return c.order("down", "") }

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
