// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// contenders are so many with random weights, all of them alive.
func contenders(r *rand.Rand, n int) []contender {
	list := make([]contender, n)
	for i := range list {
		list[i] = contender{name: fmt.Sprintf("link%d", i), share: Share{Link: 10 + i, Weight: 1 + r.IntN(8)}, alive: true}
	}
	return list
}

// TestBucketsStay: members die and live again in any order. Each time only the buckets of that one move; shares are those of the weights among the
// living, nearly; and when all live everything is as it was.
func TestBucketsStay(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		list := contenders(r, 2+r.IntN(6))
		home := spread(list)
		for range 12 {
			before := spread(list)
			i := r.IntN(len(list))
			list[i].alive = !list[i].alive
			now := spread(list)
			if now == nil {
				list[i].alive = true
				continue
			}
			for b := range now {
				if now[b].Link != before[b].Link && now[b].Link != list[i].share.Link && before[b].Link != list[i].share.Link {
					t.Fatalf("seed %d: %s changed, and bucket %d moved from %d to %d", seed, list[i].name, b, before[b].Link, now[b].Link)
				}
				if now[b].Away != (now[b].Link != home[b].Link) {
					t.Fatalf("seed %d: bucket %d of %d on %d is away: %v", seed, b, home[b].Link, now[b].Link, now[b].Away)
				}
			}
			sharesNearly(t, seed, list, now)
		}
		for i := range list {
			list[i].alive = true
		}
		for b, again := range spread(list) {
			if again != home[b] {
				t.Fatalf("seed %d: bucket %d did not come home", seed, b)
			}
		}
	}
}

// sharesNearly tests that the living have their shares: to the bucket when all live, within 1.5 points when one is dead, and 5 when several are.
func sharesNearly(t *testing.T, seed uint64, list []contender, buckets []Bucket) {
	t.Helper()
	counts, total, dead := map[int]int{}, 0, 0
	for _, b := range buckets {
		counts[b.Link]++
	}
	for _, c := range list {
		if c.alive {
			total += c.share.Weight
		} else {
			dead++
		}
	}
	off := 1.0
	switch {
	case dead > 1:
		off = 0.05 * Buckets
	case dead == 1:
		off = 0.015 * Buckets
	}
	for _, c := range list {
		want := float64(Buckets*c.share.Weight) / float64(total)
		if got := counts[c.share.Link]; c.alive && math.Abs(float64(got)-want) > off || !c.alive && got > 0 {
			t.Errorf("seed %d: %s (alive %v) has %d buckets, want %.1f", seed, c.name, c.alive, got, want)
		}
	}
}

// TestBucketsAreMixed: neighbouring buckets do not all belong to the same link.
func TestBucketsAreMixed(t *testing.T) {
	list := contenders(rand.New(rand.NewPCG(1, 2)), 2)
	longest, run := 0, 0
	buckets := spread(list)
	for b := 1; b < len(buckets); b++ {
		if run++; buckets[b] != buckets[b-1] {
			run = 0
		}
		longest = max(longest, run)
	}
	if longest > 40 {
		t.Errorf("%d buckets in a row belong to one link", longest)
	}
}

// TestNobodyLives: there are no buckets then.
func TestNobodyLives(t *testing.T) {
	list := contenders(rand.New(rand.NewPCG(1, 3)), 2)
	list[0].alive, list[1].alive = false, false
	if spread(list) != nil {
		t.Error("somebody has buckets")
	}
}
