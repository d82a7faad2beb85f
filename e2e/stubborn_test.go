// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ti-mo/conntrack"

	"enlace/e2e/lab"
	"enlace/policy"
	"enlace/watch"
)

// must runs a program on the router, which has to work.
func (r *router) must(program string, args ...string) {
	r.t.Helper()
	if out, err := r.Router.Run(program, args...); err != nil {
		r.t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
}

// TestReplaced: somebody else's command puts another route into the place of ours, or switches settings. It is put back at once.
func TestReplaced(t *testing.T) {
	need(t, "ip")
	need(t, "sysctl")
	r := newRouter(t)
	d := r.watch(links, balanced, `default { via = group.balanced }`)
	before := sorted(r.listing())
	for _, c := range [][]string{
		{"ip", "route", "replace", "default", "via", "189.1.0.99", "dev", "eth1", "table", "20"},
		{"ip", "route", "replace", "unreachable", "default", "table", "20"},
		{"ip", "-6", "route", "replace", "default", "via", "2001:db8:189::99", "dev", "eth1", "table", "20", "metric", "1024"},
		{"ip", "route", "replace", "default", "via", "189.1.0.1", "dev", "eth1", "table", "40"},
		{"sysctl", "-w", "net.ipv4.ip_forward=0"},
		{"sysctl", "-w", "net.ipv4.conf.all.rp_filter=1"},
		{"sysctl", "-w", "net.ipv6.conf.all.forwarding=0"},
	} {
		repairs := d.status().Counters.Repairs
		r.must(c[0], c[1:]...)
		began := time.Now()
		d.await("the return of what was before "+strings.Join(c, " "), func(s *watch.Status) bool { return s.Counters.Repairs > repairs })
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%v: put back after %v, want it at once", c, took)
		}
		diff(t, before, sorted(r.listing()))
	}
}

// TestRefused: a foreign route stands where one of a link's has to be when the daemon starts. That is told and nothing of it is touched; the
// other link is set up and followed all the same; and when the route goes, the first works at once.
func TestRefused(t *testing.T) {
	need(t, "ip")
	r := newRouter(t)
	foreign := []string{"route", "add", "default", "via", "189.1.0.77", "dev", "eth1", "table", "20"}
	r.must("ip", foreign...)
	both := strings.Replace(links, "interface = \"eth1\"", "interface = \"eth1\"\n  gateway = [\"189.1.0.1\", \"2001:db8:189::1\"]", 1)
	d := r.watch(both, `default { via = link.embratel }`)
	d.await("the complaint", func(s *watch.Status) bool {
		for _, p := range s.Problems {
			if p.Code == policy.NotWritten && strings.Contains(p.Text, "already has a route to 0.0.0.0/0 that is not enlace's") {
				return true
			}
		}
		return false
	})
	r.expect("embratel", 50, server(1, 443, false))
	must(t, r.Renumber("embratel", netipPrefixes("200.9.0.0/24", "2001:db8:209::/64")...))
	r.write(strings.ReplaceAll(strings.ReplaceAll(both, "200.252.10.1", "200.9.0.1"), "2001:db8:200::1", "2001:db8:209::1"), `default { via = link.embratel }`)
	d.link("embratel", "up", "200.9.0.1")
	d.await("the new policy in force", func(*watch.Status) bool {
		return strings.Contains(strings.Join(r.routes("table", "30"), "\n"), "default via 200.9.0.1")
	})
	r.expect("embratel", 50, server(2, 443, false))
	if s := d.status(); !slices.ContainsFunc(s.Problems, func(p watch.ProblemStatus) bool { return p.Code == policy.NotWritten }) {
		t.Errorf("the complaint is gone though its cause is not: %+v", s.Problems)
	}
	if routes := strings.Join(r.routes("table", "20"), "\n"); !strings.Contains(routes, "189.1.0.77") {
		t.Errorf("the foreign route is gone: %s", routes)
	}
	foreign[1] = "del"
	r.must("ip", foreign...)
	began := time.Now()
	d.await("the end of the complaint", func(s *watch.Status) bool { return len(s.Problems) == 0 })
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("recovered after %v", took)
	}
	r.unchanged()
}

// TestQuarrel: a program that removes a rule as fast as it can costs a limited number of repairs, and loses in the end.
func TestQuarrel(t *testing.T) {
	need(t, "ip")
	r := newRouter(t)
	d := r.watch(links, `default { via = link.embratel }`)
	before := sorted(r.listing())
	const seconds = 4
	repairs := d.status().Counters.Repairs
	r.must("timeout", "--preserve-status", "-s", "KILL", "10", "sh", "-c",
		"end=$(($(date +%s)+4)); while [ $(date +%s) -lt $end ]; do ip rule del priority 1040 2>/dev/null; done; true")
	done := d.status().Counters.Repairs - repairs
	t.Logf("%d repairs in about %d seconds", done, seconds)
	if most := 60 + 20*(seconds+2); done < 60 || done > most {
		t.Errorf("%d repairs, want 60 to %d", done, most)
	}
	r.awaitListing(before)
}

// TestNamesUnwritable: table names that cannot be written are a problem, and neither a repair nor a reason to write again and again.
func TestNamesUnwritable(t *testing.T) {
	r := newRouter(t)
	must(t, os.MkdirAll(filepath.Join(r.root, "etc/iproute2"), 0o755))
	must(t, os.WriteFile(filepath.Join(r.root, "etc/iproute2/rt_tables.d"), nil, 0o600)) // a file where the directory should be
	d := r.watch(links, `default { via = link.embratel }`)
	for n := range 3 {
		must(t, r.Renumber("virtua", netipPrefixes(fmt.Sprintf("189.7%d.0.0/24", n), fmt.Sprintf("2001:db8:18%d::/64", n))...))
		d.link("virtua", "up", fmt.Sprintf("189.7%d.0.1", n))
	}
	s := d.status()
	if s.Counters.Repairs != 0 || len(s.Problems) != 1 || s.Problems[0].Code != policy.NamesUnwritten {
		t.Errorf("%d repairs, problems %+v", s.Counters.Repairs, s.Problems)
	}
}

// TestLogReaderGone: whoever reads the log goes away; the daemon goes on.
func TestLogReaderGone(t *testing.T) {
	r := newRouter(t)
	read, write, err := os.Pipe()
	must(t, err)
	cmd := exec.Command(os.Getenv(binaryVariable), "--root", r.root, "watch", "--verbose", r.write(links, `default { via = link.embratel }`))
	cmd.Stderr = write
	must(t, r.Router.Do(cmd.Start))
	must(t, write.Close())
	d := &daemon{router: r, cmd: cmd, log: &log{}, ended: make(chan error, 1)}
	go func() { d.ended <- cmd.Wait() }()
	t.Cleanup(d.kill)
	_, err = read.Read(make([]byte, 1))
	must(t, err)
	must(t, read.Close())
	must(t, r.Renumber("virtua", netipPrefixes("189.77.0.0/24", "2001:db8:1897::/64")...))
	d.link("virtua", "up", "189.77.0.1")
}

// TestPain01_RepairKeepsFlows: where nothing is translated and the kernel does not protect the table, somebody deletes it. When it is back,
// every flow is on the link that it was on.
func TestPain01_RepairKeepsFlows(t *testing.T) {
	need(t, "nft")
	r := newRouter(t)
	r.public = true
	own := strings.ReplaceAll(links, "  table ", "  masquerade = false\n  table ")
	d := r.watchFile(r.write(own, balanced, `default { via = group.balanced }`), "--protect=false")
	const flows = 12
	conns := make([]net.Conn, flows)
	must(t, r.LAN.Do(func() (err error) {
		for n := range conns {
			dialer := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(lab.Host(50, false), 0))}
			if conns[n], err = dialer.Dial("udp", server(n+1, 443, false).String()); err != nil {
				return err
			}
		}
		return nil
	}))
	send := func() map[string]uint32 {
		for _, c := range conns {
			_, err := c.Write([]byte("x"))
			must(t, err)
		}
		return r.marks(lab.Host(50, false))
	}
	before := send()
	if len(before) != flows {
		t.Fatalf("%d flows are tracked, want %d: %v", len(before), flows, before)
	}
	r.must("nft", "delete", "table", "inet", "enlace")
	d.await("the table's return", func(s *watch.Status) bool { return s.Counters.Repairs > 0 })
	d.awaitIdle()
	conns = append(conns[1:], conns[0]) // or the round would begin anew and come to the same result
	if d := cmp.Diff(before, send()); d != "" {
		t.Errorf("flows are on other links than before (-want +got)\n%s", d)
	}
	for _, c := range conns {
		_ = c.Close()
	}
}

// marks are the marks of the flows that a host began, by their destinations.
func (r *router) marks(host netip.Addr) map[string]uint32 {
	r.t.Helper()
	out := map[string]uint32{}
	must(r.t, r.Router.Do(func() error {
		c, err := conntrack.Dial(nil)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		list, err := c.Dump(nil)
		for _, f := range list {
			if f.TupleOrig.IP.SourceAddress == host {
				out[f.TupleOrig.IP.DestinationAddress.String()] = f.Mark
			}
		}
		return err
	}))
	return out
}
