// SPDX-License-Identifier: Apache-2.0

package lang

import (
	"fmt"
	"path/filepath"
	"sort"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"enlace/policy"
)

// decoder turns HCL blocks into a policy. It goes on after a mistake, so that all of them are told at once.
type decoder struct {
	out    policy.Policy
	diags  hcl.Diagnostics
	scope  scope
	claims map[string]*hclsyntax.Block // what only one block can have, such as a table number
	lists  []string                    // names of list files
	texts  map[string][]byte           // of list files that are to be quoted, by name
	// bypassing are the links of groups with a flowtable, and the links that say themselves whether they have one.
	bypassing, saysFlowtable map[string]bool
}

func newDecoder() *decoder {
	return &decoder{
		out:    policy.Policy{Settings: policy.DefaultSettings()},
		scope:  scope{names: map[string]map[string]hcl.Range{}, locals: map[string]cty.Value{}},
		claims: map[string]*hclsyntax.Block{},
		texts:  map[string][]byte{},

		bypassing:     map[string]bool{},
		saysFlowtable: map[string]bool{},
	}
}

// fail records an error; say what is wrong and what to do.
func (d *decoder) fail(at hcl.Range, summary, format string, args ...any) {
	d.diags = append(d.diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(format, args...), Subject: &at})
}

// warn records a warning.
func (d *decoder) warn(at hcl.Range, summary, format string, args ...any) {
	d.diags = append(d.diags, &hcl.Diagnostic{Severity: hcl.DiagWarning, Summary: summary, Detail: fmt.Sprintf(format, args...), Subject: &at})
}

// pos is a place in the form that ends in comments of nftables rules.
func pos(r hcl.Range) policy.Pos {
	return policy.Pos{File: filepath.Base(r.Filename), Line: r.Start.Line}
}

// innerBlocks are the blocks within blocks.
var innerBlocks = map[string][]string{"link": {"health"}, "group": {"member"}}

// fields are the attributes that a block may have, and how each is read.
type fields map[string]func(*hclsyntax.Attribute)

// body reads the attributes of a block, and complains about those it does not know and those that are missing.
func (d *decoder) body(b *hclsyntax.Block, known fields, required ...string) {
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	sort.Strings(names)
	attrs := make([]*hclsyntax.Attribute, 0, len(b.Body.Attributes))
	for _, a := range b.Body.Attributes {
		attrs = append(attrs, a)
	}
	sort.Slice(attrs, func(i, j int) bool { return attrs[i].SrcRange.Start.Byte < attrs[j].SrcRange.Start.Byte })
	for _, a := range attrs {
		if read, ok := known[a.Name]; ok {
			read(a)
		} else if later, ok := laterAttributes[b.Type][a.Name]; ok {
			d.fail(a.NameRange, "Not available yet", "%q of a %s %s. Remove it: enlace does not accept what it would ignore.", a.Name, b.Type, later)
		} else {
			if contains(innerBlocks[b.Type], a.Name) {
				d.fail(a.NameRange, "Not an attribute", "%s is a block within a %s: write it without =, as %[1]s { ... }.", a.Name, b.Type)
				continue
			}
			d.fail(a.NameRange, "Unknown attribute", "A %s block has no attribute %q.%s", b.Type, a.Name, hint(a.Name, names))
		}
	}
	for _, name := range required {
		if _, ok := b.Body.Attributes[name]; !ok {
			d.fail(b.DefRange(), "Missing attribute", "A %s block needs %q.", b.Type, name)
		}
	}
}

// nested hands the blocks within a block to a reader, and complains about others.
func (d *decoder) nested(b *hclsyntax.Block, known map[string]func(*hclsyntax.Block)) {
	var names []string
	for name := range known {
		names = append(names, name)
	}
	for _, inner := range b.Body.Blocks {
		if read, ok := known[inner.Type]; ok {
			read(inner)
		} else if later, ok := laterAttributes[b.Type][inner.Type]; ok {
			d.fail(inner.DefRange(), "Not available yet", "%q of a %s %s. Remove it: enlace does not accept what it would ignore.", inner.Type, b.Type, later)
		} else {
			d.fail(inner.DefRange(), "Unknown block", "A %s block has no block %q within it.%s", b.Type, inner.Type, hint(inner.Type, names))
		}
	}
}

// strayAttributes complains about attributes outside any block.
func (d *decoder) strayAttributes(b *hclsyntax.Body) {
	for _, a := range b.Attributes {
		d.fail(a.NameRange, "Attribute outside a block", "%q stands outside any block. Constants go into locals { }, settings into settings { }.", a.Name)
	}
}

// eval evaluates an attribute; false when it cannot be used, which has then been told.
func (d *decoder) eval(a *hclsyntax.Attribute) (cty.Value, bool) {
	if at, what := d.scope.unknown(a.Expr); what != "" {
		d.fail(at, "Unknown name", "%s", what)
		return cty.NilVal, false
	}
	v, diags := a.Expr.Value(d.scope.context())
	d.diags = append(d.diags, diags...)
	if diags.HasErrors() {
		return cty.NilVal, false
	}
	if !v.IsWhollyKnown() {
		return cty.NilVal, false // a constant that failed, and has been told
	}
	if v.IsNull() {
		d.fail(a.Expr.Range(), "No value", "%q has no value. Leave the line out instead.", a.Name)
		return cty.NilVal, false
	}
	return v, true
}

// as evaluates an attribute and converts it to a primitive type.
func (d *decoder) as(a *hclsyntax.Attribute, want cty.Type, what string) (cty.Value, bool) {
	v, ok := d.eval(a)
	if !ok {
		return v, false
	}
	// HCL would turn true into "true" and 5 into "5": a wrong type is a mistake in a policy, except a number in quotes.
	if quoted := want == cty.Number && v.Type() == cty.String; v.Type() != want && !quoted {
		d.fail(a.Expr.Range(), "Wrong type", "%q wants %s.", a.Name, what)
		return v, false
	}
	c, err := convert.Convert(v, want)
	if err != nil {
		d.fail(a.Expr.Range(), "Wrong type", "%q wants %s.", a.Name, what)
		return v, false
	}
	return c, true
}

// elements evaluates an attribute that is one value or a list of values.
func (d *decoder) elements(a *hclsyntax.Attribute) []cty.Value {
	v, ok := d.eval(a)
	if !ok {
		return nil
	}
	t := v.Type()
	if !t.IsTupleType() && !t.IsListType() && !t.IsSetType() {
		return []cty.Value{v}
	}
	list := flatten(v)
	for _, e := range list {
		if e.IsNull() {
			d.fail(a.Expr.Range(), "No value", "%q has an element without a value. Leave it out instead.", a.Name)
			return nil
		}
	}
	if len(list) == 0 {
		advice := "would match nothing. Leave the line out to match everything"
		switch {
		case strings.HasPrefix(a.Name, "not_"):
			advice = "would except nothing. Leave the line out"
		case a.Name == "targets" || a.Name == "link" || a.Name == "snat" || a.Name == "gateway":
			advice = "says nothing. Name one at least, or leave the line out"
		}
		d.fail(a.Expr.Range(), "Empty list", "%q is an empty list, which %s.", a.Name, advice)
	}
	return list
}

// flatten is a list without its inner lists, so that [local.servers, "10.0.0.1"] reads as people mean it.
func flatten(v cty.Value) []cty.Value {
	var out []cty.Value
	for it := v.ElementIterator(); it.Next(); {
		_, e := it.Element()
		if t := e.Type(); t.IsTupleType() || t.IsListType() || t.IsSetType() {
			out = append(out, flatten(e)...)
		} else {
			out = append(out, e)
		}
	}
	return out
}

// claim notes that a block has something of its own, such as a table number, and complains when another block has it. Only
// LANs may share: several networks behind one interface are common.
func (d *decoder) claim(what, value string, b *hclsyntax.Block, a *hclsyntax.Attribute) {
	key := what + " " + value
	first, ok := d.claims[key]
	if !ok {
		d.claims[key] = b
		return
	}
	if first.Type == "lan" && b.Type == "lan" {
		return
	}
	d.fail(a.Expr.Range(), "Used twice", "The %s %s is already that of %s %q (%s). Each needs its own.",
		what, value, first.Type, first.Labels[0], pos(first.DefRange()))
}
