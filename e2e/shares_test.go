// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"enlace/e2e/lab"
)

// TestPain20_Shares measures how far 3,000 new connections are from the weights, in points.
func TestPain20_Shares(t *testing.T) {
	const flows, allowed = 3000, 0.1
	for _, c := range []struct {
		name    string
		uplinks []lab.Uplink
		weights map[string]int
	}{
		{"2:1", []lab.Uplink{lab.Virtua, lab.Embratel}, map[string]int{"virtua": 2, "embratel": 1}},
		{"5:3:2", []lab.Uplink{lab.Virtua, lab.Embratel, lab.Vivo}, map[string]int{"virtua": 5, "embratel": 3, "vivo": 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRouter(t, c.uplinks...)
			third := ""
			if len(c.uplinks) > 2 {
				third = "link \"vivo\" {\n  interface = \"eth3\"\n  gateway = [\"177.3.0.1\", \"2001:db8:177::1\"]\n}"
			}
			for _, by := range []string{"connection", "route"} {
				var b strings.Builder
				fmt.Fprintf(&b, "group \"g\" {\n  by = %q\n", by)
				for _, u := range c.uplinks {
					fmt.Fprintf(&b, "  member %q { weight = %d }\n", u.Name, c.weights[u.Name])
				}
				r.apply(links, third, b.String()+"}", "default { via = group.g }")
				counts := r.shares(50, flows, false)
				worst := deviation(counts, c.weights)
				t.Logf("by = %q: %v of %d, at most %.2f points off", by, counts, flows, worst)
				if by == "connection" && worst > allowed {
					t.Errorf("shares are %.2f points off, want at most %.2f", worst, allowed)
				}
			}
		})
	}
}

// deviation is the largest difference between a share and its weight, in points.
func deviation(counts, weights map[string]int) float64 {
	flows, total, worst := 0, 0, 0.0
	for name, w := range weights {
		flows += counts[name]
		total += w
	}
	for name, w := range weights {
		worst = max(worst, math.Abs(100*float64(counts[name])/float64(flows)-100*float64(w)/float64(total)))
	}
	return worst
}
