// SPDX-License-Identifier: Apache-2.0

package lang

import (
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"enlace/policy"
)

// clamp reads how long TCP segments may be: true, false, or a number of bytes.
func (d *decoder) clamp(out *policy.Clamp) reader {
	return func(a *hclsyntax.Attribute) {
		v, ok := d.eval(a)
		if !ok {
			return
		}
		if v.Type() == cty.Bool {
			*out = map[bool]policy.Clamp{true: policy.ClampMTU, false: policy.ClampOff}[v.True()]
			return
		}
		n, err := wholeOf(v)
		if err != nil || n < policy.LeastClamp || n > policy.MostClamp {
			d.fail(a.Expr.Range(), "Unusable clamp", "%q wants true (what the interface's MTU leaves) or false, without quotes, or the longest TCP segment in bytes, from %d to %d.", a.Name, policy.LeastClamp, policy.MostClamp)
			return
		}
		*out = policy.Clamp(n)
	}
}

// bypasses gives the links of groups with a flowtable theirs, and complains about flows that nobody would see and that have to be seen: without
// a network inside nothing can bypass anything.
func (d *decoder) bypasses() {
	for i := range d.out.Links {
		l := &d.out.Links[i]
		if !d.saysFlowtable[l.Name] {
			l.Flowtable = d.bypassing[l.Name]
		}
		if l.Flowtable && len(d.out.LANs) == 0 {
			d.fail(d.scope.names["link"][l.Name], "Flowtable without a network inside", "A flowtable is for flows between the links and the interfaces of lan blocks, and there is no lan block. Declare one.")
		}
	}
}
