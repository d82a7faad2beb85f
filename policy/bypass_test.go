// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSegment(t *testing.T) {
	ethernet, ppp := Interface{MTU: 1500}, Interface{MTU: 1492, PointToPoint: true}
	for _, c := range []struct {
		clamp Clamp
		at    Interface
		want  [2]int
	}{
		{ClampUsual, ethernet, [2]int{}},
		{ClampUsual, ppp, [2]int{1452, 1432}},
		{ClampMTU, ethernet, [2]int{1460, 1440}},
		{ClampOff, ppp, [2]int{}},
		{1300, ethernet, [2]int{1300, 1300}},
		{1452, ppp, [2]int{1452, 1432}},
		{1300, Interface{}, [2]int{1300, 1300}}, // not there yet
		{ClampMTU, Interface{}, [2]int{}},       // not known
		{ClampMTU, Interface{MTU: 576}, [2]int{536, 516}},
		{ClampMTU, Interface{MTU: 550}, [2]int{510, 0}}, // IPv6 cannot be used there (RFC 8200: 1280)
		{ClampMTU, Interface{MTU: 1 << 20}, [2]int{}},
	} {
		if got := c.clamp.segment(c.at); got != c.want {
			t.Errorf("clamp %d, MTU %d: %v, want %v", c.clamp, c.at.MTU, got, c.want)
		}
	}
}

func TestFlowtable(t *testing.T) {
	p, f := office()
	if plan, _ := Derive(p, f); plan.Flowtable != nil {
		t.Fatalf("a flowtable that nobody asked for: %+v", plan.Flowtable)
	}
	p.Links[1].Flowtable = true
	plan, problems := Derive(p, f)
	want := []Device{{"eth2", 4}, {"eth0", 2}}
	if len(problems) != 0 || plan.Flowtable == nil || !cmp.Equal(plan.Flowtable.Devices, want) || plan.Links[0].Bypasses || !plan.Links[1].Bypasses {
		t.Fatalf("flowtable %+v, links %+v, problems %v", plan.Flowtable, plan.Links, problems)
	}
	epoch := plan.Flowtable.Epoch
	same, _ := Derive(p, f)
	if same.Flowtable.Epoch != epoch {
		t.Error("the same world has another epoch")
	}
	f.Standings = map[string][2]Standing{"virtua": {V4: {State: Down}}}
	if dead, _ := Derive(p, f); !dead.Links[0].Dead[V4] || dead.Flowtable.Epoch == epoch {
		t.Errorf("a link dies, and the flowtable stays: flows would not leave it (%+v)", dead.Flowtable)
	}
	f.Standings = nil
	f.Interfaces[2] = up("eth2", 4, "200.252.10.3/26")
	if moved, _ := Derive(p, f); moved.Flowtable.Epoch == epoch {
		t.Error("a link has another address, and the flowtable stays")
	}
	f.NoFlowtable = true
	lacking, problems := Derive(p, f)
	if lacking.Flowtable != nil || lacking.Links[1].Bypasses || !cmp.Equal(codes(problems), []Code{NoFlowtable}) {
		t.Errorf("a kernel without: %+v, %v", lacking.Flowtable, codes(problems))
	}
	f.NoFlowtable = false
	f.Interfaces = f.Interfaces[:2]
	if gone, _ := Derive(p, f); gone.Flowtable != nil {
		t.Errorf("a flowtable of %+v, though the only link is not there", gone.Flowtable.Devices)
	}
}
