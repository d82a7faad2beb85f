// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"enlace/e2e/lab"
)

// TestKill: two hundred times the daemon is killed at a random moment while it has something to do. Flows go on, the next start puts
// everything right, and no packet leaves through a wrong link or with a foreign source.
func TestKill(t *testing.T) {
	const rounds = 200
	const seed = 4
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	r := newRouter(t)
	policies := []string{
		links + balanced + "default { via = group.balanced }",
		links + "default { via = link.embratel }",
		links + balanced + "rule \"bank\" {\n  to = [\"186.202.0.0/24\", \"186.203.0.0/24\"]\n  via = link.virtua\n}\ndefault { via = link.embratel }",
		links + "settings { mark_mask = 0x0f000000 }\ndefault { via = link.embratel }",
	}
	networks := [][]string{{"189.1.0.0/24", "2001:db8:189::/64"}, {"189.2.0.0/24", "2001:db8:1892::/64"}}
	d := r.watch(policies[1])
	var steady []*lab.Stream
	for n := range 4 {
		s, err := r.StreamUDP(r.LAN, lab.Flow{From: lab.Host(20, n == 3), To: server(n+1, 443, n == 3)}, 100)
		must(t, err)
		s.Await(10)
		steady = append(steady, s)
	}
	for round := range rounds {
		if round%2 == 1 { // in the middle of following something
			must(t, r.ISP("virtua").Unplug())
			must(t, r.ISP("virtua").PlugIn())
			time.Sleep(time.Duration(random.IntN(6_000)) * time.Microsecond)
		}
		d.kill()
		// Before the next start something changes, so that the start has work when it is killed, too.
		r.write(policies[[]int{0, 1, 2}[random.IntN(3)]])
		if round%10 == 0 {
			must(t, r.Renumber("virtua", netipPrefixes(networks[(round/10+1)%2]...)...))
		}
		cut := exec.Command(os.Getenv(binaryVariable), "--root", r.root, "watch", filepath.Join(r.root, "policy.hcl"))
		must(t, r.Router.Do(cut.Start))
		time.Sleep(time.Duration(random.IntN(40_000)) * time.Microsecond) // the moment is what is random here
		must(t, cut.Process.Kill())
		_ = cut.Wait()
		d = r.watchFile(filepath.Join(r.root, "policy.hcl"))
		d.awaitIdle()
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	for n, s := range steady {
		s.Await(10)
		got := s.Stop()
		if got.Err != nil || got.Lost != 0 || len(got.Links) != 1 || got.Links["embratel"] == 0 {
			t.Errorf("flow %d: %+v, want nothing lost and embratel only", n, got)
		}
	}
	r.expectWorks()
}

// expectWorks opens a few flows, which have to get answers.
func (r *router) expectWorks() {
	r.t.Helper()
	for n := range 6 {
		if got := r.ask(r.LAN, lab.Flow{Network: "tcp", From: lab.Host(50, n%2 == 1), To: server(n+1, 443, n%2 == 1)}); got == "" || got == "none" {
			r.t.Errorf("a new flow left through %q", got)
		}
	}
}

// TestRestart: a restart in an unchanged world writes nothing but one message, by which the table becomes the new process's own. It has no
// effect on packets, and no route or rule is written.
func TestRestart(t *testing.T) {
	r := newRouter(t)
	d := r.watch(links, balanced, `default { via = group.balanced }`)
	for _, end := range []func(){d.stop, func() { d.kill() }} {
		end()
		before := r.listing()
		w := r.watchWrites()
		d = r.watchFile(filepath.Join(r.root, "policy.hcl"))
		s := d.status()
		if s.Counters.Writes != 1 || s.LastDone.Changes != 1 {
			t.Errorf("the restart took %d writes, want 1: that the table is its own", s.Counters.Writes)
		}
		if n := w.stop(); n != 2 {
			t.Errorf("%d notifications, want 2: the table, and the new generation", n)
		}
		if after := r.listing(); after == before {
			t.Error("the table is not the new process's own")
		}
	}
	r.unchanged()
}
