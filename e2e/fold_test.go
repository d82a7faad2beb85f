// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestFoldedRules: thousands of rules for single hosts and networks are looked up at once, the first that matches takes a flow, and each
// counts for itself.
func TestFoldedRules(t *testing.T) {
	r := newRouter(t)
	need(t, "nft")
	via := []string{"link.virtua", "link.embratel"}
	var b strings.Builder
	pin := func(name, from string, to int) {
		fmt.Fprintf(&b, "rule %q {\n  from = %s\n  via  = %s\n}\n", name, from, via[to])
	}
	pin("first", `["10.1.0.100", "fd00:a::64"]`, 0)
	pin("net", `["10.1.0.96/28", "fd00:a::60/124"]`, 1) // hosts 96 to 111, but not 100
	pin("wide", `["10.1.0.0/17", "fd00:a::/65"]`, 0)    // everything else
	pin("late", `["10.1.1.1", "fd00:a::101"]`, 1)       // never: wide has it
	for i := range 3000 {
		pin(fmt.Sprint("pin", i), fmt.Sprintf(`["10.1.%d.%d", "fd00:a:0:0:8000::%x"]`, 128+i/250, i%250, i), i%2)
	}
	out, status := r.enlace("apply", r.write(links, b.String(), "default { via = link.embratel }"))
	if status != 0 || strings.Count(out, "Rule never reached") != 1 || !strings.Contains(out, `Rule "wide"`) {
		t.Errorf("apply: exit %d, want one warning, that wide hides late\n%.2000s", status, out)
	}
	both(t, func(_ *testing.T, v6 bool) {
		for host, want := range map[int]string{100: "virtua", 101: "embratel", 50: "virtua", 257: "virtua"} {
			r.expect(want, host, server(1, 443, v6))
		}
	})
	rules := strings.Join(r.lines("nft", "list", "chain", "inet", "enlace", "rules"), "\n")
	if n := strings.Count(rules, " rules, first "); n != 8 {
		t.Errorf("3,004 rules became %d look-ups, want one for hosts and one for ranges, for each link and family\n%s", n, rules)
	}
	// Twelve flows came from each of these hosts: wide has two of them.
	sets := strings.Join(r.lines("nft", "list", "sets", "inet"), " ")
	for rule, want := range map[string]int{"first": 12, "net": 12, "wide": 24, "late": 0} {
		if got := countOf(sets, rule); got != want {
			t.Errorf("rule %s counts %d packets of IPv4 flows, want %d", rule, got, want)
		}
	}
}

// countOf adds the packets that elements with that comment count, of IPv4.
func countOf(sets, comment string) int {
	sum := 0
	for _, m := range regexp.MustCompile(`(\d+\.[\d./-]+) counter packets (\d+) bytes \d+ comment "`+comment+`"`).FindAllStringSubmatch(sets, -1) {
		n, _ := strconv.Atoi(m[2])
		sum += n
	}
	return sum
}
