// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ti-mo/conntrack"

	"enlace/e2e/lab"
)

// readmeBlock is the first block of a language in the README, as lines.
func readmeBlock(t *testing.T, language string) []string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	must(t, err)
	_, block, found := strings.Cut(string(text), "```"+language+"\n")
	if !found {
		t.Fatalf("the README has no %s", language)
	}
	block, _, _ = strings.Cut(block, "```")
	return strings.Split(strings.TrimSpace(block), "\n")
}

// TestReadmeListing applies the README's policy, and wants every line that the README shows of the table in nft's listing.
func TestReadmeListing(t *testing.T) {
	r := newRouter(t, lab.Virtua.OnlyV4(), lab.Embratel.OnlyV4())
	need(t, "nft")
	r.apply(strings.Join(readmeBlock(t, "hcl"), "\n"))
	listed := r.lines("nft", "-s", "list", "table", "inet", "enlace")
	for _, line := range readmeBlock(t, "nft") {
		if !slices.Contains(listed, strings.TrimSpace(line)) {
			t.Errorf("nft does not list %q", line)
		}
	}
	if t.Failed() {
		t.Logf("nft lists\n%s", strings.Join(listed, "\n"))
	}
}

// TestSeedWhatIsMyIP (8.2): a site sees the same address again and again as long as it is asked over one connection, while new flows to
// it are balanced. Connection tracking tells which link each flow is on.
func TestSeedWhatIsMyIP(t *testing.T) {
	r := newRouter(t)
	r.apply(links, balanced, `default { via = group.balanced }`)
	s, err := r.StreamTCP(r.LAN, lab.Flow{From: lab.Host(100, false), To: server(7, 443, false)})
	must(t, err)
	s.Await(20)
	result := s.Stop()
	if len(result.Links) != 1 {
		t.Errorf("one connection was seen on the links %v, want one", result.Links)
	}
	seen := map[string]int{}
	var flows []lab.Flow
	for n := range 30 { // ports of their own: of 30 that the kernel chooses two are the same once in 60 times, and then it is one flow
		flows = append(flows, lab.Flow{Network: "udp", From: lab.Host(100, false), Port: 20000 + n, To: server(7, 443, false)})
	}
	answers, err := r.LAN.AskAll(flows)
	must(t, err)
	for _, a := range answers {
		seen[r.LinkOf(a)]++
	}
	if seen["virtua"] != 20 || seen["embratel"] != 10 {
		t.Errorf("30 flows to one site: %v, want 20:10", seen)
	}
	tracked := map[string]int{}
	must(t, r.Router.Do(func() error {
		ct, err := conntrack.Dial(nil)
		if err != nil {
			return err
		}
		defer func() { _ = ct.Close() }()
		list, err := ct.Dump(nil)
		for _, f := range list {
			link := r.LinkOf(f.TupleReply.IP.DestinationAddress)
			if f.TupleOrig.Proto.Protocol != 17 || f.TupleOrig.IP.DestinationAddress != server(7, 443, false).Addr() {
				continue
			}
			if number := map[string]uint32{"virtua": 1, "embratel": 2}[link]; f.Mark>>24 != number {
				t.Errorf("a flow that left through %s has mark %#x, want link number %d in it", link, f.Mark, number)
			}
			tracked[link]++
		}
		return err
	}))
	if tracked["virtua"] != 20 || tracked["embratel"] != 10 {
		t.Errorf("connection tracking knows %v, want 20:10", tracked)
	}
}
