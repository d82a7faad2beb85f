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
	name   string
	share  Share
	alive  bool
	number int // in the order of the group
}

// spread divides the buckets among contenders by weighted rendezvous hashing: each bucket likes every contender, by its name, more or less,
// and gets the one that it likes best. Weights are kept exactly, to the bucket, because whoever has his share takes no more. Who does not live
// loses his buckets, and nobody else does; when he lives again he has the same ones.
func spread(list []contender) []Bucket {
	owner := make([]int, Buckets)
	for b := range owner {
		owner[b] = -1
	}
	rest := slices.Clone(list)
	allot(owner, rest)
	home := slices.Clone(owner)
	for _, c := range list {
		if c.alive {
			continue
		}
		rest = slices.DeleteFunc(rest, func(r contender) bool { return r.number == c.number })
		for b := range owner {
			if owner[b] == c.number {
				owner[b] = -1
			}
		}
		allot(owner, rest)
	}
	out := make([]Bucket, 0, Buckets)
	for b, n := range owner {
		if n < 0 {
			return nil // nobody lives
		}
		out = append(out, Bucket{Link: list[n].share.Link, Away: n != home[b]})
	}
	return out
}

// allot gives the buckets that have no owner to contenders, up to the share of each.
func allot(owner []int, list []contender) {
	if len(list) == 0 {
		return
	}
	room := quotas(list)
	for _, n := range owner {
		if n >= 0 {
			room[n]--
		}
	}
	type liking struct {
		bucket, number int
		score          float64
	}
	var likings []liking
	for b, n := range owner {
		if n >= 0 {
			continue
		}
		for _, c := range list {
			likings = append(likings, liking{b, c.number, c.score(b)})
		}
	}
	slices.SortFunc(likings, func(a, b liking) int {
		return cmp.Or(cmp.Compare(b.score, a.score), a.bucket-b.bucket, a.number-b.number)
	})
	for _, l := range likings {
		if owner[l.bucket] < 0 && room[l.number] > 0 {
			owner[l.bucket] = l.number
			room[l.number]--
		}
	}
	for _, l := range likings { // what rounding left over
		if owner[l.bucket] < 0 {
			owner[l.bucket] = l.number
		}
	}
}

// quotas are how many buckets each contender should have, by number: whole ones by weight, and the rest to the largest remainders.
func quotas(list []contender) map[int]int {
	total := 0
	for _, c := range list {
		total += c.share.Weight
	}
	out, left := map[int]int{}, Buckets
	byRemainder := slices.Clone(list)
	for _, c := range list {
		out[c.number] = Buckets * c.share.Weight / total
		left -= out[c.number]
	}
	slices.SortStableFunc(byRemainder, func(a, b contender) int {
		return Buckets*b.share.Weight%total - Buckets*a.share.Weight%total
	})
	for _, c := range byRemainder[:left] {
		out[c.number]++
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
