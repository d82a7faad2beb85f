// SPDX-License-Identifier: Apache-2.0

package policy

// Slots spreads weights over a round of slots: slot i belongs to the link of the returned value i. The order is that of
// smooth weighted round robin, so that a link with a large share does not get its flows in one burst: 2:1 is A B A, not A A B.
// Weights are divided by their greatest common divisor first; the round is as long as the sum of the rest.
func Slots(shares []Share) []int {
	divisor := 0
	for _, s := range shares {
		divisor = gcd(s.Weight, divisor)
	}
	if divisor == 0 {
		return nil
	}
	total := 0
	for _, s := range shares {
		total += s.Weight / divisor
	}
	// In each round every link gains its weight; the richest takes the slot and pays the total for it.
	credit := make([]int, len(shares))
	slots := make([]int, 0, total)
	for range total {
		richest := 0
		for i, s := range shares {
			credit[i] += s.Weight / divisor
			if credit[i] > credit[richest] {
				richest = i
			}
		}
		credit[richest] -= total
		slots = append(slots, shares[richest].Link)
	}
	return slots
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
