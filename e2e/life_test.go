// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"enlace/e2e/lab"
	"enlace/policy"
	"enlace/watch"
)

// toVirtua and toEmbratel are policies that differ in where a host's flows go.
const (
	toVirtua   = "default { via = link.virtua }"
	toEmbratel = "default { via = link.embratel }"
)

// TestReload: a changed policy file, SIGHUP and enlace apply bring a new policy into force without breaking a flow; one with a mistake, or
// one that is gone, changes nothing and is told everywhere.
func TestReload(t *testing.T) {
	r := newRouter(t)
	d := r.watch(links, toEmbratel)
	steady, err := r.StreamUDP(r.LAN, lab.Flow{From: lab.Host(20, false), To: server(7, 443, false)}, 200)
	must(t, err)
	steady.Await(10)
	loaded := *d.status().Policy.Loaded
	reloaded := func(how string) {
		t.Helper()
		s := d.await("the new policy, by "+how, func(s *watch.Status) bool { return s.Policy.Loaded.After(loaded) && s.Policy.Refused == "" })
		loaded = *s.Policy.Loaded
	}
	file := r.write(links, toVirtua)
	reloaded("a changed file")
	d.awaitIdle()
	r.expect("virtua", 50, server(1, 443, false))

	must(t, os.WriteFile(file+".new", []byte(links+toEmbratel), 0o600))
	must(t, os.Rename(file+".new", file)) // as editors do
	reloaded("a file in the place of the old one")
	d.awaitIdle()
	r.expect("embratel", 50, server(1, 443, false))

	must(t, d.cmd.Process.Signal(syscall.SIGHUP))
	reloaded("SIGHUP")

	for how, breakIt := range map[string]func(){
		"a mistake": func() { r.write(links, "default { via = link.virtau }") },
		"no file":   func() { must(t, os.Remove(file)) },
	} {
		before := r.listing()
		breakIt()
		s := d.await("the refusal of "+how, func(s *watch.Status) bool {
			return s.Policy.Refused != "" && strings.Contains(d.log.String(), "the old one goes on")
		})
		if s.Problems[0].Code != policy.PolicyRefused {
			t.Errorf("%s: nobody is told: %+v", how, s.Problems)
		}
		if out, status := r.enlace("apply", file); status != 1 {
			t.Errorf("%s: enlace apply: exit %d\n%s", how, status, out)
		}
		if after := r.listing(); after != before {
			t.Errorf("%s changed something", how)
		}
		r.write(links, toEmbratel)
		reloaded("a good file")
	}

	// What another program has to ask the daemon for.
	r.write(links, toVirtua)
	if out, status := r.enlace("apply", file); status != 0 || !strings.Contains(out, "applied") {
		t.Errorf("enlace apply beside the daemon: exit %d\n%s", status, out)
	}
	r.expect("virtua", 50, server(2, 443, false))
	other := filepath.Join(r.root, "other.hcl")
	must(t, os.WriteFile(other, []byte(links+toEmbratel), 0o600))
	if out, status := r.enlace("apply", other); status != 1 || !strings.Contains(out, "enlace watch follows "+file) {
		t.Errorf("enlace apply of another policy beside the daemon: exit %d\n%s", status, out)
	}
	r.write(links, "settings { protocol = 226 }", toVirtua)
	if out, status := r.enlace("apply", file); status != 1 || !strings.Contains(out, "cannot change while enlace watch runs") {
		t.Errorf("another protocol number: exit %d\n%s", status, out)
	}
	steady.Await(10)
	r.unbroken("a flow meanwhile", steady.Stop())
}

// TestReloadList: a list that the policy names is watched like the policy.
func TestReloadList(t *testing.T) {
	r := newRouter(t)
	list := filepath.Join(r.root, "banks.txt")
	must(t, os.WriteFile(list, []byte("198.51.100.1\n"), 0o600))
	d := r.watch(links, `set "banks" { file = "banks.txt" }
rule "banks" {
  to  = set.banks
  via = link.virtua
}`, toEmbratel)
	r.expect("virtua", 50, server(1, 443, false))
	r.expect("embratel", 50, server(2, 443, false))
	loaded := *d.status().Policy.Loaded
	must(t, os.WriteFile(list, []byte("198.51.100.2\n"), 0o600))
	d.await("the new list", func(s *watch.Status) bool { return s.Policy.Loaded.After(loaded) })
	d.awaitIdle()
	r.expect("embratel", 50, server(1, 443, false))
	r.expect("virtua", 50, server(2, 443, false))
	r.unchanged()
}

// awaitIdle waits until a pass was made after everything that happened so far.
func (d *daemon) awaitIdle() {
	d.t.Helper()
	d.await("the kernel as the policy wants it", func(*watch.Status) bool {
		_, status := d.enlace("plan", filepath.Join(d.root, "policy.hcl"))
		return status == 0
	})
}

// TestOneDaemon: a second instance is refused; enlace down removes everything and ends the daemon.
func TestOneDaemon(t *testing.T) {
	r := newRouter(t)
	before := r.listing()
	d := r.watch(links, toVirtua)
	if out, status := r.enlace("watch", filepath.Join(r.root, "policy.hcl")); status != 1 || !strings.Contains(out, "enlace watch runs already, as process") {
		t.Errorf("a second instance: exit %d\n%s", status, out)
	}
	if out, status := r.enlace("status"); status != 0 || !strings.Contains(out, "virtua (eth1)") || !strings.Contains(out, "main table") {
		t.Errorf("status: exit %d\n%s", status, out)
	}
	if out, status := r.enlace("down", filepath.Join(r.root, "policy.hcl")); status != 0 || !strings.Contains(out, "table inet enlace") {
		t.Errorf("down: exit %d\n%s", status, out)
	}
	select {
	case err := <-d.ended:
		d.ended <- err
		must(t, err)
	case <-time.After(patience):
		t.Fatal("the daemon goes on after enlace down")
	}
	diff(t, sorted(before), sorted(r.listing()))
	out, status := r.enlace("status", filepath.Join(r.root, "policy.hcl"))
	if status != 2 || !strings.Contains(out, "does not run") || !strings.Contains(out, "not-applied") {
		t.Errorf("status without a daemon: exit %d\n%s", status, out)
	}
	r.apply(links, toVirtua)
	if out, _ := r.enlace("status", filepath.Join(r.root, "policy.hcl")); strings.Contains(out, "not-applied") {
		t.Errorf("status after apply:\n%s", out)
	}
}

// TestSystemd: systemd is told when the daemon is ready, when it reloads, how it is, that it is alive, and that it stops.
func TestSystemd(t *testing.T) {
	r := newRouter(t)
	name := filepath.Join(r.root, "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	must(t, err)
	defer func() { _ = c.Close() }()
	t.Setenv("NOTIFY_SOCKET", name)
	t.Setenv("WATCHDOG_USEC", "200000")
	d := r.watch(links, toVirtua)
	told := func(want string) {
		t.Helper()
		buf := make([]byte, 4096)
		must(t, c.SetReadDeadline(time.Now().Add(patience)))
		for {
			n, err := c.Read(buf)
			if err != nil {
				t.Fatalf("systemd is not told %s: %v", want, err)
			}
			if strings.HasPrefix(string(buf[:n]), want) {
				return
			}
		}
	}
	told("READY=1")
	told("STATUS=virtua up, embratel up")
	told("WATCHDOG=1")
	told("WATCHDOG=1")
	must(t, d.cmd.Process.Signal(syscall.SIGHUP))
	told("RELOADING=1\nMONOTONIC_USEC=")
	told("READY=1")
	must(t, r.ISP("virtua").Unplug())
	told("STATUS=virtua down, embratel up")
	must(t, d.cmd.Process.Signal(syscall.SIGTERM))
	told("STOPPING=1")
}

// TestStatusRights: the members of the group may look, and only root may change something. Needs true root: other users.
func TestStatusRights(t *testing.T) {
	r := newRouter(t)
	d := r.watch(links, toVirtua)
	socket := filepath.Join(r.root, "run/enlace/socket")
	info, err := os.Stat(socket)
	must(t, err)
	if mode := info.Mode().Perm(); mode != 0o660 {
		t.Errorf("the socket's mode is %o, want 660", mode)
	}
	if lab.InUserNamespace() {
		return // no second user there
	}
	binary := os.Getenv(binaryVariable)
	for _, below := range []string{r.root, filepath.Dir(binary)} {
		for dir := below; dir != "/"; dir = filepath.Dir(dir) {
			if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o1 == 0 {
				must(t, os.Chmod(dir, info.Mode().Perm()|0o711))
			}
		}
	}
	file := filepath.Join(r.root, "policy.hcl")
	must(t, os.Chmod(file, 0o644))
	const nobody = 65534
	as := func(args ...string) (string, error) {
		cmd := exec.Command(binary, append([]string{"--root", r.root}, args...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	must(t, os.Chown(socket, -1, nobody))
	if out, err := as("status"); err != nil || !strings.Contains(out, "virtua") {
		t.Errorf("a member of the group asks for the status: %v\n%s", err, out)
	}
	for _, args := range [][]string{{"apply", file}, {"down", file}} {
		if out, err := as(args...); err == nil || !strings.Contains(out, "only root may do that") {
			t.Errorf("a member of the group asks for %s: %v\n%s", args[0], err, out)
		}
	}
	must(t, os.Chown(socket, -1, 0))
	if out, err := as("status"); err == nil || !strings.Contains(out, "members of group enlace") {
		t.Errorf("anybody asks for the status: %v\n%s", err, out)
	}
	if d.status() == nil {
		t.Error("the daemon is gone")
	}
}
