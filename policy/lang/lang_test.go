// SPDX-License-Identifier: Apache-2.0

package lang

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"

	"enlace/policy"
)

// TestBad reads policies with mistakes. What has to be said of a line stands on that line, behind # ERROR: or # WARNING:, several
// things with || between. Nothing else may be said.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.hcl")
	if err != nil || len(files) == 0 {
		t.Fatal("no fixtures", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, report := Load(file)
			for _, problem := range compareLines(string(text), report, filepath.Base(file)) {
				t.Error(problem)
			}
		})
	}
}

// compareLines compares what was said of every line of a file with the line's comment.
func compareLines(text string, report Report, file string) (problems []string) {
	said := map[int][]string{} // by line
	for _, d := range report.Diagnostics {
		severity := map[hcl.DiagnosticSeverity]string{hcl.DiagError: "ERROR", hcl.DiagWarning: "WARNING"}[d.Severity]
		if filepath.Base(d.Subject.Filename) == file {
			said[d.Subject.Start.Line] = append(said[d.Subject.Start.Line], severity+": "+d.Summary+": "+d.Detail)
		}
	}
	for i, line := range strings.Split(text, "\n") {
		if problem := compare(line, said[i+1]); problem != "" {
			problems = append(problems, fmt.Sprintf("line %d: %s: %s", i+1, line, problem))
		}
	}
	return problems
}

// compare tells how what was said of a line differs from what its comment asks for.
func compare(line string, said []string) string {
	var wanted []string
	severity := ""
	for _, s := range []string{"ERROR", "WARNING"} {
		if _, after, ok := strings.Cut(line, "# "+s+": "); ok {
			severity, wanted = s, strings.Split(after, " || ")
		}
	}
	for _, w := range wanted {
		found := false
		for _, s := range said {
			found = found || strings.HasPrefix(s, severity) && strings.Contains(s, w)
		}
		if !found {
			return fmt.Sprintf("not said: %q; said: %q", w, said)
		}
	}
	if len(said) > max(len(wanted), 0) {
		return fmt.Sprintf("said too much: %q", said)
	}
	return ""
}

// TestReportShowsTheLine: a diagnostic has the file, the line, the line itself and what to do; numbers in hexadecimal stay as
// they were written.
func TestReportShowsTheLine(t *testing.T) {
	_, report := Parse(Source{Name: "office.hcl", Text: []byte("link \"a\" {\n  interface = \"eth1\"\n}\nrule \"r\" {\n  tos = 0x02\n  via = link.a\n}\n")})
	var b bytes.Buffer
	if err := report.Write(&b, 90, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"office.hcl line 5", "5:   tos = 0x02", "0x02 never arrives"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("report lacks %q:\n%s", want, b.String())
		}
	}
}

func TestGood(t *testing.T) {
	p, report := Parse(Source{Name: "dir/good.hcl", Text: []byte(good)})
	if report.HasErrors() || len(report.Diagnostics) > 0 {
		t.Fatal(report.Diagnostics)
	}
	r := p.Rules[0]
	var from []string
	for _, o := range r.Match.From {
		from = append(from, o.Range.String())
	}
	for _, c := range []struct{ what, want, got any }{
		{"from", []string{"10.1.0.20-10.1.0.20", "10.1.0.21-10.1.0.21", "10.1.7.0-10.1.7.255"}, from},
		{"kinds of to", []policy.OperandKind{policy.OfSet, policy.OfLAN, policy.Literal}, []policy.OperandKind{r.Match.To[0].Kind, r.Match.To[1].Kind, r.Match.To[2].Kind}},
		{"protocols", []policy.Protocol{17, 6}, r.Match.Protocols},
		{"ports", []policy.PortRange{{First: 53, Last: 53}, {First: 1000, Last: 1000}, {First: 2000, Last: 3000}}, r.Match.Ports},
		{"source ports", []policy.PortRange{{First: 53, Last: 53}}, r.Match.SourcePorts},
		{"dscp", []uint8{46, 8}, r.Match.DSCP},
		{"marks", []policy.MaskedMark{{Value: 0x10, Mask: 0xf0}, {Value: 5, Mask: 0xfffff0ff}}, r.Match.Marks},
		{"interfaces", []string{"wg0"}, r.Match.Interfaces},
		{"targets", []policy.Target{{Kind: policy.ToGroup, Name: "g"}, {Kind: policy.ToLink, Name: "b"}}, []policy.Target{r.Via, r.Otherwise}},
		{"place", "good.hcl:18", r.Pos.String()},
		{"own", []any{true, []uint8{2}, policy.Target{Kind: policy.ToMain}}, []any{p.Rules[1].Match.Router, p.Rules[1].Match.DSCP, p.Rules[1].Via}},
		{"forward", "[fd00::1]:53", p.Forwards[0].To.String()},
		{"group", policy.Group{Name: "g", By: policy.ByRoute, Members: []policy.Member{{Link: "b", Weight: 3, Tier: 1}, {Link: "a", Weight: 1, Tier: 1}}, Pos: policy.Pos{File: "good.hcl", Line: 12}}, p.Groups[0]},
		{"set", 2, len(p.Sets[0].Ranges)},
		{"masquerade", []bool{false, true}, []bool{p.Links[0].Masquerade, p.Links[1].Masquerade}},
		{"gateways", "200.252.10.1 2001:db8::1", fmt.Sprint(p.Links[0].Gateway[0], p.Links[0].Gateway[1])},
		{"settings", policy.Settings{MarkMask: 0xf00, RulePriority: 2000, TableBase: 7, Protocol: 77}, p.Settings},
		{"default", policy.Target{Kind: policy.ToLink, Name: "a"}, p.Default},
	} {
		if d := cmp.Diff(c.want, c.got); d != "" {
			t.Errorf("%s (-want +got)\n%s", c.what, d)
		}
	}
}

const good = `locals {
  servers = [local.web, cidrhost("10.1.0.0/24", 21), cidrsubnet("10.1.0.0/16", 8, 7)]
  web     = "10.1.0.20"
}
lan "office" { interface = "eth0" }
link "a" {
  interface  = "eth1"
  gateway    = ["200.252.10.1", "2001:db8::1"]
  masquerade = false
}
link "b" { interface = "eth2" }
group "g" {
  by = "route"
  member "b" { weight = 3 }
  member "a" {}
}
set "s" { elements = ["10.0.0.0/9", "10.128.0.0/9", "::1"] }
rule "r" {
  from        = local.servers
  to          = [set.s, lan.office, "1.2.3.4-1.2.3.9"]
  protocol    = ["udp", 6]
  port        = ["domain", 1000, "2000-3000"]
  source_port = 53
  dscp        = ["ef", 8]
  mark        = ["0x10/0xf0", 5]
  interface   = "wg0"
  via         = group.g
  otherwise   = link.b
}
rule "own" {
  from = router
  tos  = 0x08
  via  = main
}
forward "f" {
  link     = link.b
  protocol = "udp"
  port     = 53
  to       = "fd00::1"
}
default { via = link.a }
settings {
  mark_mask     = 0x00000f00
  rule_priority = 2000
  table_base    = 7
  protocol      = 77
  forwarding    = false
  rp_filter     = false
}
`

// TestDirectory: the files of a directory are one policy, in the order of their names.
func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"20-rules.hcl": "rule \"b\" { via = link.a }\n", "10-links.hcl": "link \"a\" { interface = \"eth1\" }\nrule \"a\" {\n  to = lines(file(\"nets.txt\"))\n  via = main\n}\n",
		"notes.txt": "not a policy", "nets.txt": "# banks\n10.0.0.0/8\n\n  192.168.0.0/16  # more\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, report := Load(dir)
	if report.HasErrors() || len(p.Rules) != 2 || p.Rules[0].Name != "a" || len(p.Rules[0].Match.To) != 2 {
		t.Errorf("%+v %v", p.Rules, report.Diagnostics)
	}
	if _, report := Load(t.TempDir()); !report.HasErrors() {
		t.Error("an empty directory is a policy, want an error")
	}
}

// FuzzParse: no text makes the parser panic, and what it accepts can be derived.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/bad/*.hcl")
	for _, file := range files {
		text, _ := os.ReadFile(file)
		f.Add(text)
	}
	f.Add([]byte(good))
	f.Fuzz(func(_ *testing.T, text []byte) {
		p, report := Parse(Source{Name: "fuzz.hcl", Text: text})
		if !report.HasErrors() {
			policy.Derive(p, policy.Facts{})
		}
	})
}

// FuzzParseRange: what is accepted is a range of one family.
func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"10.0.0.0/8", "1.2.3.4", "1.2.3.4-1.2.3.9", "::1-::2", "::ffff:1.2.3.4", "-", "/", "fe80::1%eth0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := ParseRange(s); err == nil && (!r.IsValid() || r.From().Is4() != r.To().Is4() || r.From().Is4In6()) {
			t.Errorf("%q became %v", s, r)
		}
	})
}
