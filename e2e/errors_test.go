// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"enlace/e2e/lab"
)

// TestClearMessages: what goes wrong is told in words, and nothing is half done.
func TestClearMessages(t *testing.T) {
	r := newRouter(t)
	before := r.listing()
	for _, c := range []struct {
		name, policy, want string
	}{
		{"broken", `link "a" { interface = `, "policy.hcl line 1"},
		{"unknown name", links + `default { via = link.embratl }`, `No link is called "embratl". Did you mean "embratel"?`},
		{"colliding mask", links + `settings { mark_mask = 0x0000ff00 }`, "which Kubernetes uses"},
		{"not yet", links + `link "third" {
  interface = "eth3"
  metered   = true
}`, "does not work in this version"},
		{"list", links + `set "banks" { file = "nowhere.txt" }`, "nowhere.txt: no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, command := range []string{"check", "plan", "apply"} {
				out, status := r.enlace(command, r.write(c.policy))
				if flat := strings.Join(strings.Fields(out), " "); status != 1 || !strings.Contains(flat, c.want) { // long lines are wrapped
					t.Errorf("%s: exit %d, want 1 and %q:\n%s", command, status, c.want, out)
				}
			}
		})
	}
	if out, status := r.enlace("apply", "/nowhere/policy.hcl"); status != 1 || !strings.Contains(out, "no such file") {
		t.Errorf("missing policy: exit %d\n%s", status, out)
	}
	diff(t, strings.Split(before, "\n"), strings.Split(r.listing(), "\n"))
}

// TestDownWithMistake: a policy that cannot be used any more is no reason to leave anything, and what is not known is told.
func TestDownWithMistake(t *testing.T) {
	r := newRouter(t)
	before := r.listing()
	other := "settings { protocol = 230 }\n"
	r.apply(other, links, `default { via = link.virtua }`)
	out, status := r.enlace("down", r.write(other, links, `link "third" { interface = 3 }`))
	if status != 1 || !strings.Contains(out, "what carries protocol 230") {
		t.Errorf("down with a mistake in the policy: exit %d\n%s", status, out)
	}
	diff(t, strings.Split(before, "\n"), strings.Split(r.listing(), "\n"))
	r.apply(other, links, `default { via = link.virtua }`)
	if out, status := r.enlace("down", r.write("link {")); status != 1 || !strings.Contains(out, "protocol 225") {
		t.Errorf("down with an unreadable policy: exit %d\n%s", status, out)
	}
	if out, status := r.enlace("down", r.write(other, links)); status != 0 {
		t.Errorf("down with a policy that can be used again: exit %d\n%s", status, out)
	}
	diff(t, strings.Split(before, "\n"), strings.Split(r.listing(), "\n"))
}

// TestWithoutPrivilege runs the program as root without CAP_NET_ADMIN.
func TestWithoutPrivilege(t *testing.T) {
	r := newRouter(t)
	file := r.write(links)
	before := r.listing()
	out := r.restricted(func() error { return unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_NET_ADMIN, 0, 0, 0) }, "apply", file)
	if !strings.Contains(out, "not permitted: enlace needs root, or CAP_NET_ADMIN") || !strings.HasSuffix(out, "exit status 1") {
		t.Errorf("%s", out)
	}
	diff(t, strings.Split(before, "\n"), strings.Split(r.listing(), "\n"))
}

// TestWithoutNftables runs the program where the kernel refuses netfilter sockets.
func TestWithoutNftables(t *testing.T) {
	r := newRouter(t)
	file := r.write(links)
	before := r.listing()
	out := r.restricted(refuseNetfilter, "apply", file)
	if !strings.Contains(out, "the kernel has no nftables") || !strings.HasSuffix(out, "exit status 1") {
		t.Errorf("%s", out)
	}
	diff(t, strings.Split(before, "\n"), strings.Split(r.listing(), "\n"))
}

// restricted runs the program from a thread that has given something up, and returns its output and how it ended.
func (r *router) restricted(giveUp func() error, args ...string) string {
	r.t.Helper()
	text := ""
	must(r.t, r.Router.Do(func() error {
		if err := giveUp(); err != nil {
			return err
		}
		out, err := exec.Command(os.Getenv(binaryVariable), append([]string{"--root", r.root}, args...)...).CombinedOutput()
		text = string(out)
		if err != nil {
			text += err.Error()
		}
		return nil
	}))
	return text
}

// refuseNetfilter makes socket(AF_NETLINK, ..., NETLINK_NETFILTER) fail with EPROTONOSUPPORT in this thread and its children,
// as a kernel without CONFIG_NETFILTER_NETLINK does.
func refuseNetfilter() error {
	// struct seccomp_data: nr at 0, args at 16, each of 8 bytes; the low half comes first on the machines this runs on.
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SOCKET, Jf: 5},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.AF_NETLINK, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16 + 2*8},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.NETLINK_NETFILTER, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPROTONOSUPPORT)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
}

// TestHostLacksSomething: a missing interface or gateway is a problem and not an error; the rest works.
func TestHostLacksSomething(t *testing.T) {
	r := newRouter(t)
	policy := r.write(`
lan "office" { interface = "eth0" }
link "virtua" { interface = "eth1" }
link "embratel" { interface = "eth2" }
link "vivo" { interface = "eth9" }
group "every" {
  member "vivo" { weight = 5 }
  member "virtua" {}
  member "embratel" { weight = 2 }
}
rule "mail" {
  protocol  = "tcp"
  port      = 25
  via       = link.embratel
  otherwise = reject
}
default { via = group.every }
`)
	out, status := r.enlace("apply", policy)
	if status != 0 {
		t.Fatalf("exit %d\n%s", status, out)
	}
	for _, want := range []string{
		`link vivo: there is no interface "eth9" [interface-missing] (policy.hcl:5)`,
		"link embratel: no gateway is known: neither main's default route nor a lease that holds for its address names one for eth2",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
	r.expect("virtua", 50, server(1, 443, false))
	r.expect("virtua", 50, server(1, 443, true))
	if a, err := r.LAN.Ask(lab.Flow{Network: "tcp", From: lab.Host(50, false), To: server(2, 25, false)}); err == nil {
		t.Errorf("mail left as %s although its link is down, want it rejected", a)
	} else if !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("mail: %v, want a reset at once", err)
	}
	if out, status := r.enlace("plan", policy); status != 0 || !strings.HasSuffix(out, "no changes\n") {
		t.Errorf("plan: exit %d\n%s", status, out)
	}
}
