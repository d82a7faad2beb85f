// SPDX-License-Identifier: Apache-2.0

package lang

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"go4.org/netipx"
)

// A list file has one address, prefix or range FIRST-LAST in a line, of either family. From # or ; on a line is a comment. Order,
// duplicates and overlaps do not matter.

// largestList is the size of a list file that is read at all: several million lines.
const largestList = 128 << 20

// listFile reads the list file that an attribute names, relative to the policy.
func (d *decoder) listFile(out *[]netipx.IPRange) reader {
	return func(a *hclsyntax.Attribute) {
		v, ok := d.as(a, cty.String, "the name of a file in quotes")
		if !ok {
			return
		}
		name := v.AsString()
		if name == "" {
			d.fail(a.Expr.Range(), "Wrong type", "%q wants the name of a file in quotes.", a.Name)
			return
		}
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(a.SrcRange.Filename), name)
		}
		name = filepath.Clean(name)
		d.lists = append(d.lists, name)
		text, err := readWhole(name, largestList, "a list")
		if err != nil {
			d.fail(a.Expr.Range(), "Unreadable list", "Cannot read the list: %v.", err)
			return
		}
		ranges, bad := parseList(name, text)
		if len(bad) > 0 && !endless(text) { // to be quoted
			d.texts[name] = printable(text)
		}
		d.diags = append(d.diags, bad...)
		if len(ranges) == 0 && len(bad) == 0 {
			d.warn(a.Expr.Range(), "Empty list", "%s has no element: this set has no address.", name)
		}
		*out = ranges
	}
}

// readWhole reads a file of at most so many bytes.
func readWhole(name string, most int64, what string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", name)
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%s has %d bytes; %s has at most %d", name, info.Size(), what, most)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, most+1)) // it may grow meanwhile
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s has more than %d bytes", name, most)
	}
	return text, err
}

// printable is a text without control characters, which could make a terminal do what a stranger's list wants.
func printable(text []byte) []byte {
	out := bytes.Clone(text)
	for i, c := range out {
		if c < ' ' && c != '\n' && c != '\t' || c == 0x7f {
			out[i] = '?'
		}
	}
	return out
}

// endless tells whether a text has a line that nobody wants to see.
func endless(text []byte) bool {
	const most = 4096
	for len(text) > most {
		end := bytes.IndexByte(text[:most], '\n')
		if end < 0 {
			return true
		}
		text = text[end+1:]
	}
	return false
}

// mostBad is how many bad lines of a list are told: a file of something else has nothing but bad lines.
const mostBad = 20

// parseList reads the text of a list file. Lines that cannot be read are reported, each with its place.
func parseList(name string, text []byte) ([]netipx.IPRange, hcl.Diagnostics) {
	out := make([]netipx.IPRange, 0, min(bytes.Count(text, []byte{'\n'})+1, 1<<17))
	var bad hcl.Diagnostics
	at, more := 0, 0
	for number := 1; at < len(text); number++ {
		line, start := text[at:], at
		if end := bytes.IndexByte(line, '\n'); end >= 0 {
			line = line[:end]
			at++
		}
		at += len(line)
		if c := bytes.IndexAny(line, "#;"); c >= 0 {
			line = line[:c]
		}
		if number == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff")) // editors of other systems begin a file with it
		}
		element := string(bytes.TrimSpace(line))
		if element == "" {
			continue
		}
		r, err := listed(element)
		switch {
		case err == nil:
			out = append(out, r)
		case len(bad) < mostBad:
			bad = append(bad, badLine(name, number, start, len(line), err))
		default:
			more++
		}
	}
	if more > 0 {
		bad[mostBad-1].Detail += fmt.Sprintf(" So are %d more lines of this list.", more)
	}
	return out, bad
}

// listed reads an element of a list. Lists of others often have prefixes with bits behind their length; what is meant is clear, but
// whether it is meant is not, so they are refused like in a policy.
func listed(element string) (netipx.IPRange, error) {
	if !utf8.ValidString(element) || len(element) > longestRange {
		return netipx.IPRange{}, fmt.Errorf("this line is not an address, a prefix or a range FIRST-LAST")
	}
	return ParseRange(element)
}

func badLine(name string, number, start, size int, err error) *hcl.Diagnostic {
	from := hcl.Pos{Line: number, Column: 1, Byte: start}
	to := hcl.Pos{Line: number, Column: size + 1, Byte: start + size}
	return &hcl.Diagnostic{
		Severity: hcl.DiagError, Summary: "Unusable line in a list", Detail: capital(err.Error()) + ".",
		Subject: &hcl.Range{Filename: name, Start: from, End: to},
	}
}

// merged are ranges in order, without duplicates and overlaps. The list is sorted in place: netipx.IPSetBuilder does the same with
// six times the memory, which counts at a hundred thousand elements.
func merged(list []netipx.IPRange) []netipx.IPRange {
	slices.SortFunc(list, func(a, b netipx.IPRange) int { return a.From().Compare(b.From()) })
	out := list[:0]
	for _, r := range list {
		if n := len(out); n > 0 {
			last := out[n-1]
			if next := last.To().Next(); !last.To().Less(r.From()) || next.IsValid() && next == r.From() {
				if last.To().Less(r.To()) {
					out[n-1] = netipx.IPRangeFrom(last.From(), r.To())
				}
				continue
			}
		}
		out = append(out, r)
	}
	return out
}
