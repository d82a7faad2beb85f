// SPDX-License-Identifier: Apache-2.0

package lang

import (
	"fmt"
	"reflect"
	"sort"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// reference is what link.x, group.x, lan.x, set.x and the keywords evaluate to. Kind is empty for a keyword.
type reference struct{ Kind, Name string }

// String is the reference as it was written.
func (r reference) String() string {
	if r.Kind == "" {
		return r.Name
	}
	return r.Kind + "." + r.Name
}

var referenceType = cty.Capsule("reference", reflect.TypeOf(reference{}))

// keywords are the names that stand for themselves.
var keywords = []string{"router", "main", "default", "reject", "drop"}

// kinds are the blocks that can be referred to.
var kinds = []string{"link", "group", "lan", "set"}

// scope is what an expression may name.
type scope struct {
	dir    string                          // of the policy
	names  map[string]map[string]hcl.Range // kind, name: where it is declared
	locals map[string]cty.Value
	built  *hcl.EvalContext // of all this, until it changes
}

// context is the scope as HCL wants it.
func (s *scope) context() *hcl.EvalContext {
	if s.built == nil {
		s.built = s.build()
	}
	return s.built
}

// setLocal adds a constant.
func (s *scope) setLocal(name string, v cty.Value) {
	s.locals[name] = v
	s.built = nil
}

func (s *scope) build() *hcl.EvalContext {
	vars := map[string]cty.Value{"local": cty.ObjectVal(s.locals)}
	for _, k := range keywords {
		vars[k] = cty.CapsuleVal(referenceType, &reference{Name: k})
	}
	for _, kind := range kinds {
		members := map[string]cty.Value{}
		for name := range s.names[kind] {
			members[name] = cty.CapsuleVal(referenceType, &reference{kind, name})
		}
		vars[kind] = cty.ObjectVal(members)
	}
	return &hcl.EvalContext{Variables: vars, Functions: functions(s.dir)}
}

// unknown looks for names in an expression that nothing declares, and says what was probably meant.
func (s *scope) unknown(e hclsyntax.Expression) (hcl.Range, string) {
	for _, t := range e.Variables() {
		root := t.RootName()
		declared, isKind := s.declared(root)
		if !isKind {
			if !contains(keywords, root) {
				return t.SourceRange(), fmt.Sprintf("There is nothing called %q. %s", root, s.meant(root))
			}
			continue
		}
		if len(t) < 2 {
			return t.SourceRange(), fmt.Sprintf("Which %s? Write %s.NAME.", root, root)
		}
		member, ok := t[1].(hcl.TraverseAttr)
		if !ok {
			return t.SourceRange(), fmt.Sprintf("Write %s.NAME, without brackets.", root)
		}
		if !contains(declared, member.Name) {
			return t.SourceRange(), fmt.Sprintf("No %s is called %q.%s", root, member.Name, hint(member.Name, declared))
		}
	}
	return hcl.Range{}, ""
}

// declared are the names below a root such as link or local.
func (s *scope) declared(root string) ([]string, bool) {
	var names []string
	switch {
	case root == "local":
		for n := range s.locals {
			names = append(names, n)
		}
	case contains(kinds, root):
		for n := range s.names[root] {
			names = append(names, n)
		}
	default:
		return nil, false
	}
	sort.Strings(names)
	return names, true
}

// meant is the advice for a bare name.
func (s *scope) meant(name string) string {
	for _, kind := range kinds {
		if _, ok := s.names[kind][name]; ok {
			return fmt.Sprintf("Did you mean %s.%s?", kind, name)
		}
	}
	if near := nearest(name, append(append([]string{"local"}, kinds...), keywords...)); near != "" {
		return fmt.Sprintf("Did you mean %q?", near)
	}
	return "Text goes in quotes; references are written link.NAME, group.NAME, lan.NAME, set.NAME or local.NAME."
}

// hint is the sentence that ends a message about an unknown name: a near one, or all of them when they are few.
func hint(name string, known []string) string {
	if near := nearest(name, known); near != "" {
		return fmt.Sprintf(" Did you mean %q?", near)
	}
	if n := len(known); n > 0 && n <= 12 {
		return " Known here: " + strings.Join(known, ", ") + "."
	}
	return ""
}

// nearest is the known name with the least edits: at most two, which are two swapped letters, and not most of the name.
func nearest(name string, known []string) string {
	best, distance := "", 3
	for _, k := range known {
		if n := levenshtein.Distance(strings.ToLower(name), k, nil); n < distance && n*3 <= len(k)*2 {
			best, distance = k, n
		}
	}
	return best
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}
