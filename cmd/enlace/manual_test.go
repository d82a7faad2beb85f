// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"testing"

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
