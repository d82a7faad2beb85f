// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"enlace/policy"
)

// caller asks what takes a connection of its own for each question.
type caller struct {
	way    Way
	target policy.Probe
	others *sync.WaitGroup
	turns  chan struct{} // one for each question that may be open
	client *http.Client
}

// What a caller costs at most.
const (
	mostCalls   = 32
	longestCall = 3 * time.Second
	longestBody = 64 << 10
)

func newCaller(w Way, target policy.Probe, others *sync.WaitGroup) *caller {
	c := &caller{way: w, target: target, others: others, turns: make(chan struct{}, mostCalls)}
	c.client = &http.Client{
		Transport: &http.Transport{DialContext: w.dialer("tcp").DialContext, DisableKeepAlives: true, TLSHandshakeTimeout: longestCall},
		// Where it leads to is none of the link's business, and would be looked up by whatever link.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

func (c *caller) ask(ctx context.Context, seq uint32, answered func(uint32)) bool {
	select {
	case c.turns <- struct{}{}:
	default:
		return false // so many are open that one more would say nothing new
	}
	c.others.Add(1)
	go func() {
		defer c.others.Done()
		defer func() { <-c.turns }()
		ctx, cancel := context.WithTimeout(ctx, longestCall)
		defer cancel()
		if c.call(ctx) == nil {
			answered(seq)
		}
	}()
	return true
}

func (c *caller) close() { c.client.CloseIdleConnections() }

// call asks once.
func (c *caller) call(ctx context.Context) error {
	to := netip.AddrPortFrom(c.target.Address, c.target.Port).String()
	switch c.target.Kind {
	case policy.ProbeTCP:
		conn, err := c.way.dialer("tcp").DialContext(ctx, "tcp", to)
		if err == nil {
			return conn.Close()
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil
		}
		return err
	case policy.ProbeDNS:
		conn, err := c.way.dialer("udp").DialContext(ctx, "udp", to)
		if err != nil {
			return err
		}
		return errors.Join(question(ctx, conn, c.target.Name), conn.Close())
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.target.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "enlace")
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, longestBody))
	if resp.StatusCode >= 400 {
		err = errors.New(resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}

// question asks a name server for the address of a name. Every answer counts but that the server itself is in trouble: whether the name
// exists is none of the link's business.
func question(ctx context.Context, conn net.Conn, name string) error {
	n, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return err
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: uint16(rand.Uint32()), RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: n, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	b, err := m.Pack()
	if err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write(b); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	for {
		size, err := conn.Read(buf)
		if err != nil {
			return err
		}
		var p dnsmessage.Parser
		h, err := p.Start(buf[:size])
		if err != nil || h.ID != m.ID || !h.Response {
			continue
		}
		if h.RCode == dnsmessage.RCodeServerFailure || h.RCode == dnsmessage.RCodeRefused {
			return errors.New(h.RCode.String())
		}
		return nil
	}
}
