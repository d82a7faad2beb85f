// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
)

// Buckets is over how many buckets a hash divides flows. A bucket more or less is 0.4 % of a group.
const Buckets = 256

// Bucket is the link that carries the flows of a bucket.
type Bucket struct {
	Link int // index into Plan.Links
	// Away: the link that they belong to does not work.
	Away bool
}

// contender is a member of a group in the contest for buckets.
type contender struct {
	name  string
	share Share
	alive bool
}

// spread divides the buckets among contenders by weighted rendezvous hashing: each bucket likes every contender, by its name, more or less,
// and belongs to the one that it likes best. Weights are kept because whoever has his share takes no more. The buckets of one who does not live are
// divided among the others in the same way. So what a bucket's order is depends on nobody's life: when one dies his buckets move and no
// others, and when he lives again the same ones come back.
func spread(list []contender) []Bucket {
	if !slices.ContainsFunc(list, func(c contender) bool { return c.alive }) {
		return nil
	}
	all := make([]int, Buckets)
	for b := range all {
		all[b] = b
	}
	out := make([]Bucket, Buckets)
	divide(out, all, list, false)
	return out
}

// divide gives some buckets to contenders, those of the dead to the others.
func divide(out []Bucket, buckets []int, list []contender, away bool) {
	for at, got := range allot(buckets, list) {
		if c := list[at]; c.alive {
			for _, b := range got {
				out[b] = Bucket{Link: c.share.Link, Away: away}
			}
		} else if len(got) > 0 {
			divide(out, got, slices.Delete(slices.Clone(list), at, at+1), true)
		}
	}
}

// allot gives each contender his share of some buckets.
func allot(buckets []int, list []contender) [][]int {
	type liking struct {
		bucket, at int
		score      float64
	}
	var likings []liking
	for _, b := range buckets {
		for at, c := range list {
			likings = append(likings, liking{b, at, c.score(b)})
		}
	}
	slices.SortFunc(likings, func(a, b liking) int {
		return cmp.Or(cmp.Compare(b.score, a.score), a.bucket-b.bucket, a.at-b.at)
	})
	out, room, owned := make([][]int, len(list)), quotas(buckets, list), map[int]bool{}
	for _, l := range likings {
		if !owned[l.bucket] && room[l.at] > 0 {
			owned[l.bucket] = true
			out[l.at] = append(out[l.at], l.bucket)
			room[l.at]--
		}
	}
	return out
}

// quotas are how many of some buckets each contender should have: whole ones by weight; the rest goes by a lot that likes large remainders, because
// with the largest remainder always winning, the same contender would gain in each of many small divisions.
func quotas(buckets []int, list []contender) []int {
	total := 0
	for _, c := range list {
		total += c.share.Weight
	}
	out, order, left := make([]int, len(list)), make([]int, len(list)), len(buckets)
	lots := make([]float64, len(list))
	for at, c := range list {
		out[at], order[at] = len(buckets)*c.share.Weight/total, at
		left -= out[at]
		lots[at] = c.score(Buckets+buckets[0]) / float64(c.share.Weight) * float64(len(buckets)*c.share.Weight%total)
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(lots[b], lots[a]) })
	for _, at := range order[:left] {
		out[at]++
	}
	return out
}

// score is how much a bucket likes a contender. With -weight/ln(h), h uniform in (0, 1), the chance to be the best is the weight's share
// (Schindelhauer and Schomaker, Weighted Distributed Hash Tables, 2005).
func (c contender) score(bucket int) float64 {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s/%d", c.name, bucket)
	x := h.Sum64()
	// FNV mixes its last bytes into the high bits badly; this is the final mix of MurmurHash3.
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	uniform := (float64(x>>11) + 0.5) / (1 << 53)
	return -float64(c.share.Weight) / math.Log(uniform)
}
