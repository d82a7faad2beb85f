// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestFlowtableMissing: a policy that wants a flowtable works on a kernel without one, which is told. What a flowtable does is tested
// in e2e/vm, on kernels that have it.
func TestFlowtableMissing(t *testing.T) {
	r := newRouter(t)
	out, status := r.enlace("apply", r.write(strings.Replace(links, "table     = 30", "table     = 30\n  flowtable = true", 1), balanced, `default { via = group.balanced }`))
	if status != 0 {
		t.Fatalf("apply: exit %d\n%s", status, out)
	}
	if r.hasFlowtables() {
		t.Log("this kernel has flowtables")
		return
	}
	if !strings.Contains(out, "no-flowtable") {
		t.Errorf("apply on a kernel without flowtables does not say so:\n%s", out)
	}
	script, _ := r.enlace("render", filepath.Join(r.root, "policy.hcl"))
	if !strings.Contains(script, "no-flowtable") || strings.Contains(script, "\tflowtable") {
		t.Errorf("render does not know of that:\n%s", script)
	}
	r.settled()
	if got := r.shares(100, 30, false); got["virtua"] != 20 || got["embratel"] != 10 {
		t.Errorf("shares %v, want 20:10", got)
	}
}

// hasFlowtables asks the kernel by nft.
func (r *router) hasFlowtables() bool {
	_, err := r.Router.Run("nft", "add table inet t; add flowtable inet t f { hook ingress priority 0; devices = { lo }; }; delete table inet t")
	return err == nil
}
