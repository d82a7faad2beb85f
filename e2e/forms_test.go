// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// everything is a policy with every match and target that the language has.
const everything = links + balanced + `
settings {
  rule_priority = 3000
  table_base    = 500
}
locals {
  servers = ["10.1.0.20", "fd00:a::14"]
}
set "banks" { elements = ["186.202.0.0/24", "198.51.100.7", "198.51.100.20-198.51.100.29", "2001:db8:ffff::10", "2001:db8:ffff::20-2001:db8:ffff::2f"] }
group "hashed" {
  by = "route"
  member "embratel" { weight = 3 }
  member "virtua" {}
}
rule "mail" {
  from      = lan.office
  protocol  = "tcp"
  port      = ["smtp", 465, "587-588"]
  via       = link.embratel
  otherwise = reject
}
rule "banks" {
  to  = set.banks
  via = link.embratel
}
rule "servers" {
  from        = local.servers
  to          = ["203.0.113.0/24", "192.0.2.1-192.0.2.9"]
  protocol    = ["tcp", "udp"]
  port        = "1000-2000"
  source_port = "1024-65535"
  via         = link.virtua
  otherwise   = drop
}
rule "voice" {
  dscp = "ef"
  via  = link.virtua
}
rule "several" {
  dscp      = [8, 10, 46]
  interface = "wg0"
  via       = group.hashed
}
rule "gre" {
  protocol  = "gre"
  interface = ["wg0", "wg1"]
  via       = link.virtua
}
rule "marked" {
  mark = ["0x10/0xff", "0x20/0xff"]
  via  = link.virtua
}
rule "one_mark" {
  mark = 0x11
  via  = link.embratel
}
rule "icmp" {
  protocol = ["icmp", "icmpv6", 89]
  via      = main
}
rule "squid" {
  from = router
  tos  = 0x08
  via  = group.balanced
}
rule "ntp" {
  from     = router
  protocol = "udp"
  port     = 123
  via      = link.virtua
}
` + web + `
default { via = group.hashed }
`

// proxied has redirects, negations, and matches of the router's own sockets.
const proxied = links + balanced + `
set "inside" { elements = ["10.0.0.0/8", "192.168.0.0/16", "fd00::/8"] }
redirect "squid" {
  from     = lan.office
  not_from = ["10.1.0.50", "fd00:a::32"]
  not_to   = set.inside
  protocol = "tcp"
  port     = [80, 8080]
  to_port  = 3128
}
redirect "dns" {
  protocol = ["tcp", "udp"]
  port     = 53
  to_port  = 5353
}
redirect "printer" {
  mac      = "52:54:00:12:34:56"
  protocol = "tcp"
  port     = 631
  to_port  = 6310
}
rule "users" {
  from = router
  user = [13, 33]
  via  = link.virtua
}
rule "one_user" {
  from   = router
  user   = 0
  not_to = "10.0.0.0/8"
  via    = link.embratel
}
rule "phones" {
  mac = ["52:54:00:00:00:02", "52:54:00:00:00:01"]
  via = link.virtua
}
rule "laptop" {
  mac      = "52:54:00:00:00:03"
  not_to   = ["186.202.0.0/24", "198.51.100.7"]
  protocol = "tcp"
  via      = group.balanced
}
rule "others" {
  from     = lan.office
  not_from = "10.1.0.0/28"
  via      = link.embratel
}
rule "not_the_bank" {
  not_to = set.inside
  via    = group.balanced
}
`

// listed has lists of every kind: of hosts and of ranges, short and too long to be read back, and rules that are folded.
func listed() string {
	var b strings.Builder
	b.WriteString(links + balanced + `
set "hosts" { file = "hosts.txt" }
set "ranges" { file = "ranges.txt" }
set "nets" { file = "nets.txt" }
set "few" { elements = ["198.51.100.7", "198.51.100.9", "2001:db8:ffff::7", "2001:db8:ffff::9"] }
rule "hosts" {
  to  = set.hosts
  via = link.virtua
}
rule "ranges" {
  to  = set.ranges
  via = link.embratel
}
rule "nets" {
  from   = lan.office
  not_to = set.nets
  via    = link.embratel
}
rule "more_nets" {
  from = set.ranges
  to   = set.nets
  via  = link.embratel
}
rule "few" {
  to  = set.few
  via = main
}
`)
	via := []string{"link.virtua", "link.embratel", "group.balanced", "main"}
	for i := range 40 {
		fmt.Fprintf(&b, "rule %q {\n  from = [\"10.1.2.%d\", \"fd00:a::%x\"]\n  via = %s\n}\n", fmt.Sprint("host", i), 2*i, 2*i, via[i%4])
	}
	for i := range 24 {
		fmt.Fprintf(&b, `rule "net%d" {
  from     = lan.office
  to       = "203.0.%d.0-203.0.%d.99"
  protocol = "tcp"
  port     = [80, 443]
  via      = %s
}
`, i, 2*i, 2*i+1, via[i%3])
	}
	return b.String() + "default { via = group.balanced }\n"
}

// writeLists writes the files that listed names.
func (r *router) writeLists(n int) {
	r.t.Helper()
	var hosts, ranges strings.Builder
	for i := range n {
		fmt.Fprintf(&hosts, "20.%d.%d.%d\n", i/8192, i/32%256, i%32*8)
		fmt.Fprintf(&ranges, "30.%d.%d.0-30.%d.%d.99 # range %d\n2001:db8:2:%x::/64\n", i/256, i%256, i/256, i%256, i, 2*i)
	}
	var nets strings.Builder
	for i := range n {
		fmt.Fprintf(&nets, "40.%d.%d.0/26\n40.%d.%d.128/25\n2001:db8:3:%x::/64\n", i/256, i%256, i/256, i%256, 2*i)
	}
	must(r.t, os.WriteFile(filepath.Join(r.root, "nets.txt"), []byte(nets.String()), 0o600))
	ranges.WriteString("255.0.0.0/8\nffff::/16 ; up to the highest address\n")
	must(r.t, os.WriteFile(filepath.Join(r.root, "hosts.txt"), []byte(hosts.String()), 0o600))
	must(r.t, os.WriteFile(filepath.Join(r.root, "ranges.txt"), []byte(ranges.String()), 0o600))
}

// TestFormsAgree loads the text form with nft in one namespace and the netlink form in another, and compares what nft lists.
func TestFormsAgree(t *testing.T) {
	need(t, "nft")
	for name, policy := range map[string]string{
		"everything":   everything,
		"held":         held,
		"proxied":      proxied,
		"clamped":      clamped,
		"listed":       listed(),
		"one link":     links + `default { via = link.virtua }`,
		"main":         links,
		"half a group": links + balanced + "link \"vivo\" { interface = \"eth9\" }\ndefault { via = group.balanced }",
		"v4 only":      strings.Replace(links, `, "2001:db8:200::1"`, "", 1) + balanced + `default { via = group.balanced }`,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRouter(t)
			r.writeLists(1010)
			file := r.write(policy)
			script, status := r.enlace("render", file)
			if status != 0 {
				t.Fatalf("render: exit %d\n%s", status, script)
			}
			if out, status := r.enlace("apply", file); status != 0 {
				t.Fatalf("apply: exit %d\n%s", status, out)
			}
			_, text, _ := strings.Cut(script, "<<'END'\n")
			text = strings.TrimSuffix(text, "END\n")
			other := newRouter(t)
			ruleset := filepath.Join(other.root, "table.nft")
			must(t, os.WriteFile(ruleset, []byte(text), 0o600))
			other.lines("nft", "-f", ruleset)
			diff(t, other.lines("nft", "-s", "list", "ruleset"), r.lines("nft", "-s", "list", "ruleset"))
			// What nft lists can be loaded again.
			listed := strings.Join(r.lines("nft", "list", "ruleset"), "\n")
			must(t, os.WriteFile(ruleset, []byte("flush ruleset\n"+listed+"\n"), 0o600))
			other.lines("nft", "-f", ruleset)
			if out, status := r.enlace("plan", file); status != 0 {
				t.Errorf("plan after apply: exit %d\n%s", status, out)
			}
		})
	}
}

// TestRenderedScript runs what render prints, and wants the same routes, rules and sysctls as apply makes.
func TestRenderedScript(t *testing.T) {
	need(t, "nft")
	need(t, "ip")
	policy := links + balanced + web + `default { via = group.balanced }`
	r, other := newRouter(t), newRouter(t)
	r.apply(policy)
	script, status := other.enlace("render", other.write(policy))
	if status != 0 {
		t.Fatalf("render: exit %d\n%s", status, script)
	}
	file := filepath.Join(other.root, "apply.sh")
	must(t, os.WriteFile(file, []byte("set -e\n"+script), 0o600))
	other.lines("sh", file)
	diff(t, withoutLinkLocal(r.listing()), withoutLinkLocal(other.listing()))
}

// withoutLinkLocal drops addresses that are made of random hardware addresses.
func withoutLinkLocal(listing string) []string {
	var out []string
	for l := range strings.Lines(listing) {
		if !strings.Contains(l, "fe80::") && !strings.Contains(l, "stable_secret") {
			out = append(out, strings.TrimSpace(l))
		}
	}
	return out
}
