// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"strings"
	"testing"

	"enlace/policy"
)

const bypassing = `
lan "office" { interface = "eth0" }
link "virtua" { interface = "eth1" }
link "embratel" {
  interface = "eth2"
  gateway   = "200.252.10.1"
}
group "both" {
  flowtable = true
  member "virtua" {}
  member "embratel" {}
}
default { via = group.both }
`

// TestFlowtableAnew: the flowtable is exchanged in two steps, and what puts flows into it comes after it. Nothing else is touched.
func TestFlowtableAnew(t *testing.T) {
	f := facts()
	before := compiled(t, bypassing, f)
	f.Standings = map[string][2]policy.Standing{"virtua": {policy.V4: {State: policy.Down}}}
	after := compiled(t, bypassing, f)
	if before.Flowtable == nil || after.Flowtable == nil || before.Flowtable.Name == after.Flowtable.Name {
		t.Fatalf("flowtables %+v and %+v, want two names", before.Flowtable, after.Flowtable)
	}
	if n := len(after.Chain(bypassChain).Rules); n != 3 { // embratel has IPv4 only, virtua's IPv6 lives
		t.Errorf("%d rules put flows into the flowtable, want 2, and the one that takes the mark off:\n%s", n, after.Text())
	}
	ch, err := Diff(observed(before), after, nil)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Join(ch.Lines(), "\n")
	for _, want := range []string{"- flowtable " + before.Flowtable.Name, "+ flowtable " + after.Flowtable.Name, "flow add @" + after.Flowtable.Name} {
		if !strings.Contains(lines, want) {
			t.Errorf("%q is not in the change:\n%s", want, lines)
		}
	}
	said := func(b *batch) string {
		var out []string
		for _, about := range b.about {
			out = append(out, about())
		}
		return strings.Join(out, "\n")
	}
	if main := said(ch.main); strings.Contains(main, "flow add") || !strings.HasSuffix(main, "flowtable "+before.Flowtable.Name) {
		t.Errorf("the transaction does not end with the removal of the old flowtable:\n%s", main)
	}
	if tidy := said(ch.late); !strings.HasPrefix(tidy, "flowtable "+after.Flowtable.Name+"\n") || strings.Count(tidy, "flow add") != 2 {
		t.Errorf("the new flowtable is not the first thing after the transaction:\n%s", tidy)
	}
	if len(after.Chain(bypassChain).Rules) != 3 {
		t.Error("comparing has changed the table that was wanted")
	}
	if ch, _ := Diff(observed(after), after, nil); ch.Len() != 0 {
		t.Errorf("the same table differs:\n%s", strings.Join(ch.Lines(), "\n"))
	}
}

// observed is a table as if the kernel had it.
func observed(t Table) *Observed {
	o := &Observed{exists: true, chains: map[string]*observedChain{}, sets: map[string]*observedSet{}}
	for _, c := range t.Chains {
		chain := &observedChain{hook: c.Hook}
		for i, r := range c.Rules {
			chain.rules = append(chain.rules, observedRule{hash: hashOf(r.identity()), handle: uint64(i + 1)})
		}
		o.chains[c.Name] = chain
	}
	for _, s := range t.Sets {
		set := &observedSet{key: s.Key.typ.Magic, flags: s.flags(), elements: map[string]wireElement{}}
		for _, w := range s.wire() {
			set.elements[w.id()] = w
		}
		o.sets[s.Name] = set
	}
	if t.Flowtable != nil {
		o.flowtables = []*Flowtable{t.Flowtable}
	}
	return o
}
