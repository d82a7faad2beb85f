// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"enlace/e2e/lab"
)

// short is how long a client waits that should get no answer.
const short = 400 * time.Millisecond

// need ends the test when a program is missing: as a failure where everything must be installed, otherwise as a skip.
func need(t testing.TB, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed", program)
	}
	t.Skipf("%s is not installed: independent listings cannot be compared", program)
}

// routes are lines of `ip route show`, trimmed.
func (r *router) routes(args ...string) []string {
	r.t.Helper()
	return r.lines("ip", append([]string{"route", "show"}, args...)...)
}

func (r *router) lines(program string, args ...string) []string {
	r.t.Helper()
	need(r.t, program)
	out, err := r.Router.Run(program, args...)
	if err != nil {
		r.t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
	var lines []string
	for l := range strings.Lines(string(out)) {
		lines = append(lines, strings.TrimSpace(l))
	}
	return lines
}

// listing is everything of the router that enlace could change, as other programs show it.
func (r *router) listing() string {
	r.t.Helper()
	var b strings.Builder
	for _, c := range [][]string{
		{"nft", "-s", "list", "ruleset"},
		{"ip", "rule"},
		{"ip", "-6", "rule"},
		{"ip", "route", "show", "table", "all"},
		{"ip", "-6", "route", "show", "table", "all"},
		{"sh", "-c", "cd /proc/sys/net && grep -r . ipv4/conf ipv6/conf ipv4/ip_forward ipv4/fib_multipath_hash_policy ipv6/fib_multipath_hash_policy 2>/dev/null | grep -v stable_secret | sort"},
	} {
		fmt.Fprintf(&b, "# %s\n%s\n", strings.Join(c, " "), strings.Join(r.lines(c[0], c[1:]...), "\n"))
	}
	return expiry.ReplaceAllString(b.String(), "")
}

// expiry is what changes by itself in a listing.
var expiry = regexp.MustCompile(`expires \d+sec`)

// diff compares lines.
func diff(t testing.TB, want, got []string) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// unbroken tests that a stream lost nothing and stayed on one link.
func (r *router) unbroken(what string, got lab.Result) {
	r.t.Helper()
	if got.Err != nil || got.Lost != 0 || len(got.Links) != 1 || got.Sent == 0 {
		r.t.Errorf("%s: %+v, want nothing lost and one link; lost in the kernel: %v", what, got, r.Drops())
	}
}

// writes counts notifications of routes, rules and nftables.
type writes struct {
	conns []*netlink.Conn
	count chan int
}

// watchWrites counts what changes in the router's kernel until it is stopped, as any listener would see it.
func (r *router) watchWrites() *writes {
	r.t.Helper()
	w := &writes{count: make(chan int)}
	must(r.t, r.Router.Do(func() error {
		for protocol, groups := range map[int][]uint32{
			unix.NETLINK_ROUTE: {
				unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE,
			},
			unix.NETLINK_NETFILTER: {unix.NFNLGRP_NFTABLES},
		} {
			c, err := netlink.Dial(protocol, nil)
			if err != nil {
				return err
			}
			for _, g := range groups {
				if err := c.JoinGroup(g); err != nil {
					return err
				}
			}
			w.conns = append(w.conns, c)
		}
		return nil
	}))
	for _, c := range w.conns {
		go func() {
			n := 0
			for {
				msgs, err := c.Receive()
				if err != nil {
					w.count <- n
					return
				}
				n += len(msgs)
			}
		}()
	}
	return w
}

// stop returns how many notifications came. Those of a change are queued before the change is acknowledged.
func (w *writes) stop() int {
	n := 0
	for _, c := range w.conns {
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n += <-w.count
		_ = c.Close()
	}
	return n
}

// after is what stands behind a mark in a line.
func after(line, mark string) string {
	_, rest, _ := strings.Cut(line, mark)
	return rest
}
