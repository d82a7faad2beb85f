// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"enlace/e2e/lab"
)

// process is a program in a namespace, which is ended with the test.
type process struct {
	cmd   *exec.Cmd
	log   *log
	ended chan error
}

// run starts a program in a namespace.
func (r *router) run(n *lab.Namespace, name string, args ...string) *process {
	r.t.Helper()
	need(r.t, name)
	p := &process{cmd: exec.Command(name, args...), log: &log{}, ended: make(chan error, 1)}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // clients start scripts, which have to end, too
	must(r.t, n.Do(p.cmd.Start))
	go func() { p.ended <- p.cmd.Wait() }()
	r.t.Cleanup(func() {
		p.kill()
		if r.t.Failed() {
			r.t.Logf("%s said:\n%s", name, p.log)
		}
	})
	return p
}

func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	err := <-p.ended
	p.ended <- err
}

// signal sends a signal to the program itself.
func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// serveDHCP starts a provider's DHCP server, which gives the customer one address and names a gateway.
func (r *router) serveDHCP(isp, address, gateway string) *process {
	r.t.Helper()
	i := r.ISP(isp)
	return r.run(i.Namespace, "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0",
		"--pid-file=", "--no-ping", "--log-facility=-", "--log-dhcp", "--dhcp-authoritative", "--interface=customer", "--bind-interfaces",
		"--dhcp-leasefile="+filepath.Join(r.t.TempDir(), "leases"),
		fmt.Sprintf("--dhcp-range=%s,%s,255.255.255.0,2m", address, address), "--dhcp-option=3,"+gateway)
}

// stopServer ends a server and waits until its port is free.
func (p *process) stopServer() { p.kill() }

// client starts a DHCP client on an interface of the router. Its files are below the router's root, where enlace looks for them; the
// machine's own are out of its sight.
func (r *router) client(name, device string) *process {
	r.t.Helper()
	need(r.t, name)
	in := func(dir string) string {
		dir = filepath.Join(r.root, dir)
		must(r.t, os.MkdirAll(dir, 0o755))
		return dir
	}
	mounts := []string{"mount --make-rprivate /"}
	over := func(place string) {
		if r.hidden {
			mounts = append(mounts, "mount -t tmpfs tmpfs "+place)
			return
		}
		if _, err := os.Stat(place); err == nil {
			mounts = append(mounts, fmt.Sprintf("mount --bind %s %s", in(place), place))
		}
	}
	resolv := filepath.Join(in("etc"), "resolv.conf")
	must(r.t, os.WriteFile(resolv, nil, 0o644))
	mounts = append(mounts, "mount --bind "+resolv+" /etc/resolv.conf")
	mounts = append(mounts, r.mounts...)
	var start string
	switch name {
	case "dhclient":
		over("/var/lib/dhcp")
		conf := filepath.Join(in("etc"), "dhclient."+device+".conf")
		must(r.t, os.WriteFile(conf, []byte(dhclientConf), 0o600))
		start = fmt.Sprintf("dhclient -4 -d -cf %s -pf %s/dhclient.%s.pid -lf /var/lib/dhcp/dhclient.%s.leases %s", conf, in("run"), device, device, device)
	case "dhcpcd":
		over("/var/lib/dhcpcd")
		mounts = append(mounts, "mount -t tmpfs tmpfs /run", "mkdir /run/dhcpcd")
		conf := filepath.Join(in("etc"), "dhcpcd.conf")
		must(r.t, os.WriteFile(conf, []byte("option routers\nnoipv6\nnoarp\n"), 0o600))
		start = fmt.Sprintf("dhcpcd -4 -B -d -f %s %s", conf, device)
	case "udhcpc":
		start = fmt.Sprintf("udhcpc -f -i %s -s %s", device, r.hook("udhcpc"))
	}
	script := strings.Join(append(mounts, "exec "+start), " && ")
	return r.run(r.Router, "unshare", "-m", "sh", "-c", script)
}

// dhclientConf makes the client renew every second, and give up after some.
const dhclientConf = `request subnet-mask, routers;
supersede dhcp-renewal-time 1;
supersede dhcp-rebinding-time 3;
supersede dhcp-lease-time 6;
initial-interval 1;
backoff-cutoff 2;
retry 1;
timeout 5;
`

// hook is a hook of the package, as it would be installed: it calls the program under test.
func (r *router) hook(name string) string {
	r.t.Helper()
	source, err := os.ReadFile("../cmd/enlace/host/" + name + "-hook")
	must(r.t, err)
	file := filepath.Join(r.root, name+"-hook")
	text := strings.ReplaceAll(string(source), "/usr/sbin/enlace lease", os.Getenv(binaryVariable)+" --root "+r.root+" lease")
	text = strings.ReplaceAll(text, "/usr/sbin/enlace", os.Getenv(binaryVariable))
	must(r.t, os.WriteFile(file, []byte(text), 0o755))
	return file
}

// renew makes a client ask for its address again. dhclient does so every second.
func (r *router) renew(client string, p *process) {
	switch client {
	case "udhcpc":
		p.signal(syscall.SIGUSR1)
	case "dhcpcd":
		p.signal(syscall.SIGHUP)
	}
}

// moved makes a client notice that it is in another network. A server does not answer renewals of addresses that it does not know;
// udhcpc would wait for the end of its lease.
func (r *router) moved(client string, p *process) {
	if client == "udhcpc" {
		p.signal(syscall.SIGUSR2) // gives up the lease
	}
	r.renew(client, p)
}

// release makes a client give its lease up.
func (p *process) release(client string) {
	switch client {
	case "udhcpc":
		p.signal(syscall.SIGUSR2)
	case "dhcpcd":
		p.signal(syscall.SIGALRM)
	}
}
