// SPDX-License-Identifier: Apache-2.0

// Package lang reads policies written by hand in HCL and checks them. What it returns is a complete, consistent
// policy.Policy, or diagnostics that say, for every mistake at once, where it is and what to do.
package lang

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"enlace/policy"
)

// Report holds the diagnostics of a policy, sorted by place, and the sources that they quote.
type Report struct {
	Diagnostics hcl.Diagnostics
	files       map[string]*hcl.File
	lists       []string
}

// HasErrors tells whether the policy cannot be used. Warnings alone do not forbid it.
func (r Report) HasErrors() bool { return r.Diagnostics.HasErrors() }

// Lists are the names of the list files that the policy names, those that could not be read included.
func (r Report) Lists() []string { return r.lists }

// Count returns how many errors and warnings there are.
func (r Report) Count() (errors, warnings int) {
	for _, d := range r.Diagnostics {
		if d.Severity == hcl.DiagError {
			errors++
		} else {
			warnings++
		}
	}
	return errors, warnings
}

// mostShown is how many diagnostics are printed: nobody reads more at once, and printing looks each line up from the beginning.
const mostShown = 50

// Write prints diagnostics, the first of very many, with their files, lines, the lines themselves and what to do, wrapped at width
// columns.
func (r Report) Write(w io.Writer, width uint, color bool) error {
	list := r.Diagnostics
	more := max(len(list)-mostShown, 0)
	if err := hcl.NewDiagnosticTextWriter(w, r.files, width, color).WriteDiagnostics(list[:len(list)-more]); err != nil || more == 0 {
		return err
	}
	_, err := fmt.Fprintf(w, "... and %d more like these.\n\n", more)
	return err
}

// Load reads a policy from a file, or from all files named *.hcl of a directory in the order of their names. An error of
// the file system is a diagnostic too. The policy is only to be used when the report has no errors.
func Load(path string) (policy.Policy, Report) {
	sources, err := read(path)
	if err != nil {
		return policy.Policy{}, Report{Diagnostics: hcl.Diagnostics{{
			Severity: hcl.DiagError, Summary: "Cannot read the policy", Detail: err.Error() + ".",
		}}}
	}
	return Parse(sources...)
}

// Source is the text of one policy file. Files that its text refers to are looked up relative to Name's directory.
type Source struct {
	Name string
	Text []byte
}

// Parse reads a policy from sources in memory, which are tried in the given order.
func Parse(sources ...Source) (policy.Policy, Report) {
	d := newDecoder()
	report := Report{files: map[string]*hcl.File{}}
	var blocks hclsyntax.Blocks
	readable := true
	for _, s := range sources {
		file, diags := hclsyntax.ParseConfig(decimalized(s.Text), s.Name, hcl.InitialPos)
		for _, said := range diags {
			if said.Summary == "Invalid single-argument block definition" {
				said.Detail += " Write each attribute on a line of its own."
			}
		}
		d.diags = append(d.diags, diags...)
		report.files[s.Name] = &hcl.File{Bytes: s.Text}
		readable = readable && !diags.HasErrors()
		if file == nil {
			continue
		}
		body := file.Body.(*hclsyntax.Body)
		d.strayAttributes(body)
		blocks = append(blocks, body.Blocks...)
	}
	if readable { // of a file that is cut off in the middle every reference would seem wrong
		d.policy(blocks)
	}
	for name, text := range d.texts {
		report.files[name] = &hcl.File{Bytes: text}
	}
	report.lists = d.lists
	report.Diagnostics = tidy(d.diags)
	return d.out, report
}

// read returns the sources at a path. Hidden files of a directory are left alone: editors keep their copies there.
func read(path string) ([]Source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	names := []string{path}
	if info.IsDir() {
		entries, err := os.ReadDir(path) // sorted by name
		if err != nil {
			return nil, err
		}
		names = nil
		for _, e := range entries {
			if filepath.Ext(e.Name()) == ".hcl" && !strings.HasPrefix(e.Name(), ".") {
				names = append(names, filepath.Join(path, e.Name()))
			}
		}
		if len(names) == 0 {
			return nil, fmt.Errorf("directory %s holds no file named *.hcl", path)
		}
	}
	var out []Source
	for _, name := range names {
		text, err := readText(name)
		if err != nil {
			return nil, err
		}
		out = append(out, Source{Name: name, Text: text})
	}
	return out, nil
}

// largest is the size of a policy file that is read at all: a hundred thousand lines. Long lists go into files of their own.
const largest = 8 << 20

// readText reads a file that can be a policy.
func readText(name string) ([]byte, error) {
	text, err := readWhole(name, largest, "a policy")
	if err != nil {
		return nil, err
	}
	if bytes.IndexByte(text, 0) >= 0 || !utf8.Valid(text) {
		return nil, fmt.Errorf("%s is not a text in UTF-8", name)
	}
	return text, nil
}

// tidy sorts diagnostics by place and drops what repeats: HCL reports some mistakes of one expression twice.
func tidy(diags hcl.Diagnostics) hcl.Diagnostics {
	sort.SliceStable(diags, func(i, j int) bool {
		a, b := diags[i].Subject, diags[j].Subject
		if a == nil || b == nil {
			return a == nil && b != nil
		}
		if a.Filename != b.Filename {
			return a.Filename < b.Filename
		}
		return a.Start.Byte < b.Start.Byte
	})
	var out hcl.Diagnostics
	for _, d := range diags {
		if n := len(out); n > 0 && d.Subject != nil && out[n-1].Subject != nil &&
			*out[n-1].Subject == *d.Subject && (out[n-1].Detail == d.Detail || d.Detail == "") {
			continue
		}
		out = append(out, d)
	}
	return out
}
