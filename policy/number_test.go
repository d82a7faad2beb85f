// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNumbersFollowTheFile(t *testing.T) {
	p := Policy{
		Settings: DefaultSettings(),
		Links:    []Link{{Name: "a"}, {Name: "b", Mark: 1}, {Name: "c"}, {Name: "d", Table: 1001}},
		Groups:   []Group{{Name: "g"}, {Name: "h", By: ByRoute}, {Name: "i", Mark: 2}, {Name: "j", Table: 40}},
	}
	want := Numbers{Links: []uint8{3, 1, 4, 5}, Groups: []uint8{0, 6, 2, 0}}
	if d := cmp.Diff(want, p.Number(nil)); d != "" {
		t.Errorf("numbers (-want +got)\n%s", d)
	}
	links, groups := p.TablesOf()
	if d := cmp.Diff([][]uint32{{1002, 1003, 1004, 1001}, {1005, 1006, 1007, 40}}, [][]uint32{links, groups}); d != "" {
		t.Errorf("tables (-want +got)\n%s", d)
	}
}

// TestNumbersStay: a link keeps the number that the kernel knows it by, unless the policy gives that to another.
func TestNumbersStay(t *testing.T) {
	present := map[string]uint8{"a": 1, "b": 2, "c": 3, "gone": 4, "huge": 200}
	for _, c := range []struct {
		links []Link
		want  []uint8
	}{
		{[]Link{{Name: "b"}, {Name: "c"}}, []uint8{2, 3}},
		{[]Link{{Name: "new"}, {Name: "b"}, {Name: "c"}}, []uint8{1, 2, 3}},
		{[]Link{{Name: "x", Mark: 2}, {Name: "b"}, {Name: "c"}}, []uint8{2, 1, 3}},
		{[]Link{{Name: "c"}, {Name: "b"}, {Name: "a"}, {Name: "d"}}, []uint8{3, 2, 1, 4}},
		{[]Link{{Name: "huge"}}, []uint8{1}},
	} {
		p := Policy{Settings: Settings{MarkMask: 0x0f000000}, Links: c.links}
		if d := cmp.Diff(c.want, p.Number(present).Links); d != "" {
			t.Errorf("%v (-want +got)\n%s", c.links, d)
		}
	}
}

func TestMarksFitTheMask(t *testing.T) {
	for _, c := range []struct {
		mask uint32
		last int
		five uint32
	}{{0xff000000, 254, 0x05000000}, {0x00000f00, 14, 0x00000500}, {0x3, 2, 5}, {0xffff0000, 254, 0x00050000}} {
		if got := LastNumber(c.mask); got != c.last {
			t.Errorf("last number in %#x is %d, want %d", c.mask, got, c.last)
		}
		if got := MarkOf(5, c.mask); got != c.five {
			t.Errorf("number 5 in %#x is %#x, want %#x", c.mask, got, c.five)
		}
	}
}

// TestNumbersOfLivingFlows: whatever flows carry stays what it is when a link is added, for those that stay and for guests, too.
func TestNumbersOfLivingFlows(t *testing.T) {
	p := Policy{Settings: DefaultSettings(), DefaultFlows: Failback, Links: []Link{{Name: "a"}, {Name: "b"}}, Rules: []Rule{{Flows: Keep}}}
	present := map[string]uint8{}
	note := func(n Numbers) {
		for i, l := range p.Links {
			present[NumberKey(l.Name, Ordinary)], present[NumberKey(l.Name, Steady)], present[NumberKey(l.Name, Guest)] = n.Links[i], n.Steady[i], n.Guests[i]
		}
	}
	note(p.Number(nil))
	before := maps.Clone(present)
	p.Links = append([]Link{{Name: "c"}}, p.Links...)
	p.Groups = []Group{{Name: "g", By: ByRoute}}
	note(p.Number(present))
	for key, n := range before {
		if present[key] != n {
			t.Errorf("%s was %d, and is %d", key, n, present[key])
		}
	}
	seen := map[uint8]string{}
	for key, n := range present {
		if other, taken := seen[n]; taken {
			t.Errorf("%s and %s have %d", key, other, n)
		}
		seen[n] = key
	}
}

// TestTooManyNumbers: there is an end, and who gets none has 0.
func TestTooManyNumbers(t *testing.T) {
	p := Policy{Settings: DefaultSettings(), DefaultFlows: Failback, Rules: []Rule{{Flows: Keep}}}
	for i := range 100 {
		p.Links = append(p.Links, Link{Name: fmt.Sprint(i)})
	}
	if n := p.Number(nil); n.Guests[99] != 0 || n.Links[99] != 100 {
		t.Errorf("the last link has %d and %d", n.Links[99], n.Guests[99])
	}
}
