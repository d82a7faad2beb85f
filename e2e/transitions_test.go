// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestTransitions goes from policy to policy, and wants the same listing as a fresh router has with the last of them: nothing of an
// earlier one is left, and nothing is missing. Sets of intervals are where differences are hard: they touch, merge and split.
func TestTransitions(t *testing.T) {
	need(t, "nft")
	need(t, "ip")
	r, fresh := newRouter(t), newRouter(t)
	random := rand.New(rand.NewPCG(7, 11))
	for i := range 40 {
		policy := links + randomPolicy(random)
		r.apply(policy)
		r.unchanged()
		fresh.apply(policy)
		got, want := r.ours(), fresh.ours()
		if !slices.Equal(got, want) {
			diff(t, want, got)
			t.Fatalf("after %d transitions:\n%s", i+1, policy)
		}
		if _, status := fresh.enlace("down"); status != 0 {
			t.Fatal("down failed")
		}
	}
}

// ours is what enlace made, as nft and ip list it.
func (r *router) ours() []string {
	var out []string
	// Sets and chains are listed in the order in which they were made: each becomes one line, and the lines are sorted.
	block := ""
	for _, l := range r.lines("nft", "-s", "list", "ruleset") {
		block += l + "\n"
		if l == "}" || l == "" {
			out = append(out, block)
			block = ""
		}
	}
	slices.Sort(out)
	for _, family := range []string{"-4", "-6"} {
		out = append(out, r.lines("ip", family, "rule")...)
		for _, table := range []string{"20", "30", "40", "41"} {
			out = append(out, r.lines("sh", "-c", fmt.Sprintf("ip %s route show table %s 2>/dev/null || true", family, table))...)
		}
	}
	return out
}

// randomPolicy has groups, rules, sets and forwards of all kinds, or not.
func randomPolicy(random *rand.Rand) string {
	var b strings.Builder
	by := []string{"connection", "route"}[random.IntN(2)]
	fmt.Fprintf(&b, "group \"g\" {\n  table = %d\n  by = %q\n  member \"virtua\" { weight = %d }\n", 40+random.IntN(2), by, 1+random.IntN(3))
	if random.IntN(3) > 0 {
		b.WriteString("  member \"embratel\" {}\n")
	}
	b.WriteString("}\n")
	for i := range random.IntN(4) {
		var list []string
		for range 2 + random.IntN(4) {
			first := random.IntN(12)
			last := first + random.IntN(4)
			list = append(list, fmt.Sprintf("\"10.9.0.%d-10.9.0.%d\", \"2001:db8:9::%x-2001:db8:9::%x\"", first, last, first, last))
		}
		fmt.Fprintf(&b, "rule \"r%d\" {\n  to  = [%s, \"255.255.255.0-255.255.255.255\"]\n  via = %s\n}\n", i, strings.Join(list, ", "),
			[]string{"link.virtua", "link.embratel", "group.g", "main"}[random.IntN(4)])
	}
	if random.IntN(2) == 0 {
		b.WriteString("rule \"mail\" {\n  protocol = \"tcp\"\n  port = [25, 587]\n  via = link.embratel\n  otherwise = reject\n}\n")
	}
	if random.IntN(2) == 0 {
		b.WriteString("rule \"own\" {\n  from = router\n  tos = 0x20\n  via = group.g\n}\n")
	}
	if random.IntN(2) == 0 {
		b.WriteString(web)
	}
	return b.String() + []string{"", "default { via = group.g }\n", "default { via = link.embratel }\n"}[random.IntN(3)]
}
