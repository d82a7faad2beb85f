// SPDX-License-Identifier: Apache-2.0

package lang

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go4.org/netipx"
)

// TestOneMistake reads policies with one mistake each; see TestBad for the comments.
func TestOneMistake(t *testing.T) {
	text, err := os.ReadFile("testdata/bad/one.txt")
	if err != nil {
		t.Fatal(err)
	}
	policies := strings.Split(string(text), "\n-- ")[1:]
	if len(policies) < 60 {
		t.Errorf("%d policies, want at least 60", len(policies))
	}
	for _, p := range policies {
		name, body, _ := strings.Cut(p, " --\n")
		t.Run(name, func(t *testing.T) {
			_, report := Parse(Source{Name: "testdata/bad/policy.hcl", Text: []byte(body)})
			if len(report.Diagnostics) != 1 {
				t.Errorf("%d diagnostics, want one: %v", len(report.Diagnostics), report.Diagnostics)
			}
			for _, problem := range compareLines(body, report, "policy.hcl") {
				t.Error(problem)
			}
		})
	}
}

// TestBadList: every bad line of a list is told, with its place in the list.
func TestBadList(t *testing.T) {
	text, err := os.ReadFile("testdata/lists/bad.txt")
	if err != nil {
		t.Fatal(err)
	}
	policy := "link \"l\" { interface = \"eth1\" }\nset \"s\" { file = \"lists/bad.txt\" }\n"
	_, report := Parse(Source{Name: "testdata/policy.hcl", Text: []byte(policy)})
	for _, problem := range compareLines(string(text), report, "bad.txt") {
		t.Error(problem)
	}
	var b strings.Builder
	if err := report.Write(&b, 90, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"testdata/lists/bad.txt line 3", "3: 10.0.0.300"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in the report:\n%s", want, b.String())
		}
	}
}

// TestList: both families, comments, blank lines, line ends of other systems, duplicates and overlaps.
func TestList(t *testing.T) {
	ranges, bad := parseList("list.txt", []byte("\ufeff10.0.0.0/24\r\n10.0.0.128/25\n\n  10.0.1.0 - 10.0.1.255 ; next to it\n# nothing\n2001:db8::1\n10.0.0.7\n2001:db8::1\n255.255.255.255\n0.0.0.0"))
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	got, want := fmt.Sprint(merged(ranges)), "[0.0.0.0-0.0.0.0 10.0.0.0-10.0.1.255 255.255.255.255-255.255.255.255 2001:db8::1-2001:db8::1]"
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestNotAList: of a file with something else only the first lines are told.
func TestNotAList(t *testing.T) {
	_, bad := parseList("list.txt", []byte(strings.Repeat("<html>\x00\xff\n", 100_000)))
	if len(bad) != mostBad {
		t.Errorf("%d lines are told, want %d", len(bad), mostBad)
	}
}

func FuzzParseList(f *testing.F) {
	names, _ := filepath.Glob("testdata/lists/*.txt")
	for _, n := range append(names, "testdata/abroad.txt") {
		text, err := os.ReadFile(n)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("0.0.0.0/0\n::/0\n1.1.1.1-255.255.255.255;\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		ranges, bad := parseList("list.txt", text)
		for _, d := range bad {
			if r := d.Subject; r.Start.Byte < 0 || r.End.Byte > len(text) || r.Start.Line < 1 {
				t.Fatalf("a place outside the list: %v of %d bytes", r, len(text))
			}
		}
		var b netipx.IPSetBuilder
		for _, r := range ranges {
			b.AddRange(r)
		}
		set, err := b.IPSet()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprint(merged(ranges)), fmt.Sprint(set.Ranges()); got != want {
			t.Fatalf("merged to %s, want %s", got, want)
		}
	})
}
