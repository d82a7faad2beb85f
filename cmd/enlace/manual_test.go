// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"enlace/policy/lang"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestManual: the manual page has every command and every flag.
func TestManual(t *testing.T) {
	b, err := os.ReadFile("host/enlace.8.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
			return
		}
		if !c.HasSubCommands() && !strings.Contains(page, "**"+c.CommandPath()+"**") {
			t.Errorf("host/enlace.8.md does not have **%s**", c.CommandPath())
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && f.Name != "help" && f.Name != "version" && !strings.Contains(page, "**--"+f.Name+"**") {
				t.Errorf("host/enlace.8.md does not have **--%s** of %s", f.Name, c.CommandPath())
			}
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root())
}

// TestExample: the policy that comes with the package is right, also with what is commented out.
func TestExample(t *testing.T) {
	b, err := os.ReadFile("host/policy.hcl.example")
	if err != nil {
		t.Fatal(err)
	}
	_, blocks, _ := strings.Cut(string(b), "\n\n")
	for _, text := range []string{string(b), commented.ReplaceAllString(blocks, "$1$2")} {
		if _, report := lang.Parse(lang.Source{Name: "policy.hcl.example", Text: []byte(text)}); len(report.Diagnostics) > 0 {
			t.Errorf("%v\n%s", report.Diagnostics, text)
		}
	}
}

// commented is a line of a block that is commented out; other comments are sentences.
var commented = regexp.MustCompile(`(?m)^( *)# ((?:forward|health|link|  ?interface|  ?health|    targets|  \}|  ?link|  ?protocol|  ?port|  ?to|  ?targets|\}).*)$`)
