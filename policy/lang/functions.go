// SPDX-License-Identifier: Apache-2.0

package lang

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/go-cty-funcs/cidr"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// functions are what an expression may call. Files are looked up relative to dir, the directory of the policy.
func functions(dir string) map[string]function.Function {
	return map[string]function.Function{
		"cidrhost":   cidr.HostFunc,
		"cidrsubnet": cidr.SubnetFunc,
		"file":       fileFunc(dir),
		"lines":      linesFunc,
	}
}

// fileFunc is file(NAME): the text of a file.
func fileFunc(dir string) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "name", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			name := args[0].AsString()
			if !filepath.IsAbs(name) {
				name = filepath.Join(dir, name)
			}
			text, err := os.ReadFile(name)
			if err != nil {
				return cty.NilVal, function.NewArgError(0, err)
			}
			return cty.StringVal(string(text)), nil
		},
	})
}

// linesFunc is lines(TEXT): its lines without comments (from # or ; on), surrounding blanks and empty lines.
var linesFunc = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "text", Type: cty.String}},
	Type:   function.StaticReturnType(cty.List(cty.String)),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		var out []cty.Value
		for line := range strings.Lines(args[0].AsString()) {
			if c := strings.IndexAny(line, "#;"); c >= 0 {
				line = line[:c]
			}
			if line = strings.TrimSpace(line); line != "" {
				out = append(out, cty.StringVal(line))
			}
		}
		if len(out) == 0 {
			return cty.ListValEmpty(cty.String), nil
		}
		return cty.ListVal(out), nil
	},
})
