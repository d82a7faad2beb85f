// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ti-mo/conntrack"

	"enlace/e2e/lab"
)

// failures are the ways in which a link is lost at once, and how it comes back.
var failures = map[string]struct{ lose, back func(*router) error }{
	"carrier": {
		func(r *router) error { return r.ISP("virtua").Unplug() },
		func(r *router) error { return r.ISP("virtua").PlugIn() },
	},
	"address": {
		func(r *router) error { return r.Router.RemoveAddress("eth1", r.ISP("virtua").Address(false)) },
		func(r *router) error {
			i := r.ISP("virtua")
			return errors.Join(r.Router.AddAddress("eth1", i.Address(false)), r.Router.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), i.Gateway(false), "eth1"))
		},
	},
}

// TestPain01_FlowsLeaveDeadLink: when a link loses its carrier or its address, its UDP flows go on through the other link after a few packets,
// with masquerade and with a fixed address, and TCP learns of it at once. With twenty thousand flows in the table the other link's
// lose nothing.
func TestPain01_FlowsLeaveDeadLink(t *testing.T) {
	for _, translation := range []string{"masquerade", "snat"} {
		for how, failure := range failures {
			t.Run(translation+"/"+how, func(t *testing.T) {
				r := newRouter(t, lab.Virtua.OnlyV4(), lab.Embratel.OnlyV4())
				text := onto("virtua")
				if translation == "snat" {
					text = strings.Replace(text, `interface = "eth1"`, "interface = \"eth1\"\n  snat = \"189.1.0.2\"", 1)
				}
				r.deafServers()
				d := r.fresh(text)
				d.link("virtua", "up", "")
				var lost, crowded []int
				var resets []time.Duration
				for run := range times(6, 60) {
					if run == times(4, 50) {
						r.crowd(20000, "embratel")
					}
					moved, reset := d.failOnce(failure.lose)
					if resets = append(resets, reset); run < times(4, 50) {
						lost = append(lost, moved)
					} else {
						crowded = append(crowded, moved)
					}
					must(t, failure.back(r))
					d.link("virtua", "up", "")
					d.awaitIdle()
				}
				for _, list := range [][]int{lost, crowded} {
					slices.Sort(list)
				}
				slices.Sort(resets)
				n := len(lost)
				t.Logf("%d times: %d packets of 1000 a second lost (median), %d (95 %%), %d (most); with 20,000 other flows %d (median), %d (most); TCP reset after %v (median), %v (longest)",
					n, lost[n/2], lost[n*95/100], lost[n-1], crowded[len(crowded)/2], crowded[len(crowded)-1], resets[n/2].Round(time.Millisecond), resets[len(resets)-1].Round(time.Millisecond))
				if lost[n/2] > 10 || lost[n*95/100] > 40 || crowded[len(crowded)-1] > 40 {
					t.Errorf("%d packets lost at the median, %d at 95 %%, want 10 and 40 at most", lost[n/2], lost[n*95/100])
				}
				if resets[len(resets)-1] > 100*time.Millisecond {
					t.Errorf("TCP was reset after %v, want 100 ms at most", resets[len(resets)-1])
				}
			})
		}
	}
}

// deafServers makes servers on the internet say nothing about connections that they do not know, as many do that stand behind a firewall.
func (r *router) deafServers() {
	r.t.Helper()
	need(r.t, "nft")
	for _, c := range []string{"add table inet deaf", "add chain inet deaf out { type filter hook output priority 0; }", "add rule inet deaf out tcp flags rst drop"} {
		if out, err := r.Internet.Run("nft", c); err != nil {
			r.t.Fatalf("%v %s", err, out)
		}
	}
}

// onto is a policy in which host 50 uses a link, and another when that is dead, and everybody else the other.
func onto(link string) string {
	return fmt.Sprintf(`
lan "office" { interface = "eth0" }
link "virtua" {
  interface = "eth1"
  health { hold = "0s" }
}
link "embratel" {
  interface = "eth2"
  gateway   = "200.252.10.1"
  health { hold = "0s" }
}
rule "one" {
  from = "10.1.0.50"
  via  = link.%s
}
default { via = link.embratel }
`, link)
}

// failOnce runs a flow over virtua and one over embratel while virtua fails, and says how many packets the first lost, and how long its TCP took
// to be reset.
func (d *daemon) failOnce(lose func(*router) error) (lost int, reset time.Duration) {
	d.t.Helper()
	moving := d.flowOn("virtua", 50)
	staying := d.flowOn("embratel", 20)
	tcp := d.chatter(lab.Flow{Network: "tcp", From: lab.Host(50, false), To: server(3, 443, false)})
	began := time.Now()
	must(d.t, lose(d.router))
	moving.AwaitVia("embratel", 20)
	reset = tcp.broken().Sub(began)
	result := moving.Stop()
	d.unbroken("the other link's flow", staying.Stop())
	if result.Links["embratel"] == 0 {
		d.t.Errorf("the flow did not go on: %v", result.Links)
	}
	return result.Lost, reset
}

// flowOn starts a flow of 1,000 packets a second from a host whose rule gives it to a link. A flow that happens to have the port of an earlier one,
// which has moved since, is that one to the kernel: then another is tried.
func (d *daemon) flowOn(link string, host int) *lab.Stream {
	d.t.Helper()
	for range 3 {
		s, err := d.StreamUDP(d.LAN, lab.Flow{From: lab.Host(host, false), To: server(1, 443, false)}, 1000)
		must(d.t, err)
		s.Await(50)
		if s.On(link) {
			return s
		}
		s.Stop()
	}
	d.t.Fatalf("host %d does not use %s", host, link)
	return nil
}

// chatter is a TCP connection over which something is asked again and again.
type chatter struct {
	t   testing.TB
	end chan error
	at  time.Time
}

func (r *router) chatter(f lab.Flow) *chatter {
	r.t.Helper()
	k, _ := r.chatterSeen(f)
	return k
}

// chatterSeen also tells from where the server sees it come.
func (r *router) chatterSeen(f lab.Flow) (*chatter, netip.Addr) {
	r.t.Helper()
	var seen netip.Addr
	c, err := r.LAN.Open(f)
	must(r.t, err)
	k := &chatter{t: r.t, end: make(chan error, 1)}
	ready := make(chan struct{})
	go func() {
		defer func() { _ = c.Close() }()
		lines := bufio.NewReader(c)
		line, err := lines.ReadString('\n')
		if a, bad := netip.ParseAddrPort(strings.TrimSpace(line)); bad == nil {
			seen = a.Addr()
		}
		close(ready)
		go func() { _, _ = lines.WriteTo(discard{}) }()
		for err == nil {
			time.Sleep(5 * time.Millisecond)
			_, err = c.Write([]byte("1\n"))
		}
		k.at = time.Now()
		k.end <- err
	}()
	<-ready
	return k, seen
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// broken waits until the connection is reset, and says when it was.
func (k *chatter) broken() time.Time {
	k.t.Helper()
	select {
	case err := <-k.end:
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			k.t.Errorf("TCP ended with %v, want a reset", err)
		}
		return k.at
	case <-time.After(5 * time.Second):
		k.t.Error("TCP was not reset")
		return time.Now()
	}
}

// crowd fills the table of flows with those of a link.
func (r *router) crowd(n int, link string) {
	r.t.Helper()
	mark := uint32(0)
	for at, i := range r.ISPs {
		if i.Name == link {
			mark = uint32(at+1) << 24
		}
	}
	must(r.t, r.Router.Do(func() error {
		c, err := conntrack.Dial(nil)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		for i := range n {
			from := netip.AddrFrom4([4]byte{10, 1, byte(100 + i>>16), byte(i >> 8)})
			f := conntrack.NewFlow(17, 0, from, lab.Remote(1, false), uint16(1024+i&0xff), 53, 600, mark)
			if err := c.Create(f); err != nil {
				return err
			}
		}
		return nil
	}))
}
