// SPDX-License-Identifier: Apache-2.0

package lang

import (
	"testing"

	"enlace/policy"
)

// TestBypass: the flowtable of a group is that of its members, unless a link says something else itself; clamps are told apart.
func TestBypass(t *testing.T) {
	p, report := Parse(Source{Name: "p.hcl", Text: []byte(`
lan "office" { interface = "eth0" }
group "g" {
  flowtable = true
  member "member" {}
  member "unwilling" {}
}
link "member" {
  interface = "eth1"
  mss_clamp = true
}
link "unwilling" {
  interface = "eth2"
  flowtable = false
  mss_clamp = false
}
link "willing" {
  interface = "eth3"
  flowtable = true
  mss_clamp = 1400
}
link "plain" { interface = "eth4" }
`)})
	if report.HasErrors() {
		t.Fatal(report.Diagnostics)
	}
	for i, want := range []struct {
		flowtable bool
		clamp     policy.Clamp
	}{{true, policy.ClampMTU}, {false, policy.ClampOff}, {true, 1400}, {false, policy.ClampUsual}} {
		if l := p.Links[i]; l.Flowtable != want.flowtable || l.Clamp != want.clamp {
			t.Errorf("link %s: flowtable %t, clamp %d; want %+v", l.Name, l.Flowtable, l.Clamp, want)
		}
	}
}
