// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"go4.org/netipx"
)

// TestFirstMatch compares the segments with a look at every list for every address, over random overlapping ranges.
func TestFirstMatch(t *testing.T) {
	address := func(n int) netip.Addr {
		if n < 256 {
			return netip.AddrFrom4([4]byte{255, 255, 255, byte(n)}) // with the highest address of the family
		}
		b := netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff00").As16()
		b[15] = byte(n)
		return netip.AddrFrom16(b)
	}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		lists := make([][]netipx.IPRange, r.IntN(12))
		for i := range lists {
			for range 1 + r.IntN(3) {
				base := 256 * r.IntN(2)
				first := r.IntN(256)
				lists[i] = append(lists[i], netipx.IPRangeFrom(address(base+first), address(base+first+r.IntN(256-first))))
			}
		}
		got := map[netip.Addr]int{}
		var last netip.Addr
		for _, s := range FirstMatch(lists) {
			if last.IsValid() && !last.Less(s.Range.From()) {
				t.Fatalf("seed %d: %v begins before the one before it ends", seed, s.Range)
			}
			last = s.Range.To()
			for n := range 512 {
				if a := address(n); s.Range.Contains(a) {
					got[a] = s.Owner
				}
			}
		}
		for n := range 512 {
			want, a := -1, address(n)
			for i := len(lists) - 1; i >= 0; i-- {
				for _, rg := range lists[i] {
					if rg.Contains(a) {
						want = i
					}
				}
			}
			if owner, ok := got[a]; ok != (want >= 0) || ok && owner != want {
				t.Fatalf("seed %d: %s belongs to %d (%v), want %d\n%v", seed, a, owner, ok, want, lists)
			}
		}
	}
}

func TestRuns(t *testing.T) {
	from := []string{"a", "b", "c", "x", "x", "y", "z"}
	to := []string{"*", "*", "*", "1", "2", "3", "3"}
	alike := func(i, j int, side Side) bool {
		if side == Source {
			return to[i] == to[j]
		}
		return from[i] == from[j]
	}
	got, want := fmt.Sprint(Runs(len(from), alike)), "[{0 3 0} {3 5 1} {5 7 0}]"
	if got != want {
		t.Errorf("runs are %s, want %s", got, want)
	}
}
