// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"enlace/e2e/lab"
)

// squid is a real squid on the router, whose port 3128 takes intercepted flows.
type squid struct {
	log string
	cmd *exec.Cmd
}

// startSquid starts squid with more lines of configuration, and waits until it listens.
func (r *router) startSquid(more string) *squid {
	r.t.Helper()
	need(r.t, "squid")
	dir, err := os.MkdirTemp("", "enlace-squid-")
	must(r.t, err)
	r.t.Cleanup(func() { must(r.t, os.RemoveAll(dir)) })
	as := r.squidUser(dir)
	s := &squid{log: filepath.Join(dir, "access.log")}
	conf := fmt.Sprintf(`
http_port 3128 intercept
http_port 3130
visible_hostname fw01
acl localnet src 10.1.0.0/16 fd00:a::/64
http_access allow localnet
http_access deny all
cache deny all
server_persistent_connections off
dns_nameservers 127.0.0.1
pinger_enable off
netdb_filename none
shutdown_lifetime 0 seconds
coredump_dir %[1]s
pid_filename %[1]s/pid
cache_log %[1]s/cache.log
access_log stdio:%[1]s/access.log
logfile_rotate 0
%[2]s
`, dir, more)
	file := filepath.Join(dir, "squid.conf")
	must(r.t, os.WriteFile(file, []byte(conf), 0o644)) //nolint:gosec // squid reads it as another user
	service := "enlace" + strconv.Itoa(os.Getpid())
	var said bytes.Buffer
	must(r.t, r.Router.Do(func() error {
		s.cmd = exec.Command("squid", "-N", "-n", service, "-f", file)
		s.cmd.Stderr, s.cmd.SysProcAttr = &said, as
		return s.cmd.Start()
	}))
	r.t.Cleanup(func() { s.stop(service) })
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := r.Router.Do(func() error {
			c, err := net.Dial("tcp", "127.0.0.1:3130")
			if err == nil {
				_ = c.Close()
			}
			return err
		})
		if err == nil {
			return s
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(dir, "cache.log"))
			r.t.Fatalf("squid does not listen: %v\n%s\n%s", err, said.Bytes(), log)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// stop ends squid at once, and removes the shared memory that it leaves then.
func (s *squid) stop(service string) {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	left, _ := filepath.Glob("/dev/shm/" + service + "-*")
	for _, f := range left {
		_ = os.Remove(f)
	}
}

// squidUser gives a directory to the user that squid changes to, and returns how squid is to be started. It refuses to stay root; in
// a user namespace, which has no other user, it gets one of its own, where it is that user already.
func (r *router) squidUser(dir string) *syscall.SysProcAttr {
	r.t.Helper()
	u, err := user.Lookup("proxy")
	must(r.t, err)
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if !inUserNamespace() {
		must(r.t, os.Chown(dir, uid, gid))
		return nil
	}
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: 0, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: gid, HostID: 0, Size: 1}},
	}
}

// inUserNamespace tells whether the lab was built by an ordinary user.
func inUserNamespace() bool {
	m, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && !bytes.Contains(m, []byte("4294967295"))
}

// access are the addresses of clients and the URLs in squid's log, sorted. It waits until there are so many.
func (s *squid) access(t *testing.T, n int) []string {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		log, err := os.ReadFile(s.log)
		must(t, err)
		var out []string
		for l := range strings.Lines(string(log)) {
			if f := strings.Fields(l); len(f) > 6 && f[2] != "127.0.0.1" { // that was startSquid, waiting
				out = append(out, f[2]+" "+f[6])
			}
		}
		if len(out) >= n || time.Now().After(deadline) {
			slices.Sort(out)
			return out
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// site is a web server that is every server of the internet. It answers with the address that it sees, and notes what it served.
type site struct {
	mu     sync.Mutex
	served []string // client's address as the request tells it, the URL
	links  []netip.Addr
}

func (r *router) startSite() *site {
	r.t.Helper()
	s := &site{}
	must(r.t, r.Internet.Do(func() error {
		l, err := net.Listen("tcp", "[::]:80")
		if err != nil {
			return err
		}
		server := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
		go func() { _ = server.Serve(l) }()
		r.t.Cleanup(func() { _ = server.Close() })
		return nil
	}))
	return s
}

// ServeHTTP notes and answers a request.
func (s *site) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	from, _ := netip.ParseAddrPort(q.RemoteAddr)
	addr := from.Addr().Unmap()
	s.mu.Lock()
	s.served = append(s.served, q.Header.Get("X-Forwarded-For")+" http://"+q.Host+q.URL.Path)
	s.links = append(s.links, addr)
	s.mu.Unlock()
	_, _ = fmt.Fprint(w, addr)
}

// get asks a web server from a host of the LAN. It returns the link that the server saw, and whether a proxy was in between.
func (r *router) get(host int, url string) (link string, proxied bool) {
	r.t.Helper()
	v6 := strings.Contains(url, "[")
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: lab.Host(host, v6).AsSlice()}}
			err = r.LAN.Do(func() error {
				c, err = d.DialContext(ctx, network, address)
				return err
			})
			return c, err
		},
	}}
	answer, err := client.Get(url) //nolint:noctx // the client has a timeout
	if err != nil {
		r.t.Errorf("get %s from host %d: %v", url, host, err)
		return "none", false
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	must(r.t, err)
	seen, err := netip.ParseAddr(string(body))
	if err != nil {
		r.t.Errorf("get %s from host %d: %s, %s", url, host, answer.Status, body)
		return "none", false
	}
	return r.LinkOf(seen), strings.Contains(answer.Header.Get("Via"), "squid")
}

func url(n int, v6 bool, path string) string {
	a := lab.Remote(n, v6).String()
	if v6 {
		a = "[" + a + "]"
	}
	return "http://" + a + "/" + path
}
