// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestStatusDocumented: every field of the status stands in STATUS.md.
func TestStatusDocumented(t *testing.T) {
	text, err := os.ReadFile("STATUS.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[reflect.Type]bool{}
	var walk func(t reflect.Type, names func(string) []string)
	check := func(names []string) {
		for _, n := range names {
			if strings.Contains(string(text), "`"+n+"`") {
				return
			}
		}
		t.Errorf("STATUS.md does not tell of %q", names)
	}
	walk = func(typ reflect.Type, names func(string) []string) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || seen[typ] || typ.PkgPath() != reflect.TypeFor[Status]().PkgPath() {
			return
		}
		seen[typ] = true
		for i := range typ.NumField() {
			f := typ.Field(i)
			if !f.IsExported() {
				continue
			}
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" {
				t.Errorf("%s.%s has no name in JSON", typ.Name(), f.Name)
			}
			full := names(name)
			elem := f.Type
			suffix := "."
			for elem.Kind() == reflect.Pointer || elem.Kind() == reflect.Slice {
				if elem.Kind() == reflect.Slice {
					suffix = "[]."
				}
				elem = elem.Elem()
			}
			if elem.Kind() == reflect.Struct && elem.PkgPath() == typ.PkgPath() {
				walk(elem, func(n string) []string {
					list := []string{"…." + n}
					for _, above := range full {
						list = append(list, above+suffix+n)
					}
					return list
				})
				continue
			}
			check(full)
		}
	}
	walk(reflect.TypeFor[Status](), func(n string) []string { return []string{n} })
	if len(seen) < 8 {
		t.Errorf("only %d types were looked at", len(seen))
	}
}
