// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"enlace/policy/lang"
	"enlace/watch"
)

// A follower is a process on a router that runs the daemon's loop, changes the network itself, and measures in the same process how long
// it took until the plan was in force. It is this test binary, started again.

// followerVariable has the root directory of the follower's files, a blank, and the policy.
const followerVariable = "ENLACE_E2E_FOLLOWER"

// events is how many changes a follower measures.
const events = 500

// latencies are what a follower prints, in nanoseconds.
type latencies struct{ Plan, Floor []time.Duration }

// BenchmarkLatency measures the time from the change that completes the facts of a link (its default route, after it has got another
// address) to the plan in force, and beside it, in turns, what the machine needs for the least: to deliver an event and replace
// one route.
func BenchmarkLatency(b *testing.B) {
	for _, c := range []struct {
		links       int
		median, p99 time.Duration // the most
	}{{2, 2 * time.Millisecond, 15 * time.Millisecond}, {64, 40 * time.Millisecond, 40 * time.Millisecond}} {
		b.Run(fmt.Sprintf("links=%d", c.links), func(b *testing.B) {
			w := newWideRouter(b, c.links)
			text := strings.Replace(widePolicy(c.links), "  gateway = \"100.64.0.1\"\n", "", 1)
			must(b, os.WriteFile(w.file, []byte(text), 0o600))
			var l latencies
			for b.Loop() {
				l = w.follow()
			}
			b.ReportMetric(0, "ns/op")
			plan, planLate := quantiles(l.Plan)
			floor, floorLate := quantiles(l.Floor)
			for name, d := range map[string]time.Duration{"plan-p50": plan, "plan-p99": planLate, "floor-p50": floor, "floor-p99": floorLate} {
				b.ReportMetric(float64(d.Microseconds())/1000, "ms-"+name)
			}
			b.Logf("%d links, %d events: plan in force after %v (median), %v (p99); floor %v, %v", c.links, len(l.Plan), plan, planLate, floor, floorLate)
			if plan > c.median || planLate > c.p99 {
				b.Errorf("plan in force after %v (median), %v (p99), want at most %v, %v", plan, planLate, c.median, c.p99)
			}
		})
	}
}

func quantiles(list []time.Duration) (median, p99 time.Duration) {
	slices.Sort(list)
	return list[len(list)/2], list[len(list)*99/100]
}

// follow runs a follower on the router.
func (w *wideRouter) follow() (l latencies) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), followerVariable+"="+w.root+" "+w.file)
	cmd.Stderr = os.Stderr
	var out []byte
	must(w.b, w.router.Do(func() (err error) {
		out, err = cmd.Output()
		return err
	}))
	must(w.b, json.Unmarshal(out, &l))
	return l
}

// followAndMeasure is the follower's main.
func followAndMeasure() int {
	root, file, _ := strings.Cut(os.Getenv(followerVariable), " ")
	p, report := lang.Load(file)
	if report.HasErrors() {
		return fail(report.Diagnostics)
	}
	k, err := watch.Open(watch.FilesBelow(root))
	if err != nil {
		return fail(err)
	}
	if _, err := k.Keep(); err != nil {
		return fail(err)
	}
	debug.SetGCPercent(100) // as the program does
	l := watch.NewLoop(k, p, watch.Source{Path: filepath.Clean(file), Read: time.Now()}, slog.New(slog.DiscardHandler))
	passed := make(chan watch.Passed, 1000)
	l.Passed = func(p watch.Passed) { passed <- p }
	go func() { _ = l.Run(context.Background(), watch.EventBuffer) }()
	f, err := newFollower(passed)
	if err != nil {
		return fail(err)
	}
	var out latencies
	for n := range events {
		plan, err := f.renumber(n)
		if err != nil {
			return fail(err)
		}
		floor, err := f.floor(n)
		if err != nil {
			return fail(err)
		}
		out.Plan, out.Floor = append(out.Plan, plan), append(out.Floor, floor)
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		return fail(err)
	}
	return 0
}

// follower changes its own network.
type follower struct {
	rt     *rtnetlink.Conn
	other  *rtnetlink.Conn // for the one who hears
	events *netlink.Conn
	device uint32
	passed chan watch.Passed
}

func newFollower(passed chan watch.Passed) (*follower, error) {
	rt, err := rtnetlink.Dial(nil)
	if err != nil {
		return nil, err
	}
	other, err := rtnetlink.Dial(nil)
	if err != nil {
		return nil, err
	}
	i, err := net.InterfaceByName(uplink(0))
	if err != nil {
		return nil, err
	}
	events, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, err
	}
	f := &follower{rt, other, events, uint32(i.Index), passed}
	f.quiet()
	return f, events.JoinGroup(unix.RTNLGRP_IPV4_ROUTE)
}

// quiet waits until no pass was made for a while.
func (f *follower) quiet() {
	for {
		select {
		case <-f.passed:
		case <-time.After(25 * time.Millisecond):
			return
		}
	}
}

// renumber gives the first link another address and, when that has been dealt with, the default route that makes it whole. It returns how
// long after that the plan was in force.
func (f *follower) renumber(n int) (time.Duration, error) {
	old, now := network(n), network(n+1)
	if err := f.rt.Address.Delete(f.address(old)); err != nil {
		return 0, fmt.Errorf("remove %s: %w", old, err)
	}
	if err := f.rt.Address.New(f.address(now)); err != nil {
		return 0, fmt.Errorf("add %s: %w", now, err)
	}
	f.quiet()
	began := time.Now()
	if err := f.rt.Route.Replace(f.route(unix.RT_TABLE_MAIN, netip.Addr{}, now.Masked().Addr().Next())); err != nil {
		return 0, err
	}
	for {
		select {
		case p := <-f.passed:
			if p.Err != nil {
				return 0, p.Err
			}
			if p.Changes > 0 {
				took := p.Began.Add(p.Took).Sub(began)
				f.quiet()
				return took, nil
			}
		case <-time.After(patience):
			return 0, fmt.Errorf("no pass followed event %d", n)
		}
	}
}

// floor is how long it takes to hear of a route and to replace another. Both are in tables that the loop does not look at.
func (f *follower) floor(n int) (time.Duration, error) {
	const heard, replaced = 98, 99
	host := netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})
	gateway := network(n + 1).Masked().Addr().Next()
	began := time.Now()
	done := make(chan error, 1)
	go func() {
		for {
			msgs, err := f.events.Receive()
			if err != nil {
				done <- err
				return
			}
			for _, m := range msgs {
				if len(m.Data) > 4 && m.Data[4] == heard {
					done <- f.other.Route.Replace(f.route(replaced, host, gateway))
					return
				}
			}
		}
	}()
	if err := f.rt.Route.Replace(f.route(heard, host, gateway)); err != nil {
		return 0, err
	}
	err := <-done
	return time.Since(began), err
}

// network is the n-th of two networks in turn.
func network(n int) netip.Prefix {
	return netip.MustParsePrefix([]string{"100.64.0.2/24", "100.127.0.2/24"}[n%2])
}

func (f *follower) address(p netip.Prefix) *rtnetlink.AddressMessage {
	return &rtnetlink.AddressMessage{Family: unix.AF_INET, PrefixLength: uint8(p.Bits()), Index: f.device, Attributes: &rtnetlink.AddressAttributes{
		Address: p.Addr().AsSlice(), Local: p.Addr().AsSlice(),
	}}
}

// route is a route to a host, or the default route, through the first link.
func (f *follower) route(table uint8, host, gateway netip.Addr) *rtnetlink.RouteMessage {
	m := &rtnetlink.RouteMessage{
		Family: unix.AF_INET, Table: table, Protocol: unix.RTPROT_DHCP, Type: unix.RTN_UNICAST,
		Attributes: rtnetlink.RouteAttributes{Gateway: gateway.AsSlice(), OutIface: f.device, Table: uint32(table)},
	}
	if host.IsValid() {
		m.DstLength, m.Attributes.Dst = 32, host.AsSlice()
	}
	return m
}
