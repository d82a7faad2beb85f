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
		list[i] = contender{name: fmt.Sprintf("link%d", i), share: Share{Link: 10 + i, Weight: 1 + r.IntN(8)}, alive: true, number: i}
	}
	return list
}

// TestBucketsStay: when members die, buckets of the living stay where they are; shares are those of the weights among the living, to two buckets;
// and when all live again everything is as it was.
func TestBucketsStay(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		list := contenders(r, 2+r.IntN(6))
		home := spread(list)
		dead, total := 0, 0
		for i := range list {
			if dead < len(list)-1 && r.IntN(3) == 0 {
				list[i].alive = false
				dead++
			} else {
				total += list[i].share.Weight
			}
		}
		now := spread(list)
		counts := map[int]int{}
		for b := range now {
			counts[now[b].Link]++
			was := list[home[b].Link-10]
			if was.alive && (now[b].Link != home[b].Link || now[b].Away) {
				t.Fatalf("seed %d: bucket %d moved from a link that lives", seed, b)
			}
			if !was.alive && !now[b].Away {
				t.Fatalf("seed %d: bucket %d is not away", seed, b)
			}
		}
		for _, c := range list {
			want := float64(Buckets*c.share.Weight) / float64(total)
			if c.alive && math.Abs(float64(counts[c.share.Link])-want) > float64(2+dead) {
				t.Errorf("seed %d: %s has %d buckets, want %.1f", seed, c.name, counts[c.share.Link], want)
			}
			if !c.alive && counts[c.share.Link] > 0 {
				t.Errorf("seed %d: %s is dead and has %d buckets", seed, c.name, counts[c.share.Link])
			}
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
