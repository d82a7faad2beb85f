// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"enlace/e2e/lab"
	"enlace/policy"
	"enlace/watch"
)

// TestTargets: every kind of target tells a link that works from one that does not.
func TestTargets(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	r.answerProbes()
	for _, target := range []string{
		"gateway", "neighbour", "198.51.100.9", "2001:db8:ffff::9", "tcp://198.51.100.9:443", "tcp://198.51.100.9:4", "tcp://[2001:db8:ffff::9]:443",
		"http://198.51.100.9:8081/ok", "https://198.51.100.9:8443/ok", "dns://198.51.100.9:5353/example.org",
	} {
		t.Run(target, func(t *testing.T) {
			lose, back := func() error { return r.ISP("virtua").Lose(100) }, func() error { return r.ISP("virtua").Lose(0) }
			if target == "neighbour" {
				lose, back = func() error { return r.gateways(r.ISP("virtua").RemoveAddress) }, func() error { return r.gateways(r.ISP("virtua").AddAddress) }
			}
			d := r.probing(t, target)
			d.link("virtua", "up", "")
			must(t, lose())
			d.link("virtua", "down", "")
			if state := d.state("embratel"); state != "up" {
				t.Errorf("the other link is %s", state)
			}
			must(t, back())
			d.link("virtua", "up", "")
			if target == "neighbour" { // its socket ends with the interface
				must(t, r.Router.Down("eth1"))
				must(t, r.switchOn("virtua"))
				d.awaitIdle()
				time.Sleep(1200 * time.Millisecond)
				d.link("virtua", "up", "")
			}
			d.stop()
		})
	}
	for _, target := range []string{"http://198.51.100.9:8081/broken", "https://198.51.100.10:8443/ok", "dns://198.51.100.9:5353/failure.example", "198.18.0.1"} {
		t.Run("not "+target, func(t *testing.T) {
			d := r.probing(t, target)
			d.link("virtua", "down", "")
			d.stop()
		})
	}
}

// probing starts a daemon that probes one target through virtua.
func (r *router) probing(t *testing.T, target string) *daemon {
	t.Helper()
	one := *r
	one.t = t
	return one.fresh(strings.Replace(links, `health { hold = "0s" }`, fmt.Sprintf("health {\n hold = \"0s\"\n targets = %q\n}", target), 1),
		balanced, `default { via = group.balanced }`)
}

// gateways does something with the addresses of virtua's gateway.
func (r *router) gateways(do func(string, netip.Prefix) error) error {
	i := r.ISP("virtua")
	return errors.Join(do("customer", netip.PrefixFrom(i.Gateway(false), 24)), do("customer", netip.PrefixFrom(i.Gateway(true), 64)))
}

// answerProbes starts servers on the internet for HTTP, HTTPS and DNS. The daemon trusts the certificate, which is for one address.
func (r *router) answerProbes() {
	r.t.Helper()
	cert := r.certificate(lab.Remote(9, false))
	must(r.t, r.Internet.Do(func() error {
		plain, err := net.Listen("tcp4", "0.0.0.0:8081")
		if err != nil {
			return err
		}
		secure, err := tls.Listen("tcp4", "0.0.0.0:8443", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
		if err != nil {
			return err
		}
		names, err := net.ListenPacket("udp4", "198.51.100.9:5353")
		if err != nil {
			return err
		}
		web := &http.Server{ReadHeaderTimeout: time.Second, ErrorLog: stdlog.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path == "/broken" {
				w.WriteHeader(http.StatusBadGateway)
			}
		})}
		go func() { _ = web.Serve(plain) }()
		go func() { _ = web.Serve(secure) }()
		go answerNames(names)
		r.t.Cleanup(func() { _ = errors.Join(web.Close(), names.Close()) })
		return nil
	}))
}

// answerNames is a name server: it knows nothing, and is in trouble about failure.example.
func answerNames(c net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		m.Response, m.RCode = true, dnsmessage.RCodeNameError
		if m.Questions[0].Name.String() == "failure.example." {
			m.RCode = dnsmessage.RCodeServerFailure
		}
		if b, err := m.Pack(); err == nil {
			_, _ = c.WriteTo(b, from)
		}
	}
}

// certificate is one for an address, which daemons that the test starts trust.
func (r *router) certificate(a netip.Addr) tls.Certificate {
	r.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(r.t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{a.AsSlice()}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	must(r.t, err)
	file := filepath.Join(r.root, "trusted.pem")
	must(r.t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	r.env = append(r.env, "SSL_CERT_FILE="+file)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestProbesDoNotLeak: after fifty changes of the policy and fifty of the links the daemon has as many files and threads as before, nearly.
func TestProbesDoNotLeak(t *testing.T) {
	r := newRouter(t)
	policy := func(n int) string {
		health := fmt.Sprintf("health {\n hold = \"0s\"\n targets = [\"gateway\", \"198.51.100.9\", \"tcp://198.51.100.9:443\", \"198.51.100.%d\"]\n}", 10+n)
		return strings.Replace(links, `health { hold = "0s" }`, health, 1) + balanced + `default { via = group.balanced }`
	}
	d := r.fresh(policy(0))
	d.link("virtua", "up", "")
	count := func(what string) int {
		list, err := os.ReadDir(fmt.Sprintf("/proc/%d/%s", d.cmd.Process.Pid, what))
		must(t, err)
		return len(list)
	}
	await(t, "the first probes", func() bool { return len(d.link("virtua", "up", "").Targets) == 5 })
	files, threads := count("fd"), count("task")
	for n := 1; n <= 50; n++ {
		r.apply(policy(n))
		must(t, r.ISP("virtua").Unplug())
		d.link("virtua", "down", "")
		must(t, r.ISP("virtua").PlugIn())
		d.link("virtua", "up", "")
	}
	await(t, "the files to be closed", func() bool { return count("fd") <= files+4 })
	t.Logf("%d files and %d threads before, %d and %d after", files, threads, count("fd"), count("task"))
	if count("task") > threads+6 {
		t.Errorf("%d threads, %d before", count("task"), threads)
	}
}

// TestAddressNotReady: while IPv6 finds out whether somebody else has the link's address, nothing can be asked, and nothing is concluded.
func TestAddressNotReady(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	d := r.fresh(strings.Replace(links, `health { hold = "0s" }`, `health { targets = ["198.51.100.9", "2001:db8:ffff::9"] }`, 1), balanced, `default { via = group.balanced }`)
	d.link("virtua", "up", "")
	must(t, r.Router.Sysctl("ipv6/conf/eth1/accept_dad", "1"))
	must(t, r.Router.Sysctl("ipv6/conf/eth1/dad_transmits", "3")) // three seconds
	address := r.ISP("virtua").Address(true)
	must(t, r.Router.RemoveAddress("eth1", address))
	d.await("the address to be gone", func(s *watch.Status) bool { return s.Links[0].IPv6 == nil })
	need(t, "ip")
	r.lines("ip", "-6", "address", "add", address.String(), "dev", "eth1")
	must(t, r.Router.AddRoute(netip.MustParsePrefix("::/0"), r.ISP("virtua").Gateway(true), "eth1"))
	d.await("the address to be back", func(s *watch.Status) bool { return s.Links[0].IPv6 != nil })
	d.await("an answer over IPv6", func(s *watch.Status) bool {
		for _, p := range s.Problems {
			if p.Subject == "link virtua" && (p.Code == policy.LinkSilent || p.Code == policy.LinkHolding) {
				t.Errorf("concluded too early: %s", p.Text)
				return true
			}
		}
		for _, target := range s.Links[0].Targets {
			if target.Target == "2001:db8:ffff::9" && target.Answers {
				return true
			}
		}
		return false
	})
}
