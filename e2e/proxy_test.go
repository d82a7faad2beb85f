// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"enlace/e2e/lab"
)

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
