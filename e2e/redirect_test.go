// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"testing"

	"enlace/e2e/lab"
)

// TestRedirectMatches: every match of a redirect takes the flows that it should, and no others. A flow that is taken is answered by a
// server on the router, which sees the host itself; the others leave, and take turns on the links as if there were no redirect.
func TestRedirectMatches(t *testing.T) {
	r := newRouter(t)
	must(t, r.ServeIn(r.Router, 3128, 8443))
	mac, _, err := r.LAN.Device("eth0")
	must(t, err)
	usual := lab.Flow{Network: "tcp", To: server(1, 443, false)}
	for _, c := range []struct {
		match  string
		port   string
		policy string
		yes    []lab.Flow
		no     []lab.Flow
	}{
		{match: "", yes: []lab.Flow{usual}, no: []lab.Flow{{Network: "udp", To: usual.To}, {Network: "tcp", To: server(1, 80, false)}}},
		{match: `from = "10.1.0.100"`, yes: []lab.Flow{from(usual, 100)}, no: []lab.Flow{usual}},
		{match: `not_from = ["10.1.0.50", "10.1.0.52"]`, yes: []lab.Flow{from(usual, 100)}, no: []lab.Flow{usual}},
		{match: `to = ["198.51.100.1", "198.51.100.16/28"]`, yes: []lab.Flow{usual}, no: []lab.Flow{{Network: "tcp", To: server(2, 443, false)}}},
		{match: `not_to = "198.51.100.1"`, yes: []lab.Flow{{Network: "tcp", To: server(2, 443, false)}}, no: []lab.Flow{usual}},
		{match: `not_to = set.s`, policy: `set "s" { elements = ["198.51.100.1", "198.51.100.3"] }`, yes: []lab.Flow{{Network: "tcp", To: server(2, 443, false)}}, no: []lab.Flow{usual}},
		{match: `source_port = "1-1023"`, no: []lab.Flow{usual}},
		{match: `source_port = "1024-65535"`, yes: []lab.Flow{usual}},
		{match: `interface = "eth0"`, yes: []lab.Flow{usual}},
		{match: `interface = ["eth7", "eth8"]`, no: []lab.Flow{usual}},
		{match: `mac = "` + mac.String() + `"`, yes: []lab.Flow{usual}},
		{match: `mac = "52:54:00:12:34:56"`, no: []lab.Flow{usual}},
		{match: `protocol = ["tcp", "udp"]`, port: `[80, "440-450"]`, yes: []lab.Flow{usual, {Network: "udp", To: usual.To}, {Network: "tcp", To: server(1, 80, false)}}, no: []lab.Flow{{Network: "tcp", To: server(1, 25, false)}}},
	} {
		t.Run(c.match, func(t *testing.T) {
			if c.port == "" {
				c.match, c.port = c.match+"\n  protocol = \"tcp\"", "443"
			}
			r.apply(links, balanced, c.policy, fmt.Sprintf("redirect \"r\" {\n  %s\n  port = %s\n  to_port = 3128\n}\ndefault { via = group.balanced }", c.match, c.port))
			before := r.numbered()
			for _, f := range c.yes {
				f = from(f, 50)
				if seen, err := r.LAN.Ask(f); err != nil || seen != f.From {
					t.Errorf("%+v was answered by a server that saw %s, %v; want the redirect's, which sees the host", f, seen, err)
				}
			}
			if n := r.numbered() - before; n != 0 {
				t.Errorf("%d redirected flows were given to a link, want none", n)
			}
			counts := map[string]int{}
			for range 3 {
				for _, f := range c.no {
					counts[r.ask(r.LAN, from(f, 50))]++
				}
			}
			if n := len(c.no); counts["virtua"] != 2*n || counts["embratel"] != n {
				t.Errorf("flows that are not redirected: %v, want %d:%d", counts, 2*n, n)
			}
		})
	}
}

// numbered is how many new flows from inside have been given to links.
func (r *router) numbered() int {
	r.t.Helper()
	sum := 0
	for _, l := range r.lines("nft", "list", "table", "inet", "enlace") {
		if m := flowsOfLinks.FindStringSubmatch(l); m != nil {
			n, err := strconv.Atoi(m[1])
			must(r.t, err)
			sum += n
		}
	}
	return sum
}

var flowsOfLinks = regexp.MustCompile(`counter packets (\d+) .*comment "new flows of`)

// from gives a flow a host of the LAN unless it has one.
func from(f lab.Flow, host int) lab.Flow {
	if !f.From.IsValid() {
		f.From = lab.Host(host, f.To.Addr().Is6())
	}
	return f
}

// TestRedirectOrder: the first of two redirects takes a flow; what is for the router itself, for a forward, or comes from outside is not
// redirected.
func TestRedirectOrder(t *testing.T) {
	r := newRouter(t)
	must(t, r.ServeIn(r.Router, 3128, 443))
	must(t, r.ServeIn(r.LAN, 80))
	r.apply(links, web, `
redirect "one" {
  from     = "10.1.0.100"
  protocol = "tcp"
  port     = 443
  to_port  = 3128
}
redirect "all" {
  protocol = "tcp"
  port     = [80, 443]
  to_port  = 9 # where nobody answers
}
default { via = link.embratel }`)
	for host, answered := range map[int]bool{100: true, 101: false} {
		if _, err := r.LAN.Ask(lab.Flow{Network: "tcp", From: lab.Host(host, false), To: server(1, 443, false), Wait: short}); (err == nil) != answered {
			t.Errorf("host %d is answered: %v, want %v", host, err == nil, answered)
		}
	}
	both(t, func(t *testing.T, v6 bool) {
		// The router's port 443, at its address inside and at those of its links.
		for _, a := range []netip.Addr{lab.RouterLAN[index(v6)].Addr(), r.ISP("virtua").Address(v6).Addr()} {
			if seen, err := r.LAN.Ask(lab.Flow{Network: "tcp", From: lab.Host(101, v6), To: netip.AddrPortFrom(a, 443)}); err != nil || seen != lab.Host(101, v6) {
				t.Errorf("the router at %s: %s, %v; want an answer", a, seen, err)
			}
		}
		address := netip.AddrPortFrom(r.ISP("embratel").Address(v6).Addr(), 80)
		if seen, err := r.Internet.Ask(lab.Flow{Network: "tcp", From: lab.Remote(3, v6), To: address}); err != nil || seen != lab.Remote(3, v6) {
			t.Errorf("through the forward: seen as %s, %v; want %s", seen, err, lab.Remote(3, v6))
		}
	})
}
