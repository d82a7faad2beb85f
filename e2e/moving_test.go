// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"strings"
	"testing"
	"time"

	"enlace/e2e/lab"
	"enlace/policy"
	"enlace/rtnl"

	"github.com/ti-mo/conntrack"
	"golang.org/x/sys/unix"
)

// TestOpeningTCPMoves: a connection that was asked for just when the link died is not refused: its next try goes through the other link.
func TestOpeningTCPMoves(t *testing.T) {
	t.Parallel()
	r := newRouter(t, lab.Virtua.OnlyV4(), lab.Embratel.OnlyV4())
	r.deafServers()
	d := r.fresh(onto("virtua"))
	d.link("virtua", "up", "")
	must(t, r.ISP("virtua").Lose(100))
	seen, err := r.LAN.Ask(lab.Flow{Network: "tcp", From: lab.Host(50, false), To: server(1, 443, false), Wait: 8 * time.Second})
	if err != nil || r.LinkOf(seen) != "embratel" {
		t.Errorf("asked for while the link was dying: seen from %s, %v", seen, err)
	}
}

// TestRouteGroupMoves: a flow of a group in which the kernel chooses leaves its dead link as quickly.
func TestRouteGroupMoves(t *testing.T) {
	r := newRouter(t, lab.Virtua.OnlyV4(), lab.Embratel.OnlyV4())
	d := r.fresh(links, strings.Replace(balanced, "table = 40", "table = 40\n  by = \"route\"", 1), `default { via = group.balanced }`)
	d.link("virtua", "up", "")
	flow := r.heldBy("virtua")
	must(t, r.ISP("virtua").Unplug())
	flow.AwaitVia("embratel", 50)
	if result := flow.Stop(); result.Links["embratel"] < 50 || result.Lost > 10 {
		t.Errorf("%v, %d lost", result.Links, result.Lost)
	}
}

// TestAbandon: both ways to release flows forget what can move and has the mark, and nothing else.
func TestAbandon(t *testing.T) {
	r := newRouter(t)
	for name, abandon := range map[string]func(policy.Family, uint32, uint32) error{"at once": rtnl.Abandon, "one by one": rtnl.AbandonEach} {
		t.Run(name, func(t *testing.T) {
			must(t, r.Router.Do(func() error {
				c, err := conntrack.Dial(nil)
				if err != nil {
					return err
				}
				defer func() { _ = c.Close() }()
				if err := c.Flush(); err != nil {
					return err
				}
				n := 0
				add := func(protocol uint8, v6 bool, mark uint32) {
					n++
					f := conntrack.NewFlow(protocol, 0, lab.Host(50, v6), lab.Remote(n, v6), uint16(1000+n), 53, 600, mark)
					if protocol == unix.IPPROTO_TCP {
						f.ProtoInfo.TCP = &conntrack.ProtoInfoTCP{State: 3}
					}
					must(t, c.Create(f))
				}
				for _, v6 := range []bool{false, true} {
					for _, mark := range []uint32{0x01000000, 0x01000010, 0x02000000} {
						add(unix.IPPROTO_UDP, v6, mark)
						add(unix.IPPROTO_TCP, v6, mark)
					}
				}
				must(t, abandon(policy.V4, 0x01000000, 0xff000000))
				left, err := c.Dump(nil)
				must(t, err)
				gone := 12
				for _, f := range left {
					gone--
					if f.TupleOrig.Proto.Protocol == unix.IPPROTO_UDP && f.TupleOrig.IP.SourceAddress.Is4() && f.Mark>>24 == 1 {
						t.Errorf("still there: %v", f)
					}
				}
				if gone != 2 {
					t.Errorf("%d flows were forgotten, want 2", gone)
				}
				return nil
			}))
		})
	}
}

// TestIdleTCPSurvives: a connection that says nothing while its link is dead goes on when the link is back; one that does is reset.
func TestIdleTCPSurvives(t *testing.T) {
	for how, lose := range map[string][2]func(*router) error{
		"carrier": {failures["carrier"].lose, failures["carrier"].back},
		"silence": {func(r *router) error { return r.ISP("virtua").Lose(100) }, func(r *router) error { return r.ISP("virtua").Lose(0) }},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			r := newRouter(t, lab.Virtua.OnlyV4(), lab.Embratel.OnlyV4())
			r.deafServers()
			d := r.fresh(onto("virtua"))
			d.link("virtua", "up", "")
			late, err := r.LAN.Open(lab.Flow{Network: "tcp", From: lab.Host(50, false), To: server(4, 443, false)})
			must(t, err)
			defer func() { _ = late.Close() }()
			c, err := r.LAN.Open(lab.Flow{Network: "tcp", From: lab.Host(50, false), To: server(1, 443, false)})
			must(t, err)
			defer func() { _ = c.Close() }()
			lines := bufio.NewReader(c)
			_, err = lines.ReadString('\n')
			must(t, err)
			_, err = c.Write([]byte("3 after 5s\n")) // the far end is the first to speak when the link is back
			must(t, err)
			busy := r.chatter(lab.Flow{Network: "tcp", From: lab.Host(50, false), To: server(2, 443, false)})
			must(t, lose[0](r))
			d.link("virtua", "down", "")
			busy.broken()
			time.Sleep(300 * time.Millisecond) // the flows that can move have been forgotten
			await(t, "the reset of one that speaks late", func() bool {
				_, err := late.Write([]byte("1\n"))
				return err != nil
			})
			must(t, lose[1](r))
			d.link("virtua", "up", "")
			_ = c.SetReadDeadline(time.Now().Add(patience))
			if _, err := lines.ReadByte(); err != nil {
				t.Errorf("the idle connection is dead: %v", err)
			}
		})
	}
}
