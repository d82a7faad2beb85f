// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"enlace/e2e/lab"
)

// office is the lab's, with a Debian machine as its router.
type office struct {
	*lab.Office
	*Machine
	t    *testing.T
	dhcp *Tied
	last time.Time // when the last step ended
}

// Hosts of the office: one whose flows are balanced, and one with a rule of its own.
const (
	balanced = 100
	pinned   = 50
)

// policy is the office's: eth1 by DHCP, eth2 with a fixed address.
const policy = `
lan "office" { interface = "eth0" }
link "virtua" {
  interface = "eth1"
  health { hold = "1s" }
}
link "embratel" {
  interface = "eth2"
  gateway   = "200.252.10.1"
  health { hold = "1s" }
}
group "both" {
  member "virtua"   { weight = 2 }
  member "embratel" { weight = 1 }
}
rule "pinned" {
  from      = "10.1.0.50"
  via       = link.embratel
  otherwise = drop
}
default { via = group.both }
`

// newOffice builds the lab and a machine that is switched off.
func newOffice(t *testing.T, s Suite) *office {
	t.Helper()
	must(t, packaged())
	image, err := Build(s)
	must(t, err)
	l, err := lab.NewOfficeAround([]int{balanced, pinned}, lab.Virtua.OnlyV4(), lab.Embratel.OnlyV4())
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	m, err := New(image, t.TempDir(), share, l.Taps["eth0"], l.Taps["eth1"], l.Taps["eth2"])
	must(t, err)
	o := &office{Office: l, Machine: m, t: t, last: time.Now()}
	t.Cleanup(func() {
		if t.Failed() {
			o.witness()
		}
		if err := o.PowerCut(); err != nil {
			t.Error(err)
		}
		o.stopDHCP()
	})
	must(t, l.Serve(80, 443))
	o.serveDHCP("189.1.0.2", "189.1.0.1")
	return o
}

// witness logs what the machine says about a failure.
func (o *office) witness() {
	for _, command := range []string{
		"enlace status; ip -br addr; ip rule; ip route show table all | head -50",
		"journalctl -b --no-pager -o short-monotonic | grep -v guest-exec | tail -n 120",
	} {
		out, err := o.Sh(command)
		o.t.Logf("%s\n%s%v", command, out, err)
	}
	console := o.Console()
	o.t.Logf("console:\n%s", console[max(0, len(console)-2000):])
}

// serveDHCP starts virtua's DHCP server, which gives one address, to be renewed after ten seconds.
func (o *office) serveDHCP(address, gateway string) {
	o.t.Helper()
	o.stopDHCP()
	cmd, err := tie(nil, "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--pid-file=", "--no-ping", "--log-facility=-",
		"--dhcp-authoritative", "--interface=customer", "--bind-interfaces", "--dhcp-leasefile="+filepath.Join(o.t.TempDir(), "leases"),
		fmt.Sprintf("--dhcp-range=%s,%s,255.255.255.0,2m", address, address), "--dhcp-option=3,"+gateway,
		"--dhcp-option=option:T1,10", "--dhcp-option=option:T2,20")
	must(o.t, err)
	must(o.t, o.ISP("virtua").Do(cmd.Start))
	o.dhcp = cmd
}

func (o *office) stopDHCP() {
	if o.dhcp != nil {
		o.dhcp.Kill()
		_ = o.dhcp.Wait()
		o.dhcp = nil
	}
}

// step logs how long a part of the scenario took.
func (o *office) step(what string) {
	o.t.Logf("%5.1f s: %s", time.Since(o.last).Seconds(), what)
	o.last = time.Now()
}

// sh runs a command in the machine, which must succeed.
func (o *office) sh(command string) string {
	o.t.Helper()
	out, err := o.Sh(command)
	must(o.t, err)
	return out
}

func (o *office) write(file, content string) {
	o.t.Helper()
	must(o.t, o.Write(file, content))
}

// status is what `enlace status --json` says of links.
type status struct{ Links []link }

type link struct {
	Name  string
	State string
	IPv4  *struct{ Address netip.Addr }
}

// patience is for what a machine does in seconds, on a host that may be busy.
const patience = 2 * time.Minute

// await waits until a link is up with an address; "" is any.
func (o *office) await(link, address string) {
	o.t.Helper()
	o.state(link, "up", address)
}

// quiet waits until both links have been up for five seconds without a break: whoever restarts takes addresses away for a moment.
func (o *office) quiet() {
	o.t.Helper()
	var out string
	since := time.Now()
	for deadline := since.Add(patience); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		var s status
		out, _ = o.Sh("enlace status --json")
		if json.Unmarshal([]byte(out), &s) != nil || slices.ContainsFunc(s.Links, func(l link) bool { return l.State != "up" }) {
			since = time.Now()
		}
		if time.Since(since) > 5*time.Second {
			return
		}
	}
	o.t.Fatalf("the links are not up for five seconds in a row\n%s", out)
}

// down waits until a link is down.
func (o *office) down(link string) {
	o.t.Helper()
	o.state(link, "down", "")
}

func (o *office) state(link, state, address string) {
	o.t.Helper()
	var out string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		out, _ = o.Sh("enlace status --json")
		var s status
		if json.Unmarshal([]byte(out), &s) != nil {
			continue
		}
		for _, l := range s.Links {
			if l.Name == link && l.State == state && (address == "" || l.IPv4 != nil && l.IPv4.Address.String() == address) {
				return
			}
		}
	}
	o.t.Fatalf("link %s is not %s with address %q after %s\n%s", link, state, address, patience, out)
}

// shares opens n flows from a host and counts the links that they left through.
func (o *office) shares(host, n int) map[string]int {
	o.t.Helper()
	counts := map[string]int{}
	for i := range n {
		to := netip.AddrPortFrom(lab.Remote(i%250+1, false), 443)
		seen, err := o.LAN.Ask(lab.Flow{Network: "tcp", From: lab.Host(host, false), To: to, Wait: 20 * time.Second})
		must(o.t, err)
		counts[o.LinkOf(seen)]++
	}
	return counts
}

// unspoilt makes sure that no provider has seen a packet with a foreign source.
func (o *office) unspoilt() {
	o.t.Helper()
	foreign, err := o.Foreign()
	must(o.t, err)
	if foreign != 0 {
		o.t.Errorf("providers dropped %d packets with a foreign source, want 0", foreign)
	}
}

// moment is when a unit became active in this boot, microseconds after the kernel's start.
func (o *office) moment(unit string) int64 {
	o.t.Helper()
	var at int64
	out := strings.TrimSpace(o.sh("systemctl show -p ActiveEnterTimestampMonotonic --value " + unit))
	if _, err := fmt.Sscan(out, &at); err != nil || at == 0 {
		o.t.Errorf("%s is not active: %q", unit, out)
	}
	return at
}
