// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"enlace/e2e/lab"
	"enlace/watch"
)

// router is an office whose router is driven by the program under test.
type router struct {
	*lab.Office
	t    testing.TB
	root string // where the program keeps its files

	public bool     // hosts inside leave with addresses of their own, which the lab's providers drop
	before []string // program that starts the daemon, and its arguments
	env    []string // more of the daemon's environment
	mounts []string // more that DHCP clients see elsewhere than they are
	hidden bool     // DHCP clients keep their leases where enlace does not look
}

// links are the beginning of every policy here: the office's networks and its two links.
const links = `
lan "office" { interface = "eth0" }
link "virtua" {
  health { hold = "0s" }
  interface = "eth1"
  table     = 20
}
link "embratel" {
  health { hold = "0s" }
  interface = "eth2"
  gateway   = ["200.252.10.1", "2001:db8:200::1"]
  table     = 30
}
`

// balanced is a group with twice as many flows for virtua, as in the seed.
const balanced = `
group "balanced" {
  table = 40
  member "virtua"   { weight = 2 }
  member "embratel" { weight = 1 }
}
`

// newRouter builds the office with two links and servers on the internet, and makes sure at the end that no provider ever
// saw a packet with a foreign source.
func newRouter(t testing.TB, uplinks ...lab.Uplink) *router {
	t.Helper()
	r := newRouterWithout(t, uplinks...)
	must(t, r.Serve(25, 80, 443))
	return r
}

// newRouterWithout is the same without servers.
func newRouterWithout(t testing.TB, uplinks ...lab.Uplink) *router {
	t.Helper()
	if len(uplinks) == 0 {
		uplinks = []lab.Uplink{lab.Virtua, lab.Embratel}
	}
	o, err := lab.NewOffice([]int{20, 50, 100, 101, 257, 258}, uplinks...)
	must(t, err)
	r := &router{Office: o, t: t, root: t.TempDir()}
	t.Cleanup(func() {
		foreign, err := o.Foreign()
		must(t, err)
		if foreign != 0 && !r.public {
			t.Errorf("providers dropped %d packets with a foreign source, want 0", foreign)
		}
		must(t, o.Close())
	})
	return r
}

// enlace runs the program on the router and returns what it printed, and its exit status.
func (r *router) enlace(args ...string) (string, int) {
	r.t.Helper()
	out, err := r.Router.Run(os.Getenv(binaryVariable), append([]string{"--root", r.root}, args...)...)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return string(out), 0
	case errors.As(err, &exit):
		return string(out), exit.ExitCode()
	}
	r.t.Fatalf("enlace %v: %v", args, err)
	return "", 0
}

// write puts a policy into a file.
func (r *router) write(policy ...string) string {
	r.t.Helper()
	file := filepath.Join(r.root, "policy.hcl")
	must(r.t, os.WriteFile(file, []byte(strings.Join(policy, "\n")), 0o600))
	return file
}

// apply applies a policy, which must work without any problem.
func (r *router) apply(policy ...string) {
	r.t.Helper()
	out, status := r.enlace("apply", r.write(policy...))
	if status != 0 || strings.Contains(out, "problem") {
		r.t.Fatalf("apply: exit %d\n%s", status, out)
	}
}

// unchanged tests that the kernel is as the policy wants it.
func (r *router) unchanged() {
	r.t.Helper()
	if out, status := r.enlace("plan", filepath.Join(r.root, "policy.hcl")); status != 0 || !strings.HasSuffix(out, "no changes\n") {
		r.t.Errorf("plan after apply: exit %d\n%s", status, out)
	}
}

// settled tests that the kernel is as the policy wants it, though there are problems.
func (r *router) settled() {
	r.t.Helper()
	if out, status := r.enlace("plan", filepath.Join(r.root, "policy.hcl")); status != 0 || !strings.HasSuffix(out, "no changes\n") {
		r.t.Errorf("plan: exit %d\n%s", status, out)
	}
}

// ask opens a flow from a namespace and returns the link that it left through.
func (r *router) ask(n *lab.Namespace, f lab.Flow) string {
	r.t.Helper()
	seen, err := n.Ask(f)
	if err != nil {
		r.t.Errorf("%s from %s to %s: %v", f.Network, f.From, f.To, err)
		return "none"
	}
	return r.LinkOf(seen)
}

// expect opens flows of both protocols and wants all to leave through one link.
func (r *router) expect(link string, host int, to netip.AddrPort) {
	r.t.Helper()
	from := lab.Host(host, to.Addr().Is6())
	for _, network := range []string{"tcp", "udp"} {
		for range 6 { // a balanced flow would go astray in one of them
			if got := r.ask(r.LAN, lab.Flow{Network: network, From: from, To: to}); got != link {
				r.t.Errorf("%s from %s to %s left through %q, want %q", network, from, to, got, link)
			}
		}
	}
}

// shares opens n TCP flows from a host to many servers and counts the links that they left through.
func (r *router) shares(host, n int, v6 bool) map[string]int {
	r.t.Helper()
	flows := make([]lab.Flow, n)
	for i := range flows {
		flows[i] = lab.Flow{Network: "tcp", From: lab.Host(host, v6), To: server(i%250+1, 443, v6)}
	}
	seen, err := r.LAN.AskAll(flows)
	must(r.t, err)
	counts := map[string]int{}
	for _, a := range seen {
		counts[r.LinkOf(a)]++
	}
	return counts
}

// server is a port of server n of the internet.
func server(n int, port uint16, v6 bool) netip.AddrPort {
	return netip.AddrPortFrom(lab.Remote(n, v6), port)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// both runs a test for each address family.
func both(t *testing.T, f func(t *testing.T, v6 bool)) {
	t.Run("ipv4", func(t *testing.T) { f(t, false) })
	t.Run("ipv6", func(t *testing.T) { f(t, true) })
}

func netipPrefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// forget removes what an earlier daemon has found out about links.
func (r *router) forget() {
	r.t.Helper()
	files := watch.FilesBelow(r.root)
	must(r.t, errors.Join(os.RemoveAll(files.Health), os.RemoveAll(files.Drained)))
}
