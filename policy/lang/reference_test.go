// SPDX-License-Identifier: Apache-2.0

package lang

import (
	"os"
	"strings"
	"testing"
)

// TestReferenceExamples parses every example of the reference. The first is a whole policy, on which the others build.
func TestReferenceExamples(t *testing.T) {
	text, err := os.ReadFile("REFERENCE.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(text), "```hcl\n")
	if len(parts) < 5 {
		t.Fatal("no examples")
	}
	base := ""
	for i, p := range parts[1:] {
		example, _, _ := strings.Cut(p, "```")
		if _, report := Parse(Source{Name: "example.hcl", Text: []byte(base + example)}); len(report.Diagnostics) > 0 {
			t.Errorf("example %d: %v\n%s", i+1, report.Diagnostics, example)
		}
		if i == 0 {
			base = example
		}
	}
}

// TestReferenceIsComplete: every block and attribute that the decoder knows stands in the reference, and in the README's policy
// there is nothing that the language does not have.
func TestReferenceIsComplete(t *testing.T) {
	text, err := os.ReadFile("REFERENCE.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{
		"lan", "interface", "networks", "link", "gateway", "table", "mark", "masquerade", "group", "by", "member", "weight", "rule", "from", "to",
		"protocol", "port", "source_port", "tos", "dscp", "via", "otherwise", "forward", "set", "elements", "default", "locals", "settings",
		"mark_mask", "rule_priority", "table_base", "forwarding", "rp_filter",
		"tier", "flows", "snat", "on_change", "health", "targets", "quorum", "interval", "silence", "loss", "latency", "hold", "longest_hold", "enabled", "hairpin",
		"not_from", "not_to", "mac", "user", "redirect", "to_port", "file",
	} {
		if !strings.Contains(string(text), "`"+word) && !strings.Contains(string(text), "## "+word) && !strings.Contains(string(text), word+" = ") {
			t.Errorf("the reference lacks %s", word)
		}
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(readme), "```hcl\n")
	example, _, _ = strings.Cut(example, "```")
	if _, report := Parse(Source{Name: "README.md", Text: []byte(example)}); len(report.Diagnostics) > 0 {
		t.Errorf("README: %v", report.Diagnostics)
	}
}
