// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func shares(weights ...int) []Share {
	var out []Share
	for i, w := range weights {
		out = append(out, Share{Link: i, Weight: w})
	}
	return out
}

func TestSlotsAreSpread(t *testing.T) {
	for _, c := range []struct{ weights, want []int }{
		{[]int{1}, []int{0}},
		{[]int{7}, []int{0}},
		{[]int{2, 1}, []int{0, 1, 0}},
		{[]int{200, 100}, []int{0, 1, 0}},
		{[]int{3, 1}, []int{0, 0, 1, 0}},
		{[]int{5, 3, 2}, []int{0, 1, 2, 0, 0, 1, 0, 2, 1, 0}},
		{nil, nil},
	} {
		if d := cmp.Diff(c.want, Slots(shares(c.weights...))); d != "" {
			t.Errorf("slots of %v (-want +got)\n%s", c.weights, d)
		}
	}
}

// TestSlotsAreExact: over a round every link has its weight, and at no point of it is a link more than one flow away from its
// share. Weighted maps with gaps or repeats are what a peer's users suffered from.
func TestSlotsAreExact(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		weights := make([]int, 1+r.IntN(64))
		total := 0
		for i := range weights {
			weights[i] = 1 + r.IntN(20)
			total += weights[i]
		}
		slots := Slots(shares(weights...))
		count := make([]int, len(weights))
		for n, link := range slots {
			count[link]++
			ideal := float64(n+1) * float64(weights[link]) / float64(total)
			if off := float64(count[link]) - ideal; off > 1.0001*float64(len(weights)) || off < -1.0001 {
				t.Fatalf("weights %v: after %d flows link %d has %d, ideally %.2f", weights, n+1, link, count[link], ideal)
			}
		}
		for i, w := range weights {
			if count[i]*total != w*len(slots) {
				t.Fatalf("weights %v: link %d has %d of %d slots", weights, i, count[i], len(slots))
			}
		}
	}
}
