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
	var said bytes.Buffer
	must(r.t, r.Router.Do(func() error {
		s.cmd = exec.Command("squid", "-N", "-n", "enlace"+strconv.Itoa(os.Getpid()), "-f", file)
		s.cmd.Stderr, s.cmd.SysProcAttr = &said, as
		return s.cmd.Start()
	}))
	r.t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	})
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

// TestSeedTransparentProxy sends one host's web through squid, then a subnet's with exceptions (7: -j REDIRECT --to-port 3128).
func TestSeedTransparentProxy(t *testing.T) {
	r := newRouterWithout(t)
	must(t, r.Serve(443))
	web := r.startSite()
	r.apply(links, balanced, `redirect "squid" {
  from     = ["10.1.0.100", "fd00:a::64"]
  protocol = "tcp"
  port     = 80
  to_port  = 3128
}
rule "lan" {
  from = lan.office
  via  = link.virtua
}
default { via = link.embratel }`)
	s := r.startSquid("")
	both(t, func(t *testing.T, v6 bool) {
		if link, proxied := r.get(100, url(1, v6, "one")); link != "embratel" || !proxied {
			t.Errorf("the redirected host: through %s, squid %v; want squid's link, embratel", link, proxied)
		}
		if link, proxied := r.get(101, url(1, v6, "two")); link != "virtua" || proxied {
			t.Errorf("another host: through %s, squid %v; want its own link, virtua, without squid", link, proxied)
		}
		r.expect("virtua", 100, server(2, 443, v6)) // only the web is redirected
	})
	r.apply(links, balanced, `redirect "squid" {
  from     = lan.office
  not_from = ["10.1.0.50", "fd00:a::32"]
  not_to   = ["198.51.100.9", "2001:db8:ffff::9"]
  protocol = "tcp"
  port     = 80
  to_port  = 3128
}
rule "lan" {
  from = lan.office
  via  = link.virtua
}
default { via = link.embratel }`)
	both(t, func(t *testing.T, v6 bool) {
		for _, c := range []struct {
			host, server int
			squid        bool
		}{{100, 1, true}, {257, 3, true}, {50, 1, false}, {101, 9, false}} {
			if _, proxied := r.get(c.host, url(c.server, v6, fmt.Sprint("from", c.host))); proxied != c.squid {
				t.Errorf("host %d to server %d: squid %v, want %v", c.host, c.server, proxied, c.squid)
			}
		}
		// The router's own web page is its own: squid must not be asked for it.
		must(t, r.Router.Do(func() error {
			l, err := net.Listen("tcp", netip.AddrPortFrom(lab.RouterLAN[index(v6)].Addr(), 80).String())
			if err != nil {
				return err
			}
			own := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = fmt.Fprint(w, r.ISP("virtua").Address(v6).Addr())
			})}
			go func() { _ = own.Serve(l) }()
			t.Cleanup(func() { _ = own.Close() })
			return nil
		}))
		host := netip.AddrPortFrom(lab.RouterLAN[index(v6)].Addr(), 80).String()
		if _, proxied := r.get(100, "http://"+host+"/"); proxied {
			t.Error("the router's own page came through squid")
		}
	})
	agree(t, s, web, 6)
}

// agree compares squid's access log with what the servers saw of squid.
func agree(t *testing.T, s *squid, web *site, n int) {
	t.Helper()
	log := s.access(t, n)
	web.mu.Lock()
	defer web.mu.Unlock()
	var served []string
	for _, l := range web.served {
		if !strings.HasPrefix(l, " ") { // squid says for whom it asks
			served = append(served, l)
		}
	}
	slices.Sort(served)
	diff(t, served, log)
	if len(log) != n {
		t.Errorf("squid served %d requests, want %d", len(log), n)
	}
}

func index(v6 bool) int {
	if v6 {
		return 1
	}
	return 0
}

// TestSeedSquidBalanced lets squid mark its flows for the balanced group (9: tcp_outgoing_tos), by TOS and by mark.
func TestSeedSquidBalanced(t *testing.T) {
	ways := map[string]struct{ conf, match string }{
		"tos":  {"tcp_outgoing_tos 0x08 localnet", "tos = 0x08"},
		"mark": {"tcp_outgoing_mark 0x10 localnet", "mark = 0x10"},
	}
	if inUserNamespace() { // marking needs a right over the network, which only root of the namespace has, and squid refuses to be root
		delete(ways, "mark")
	}
	for name, c := range ways {
		t.Run(name, func(t *testing.T) {
			r := newRouterWithout(t)
			must(t, r.Serve(443))
			web := r.startSite()
			r.apply(links, balanced, `redirect "squid" {
  from     = lan.office
  protocol = "tcp"
  port     = 80
  to_port  = 3128
}
rule "squid" {
  from = router
  `+c.match+`
  via  = group.balanced
}
default { via = link.embratel }`)
			s := r.startSquid(c.conf)
			both(t, func(t *testing.T, v6 bool) {
				counts := map[string]int{}
				for i := range 30 {
					link, proxied := r.get(100, url(i+1, v6, fmt.Sprint(i)))
					if !proxied {
						t.Errorf("request %d did not come through squid", i)
					}
					counts[link]++
				}
				// The source at each provider is right, or its server would not have got an answer.
				if counts["virtua"] != 20 || counts["embratel"] != 10 {
					t.Errorf("squid's flows: %v, want 20:10", counts)
				}
				// What is not marked takes the default.
				if got := r.ask(r.Router, lab.Flow{Network: "tcp", To: server(1, 443, v6)}); got != "embratel" {
					t.Errorf("an unmarked flow of the router left through %s, want embratel", got)
				}
			})
			agree(t, s, web, 60)
		})
	}
}
