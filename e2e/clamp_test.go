// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"enlace/e2e/lab"
	"enlace/watch"
)

// clamped is a policy with a link of each kind.
const clamped = `
lan "office" { interface = "eth0" }
link "virtua" {
  interface = "eth1"
  mss_clamp = 1200
  health { hold = "0s" }
}
link "embratel" {
  interface = "eth2"
  gateway   = ["200.252.10.1", "2001:db8:200::1"]
  mss_clamp = true
  health { hold = "0s" }
}
rule "one" {
  from = ["10.1.0.100", "fd00:a::64"]
  via  = link.virtua
}
default { via = link.embratel }
`

// segments opens a connection through the router and returns the longest segment that either end may send, timestamps (12 bytes) left off.
func (r *router) segments(host int, v6 bool) (client, server int) {
	r.t.Helper()
	to := "[2001:db8:ffff::1]:8080"
	if !v6 {
		to = "198.51.100.1:8080"
	}
	longest := func(c net.Conn) int {
		size, err := lab.Segment(c)
		must(r.t, err)
		return size
	}
	var l net.Listener
	must(r.t, r.Internet.Do(func() (err error) {
		l, err = net.Listen("tcp", to)
		return err
	}))
	defer func() { _ = l.Close() }()
	accepted := make(chan int, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			accepted <- 0
			return
		}
		accepted <- longest(c)
		_ = c.Close()
	}()
	c, err := r.LAN.Open(lab.Flow{Network: "tcp", From: lab.Host(host, v6), To: netip.MustParseAddrPort(to)})
	must(r.t, err)
	defer func() { _ = c.Close() }()
	return longest(c), <-accepted
}

// TestClamp: both ends of a connection learn the longest segment that the link carries. Other links' connections are left alone, and so are those of a
// policy without a clamp.
func TestClamp(t *testing.T) {
	r := newRouterWithout(t)
	d := r.watch(clamped)
	d.link("virtua", "up", "")
	d.link("embratel", "up", "")
	both(t, func(t *testing.T, v6 bool) {
		if client, server := r.segments(100, v6); client != 1200 || server != 1200 {
			t.Errorf("mss_clamp = 1200: segments of %d and %d bytes", client, server)
		}
		if client, server := r.segments(50, v6); client != full(1500, v6) || server != full(1500, v6) {
			t.Errorf("MTU 1500: segments of %d and %d bytes, want %d", client, server, full(1500, v6))
		}
	})
	// The interface's MTU is followed: a modem that does PPPoE.
	if out, err := r.Router.Run("ip", "link", "set", "eth2", "mtu", "1492"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	d.await("the new MTU", func(*watch.Status) bool {
		return strings.Contains(strings.Join(r.lines("nft", "list", "chain", "inet", "enlace", "clamp"), "\n"), "set 1452")
	})
	both(t, func(t *testing.T, v6 bool) {
		if client, server := r.segments(50, v6); client != full(1492, v6) || server != full(1492, v6) {
			t.Errorf("MTU 1492: segments of %d and %d bytes, want %d", client, server, full(1492, v6))
		}
	})
	d.stop()
	r.apply(strings.Replace(strings.Replace(clamped, "mss_clamp = true", "mss_clamp = false", 1), "mss_clamp = 1200", "", 1))
	if client, server := r.segments(100, false); client != 1460 || server != 1460 {
		t.Errorf("without a clamp: segments of %d and %d bytes, want 1460", client, server)
	}
	if strings.Contains(strings.Join(r.lines("nft", "list", "table", "inet", "enlace"), "\n"), "hook forward") {
		t.Error("a policy without a clamp has a chain in the forward hook")
	}
}

// full is what an MTU leaves for a segment.
func full(mtu int, v6 bool) int {
	if v6 {
		return mtu - 60
	}
	return mtu - 40
}
