// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net"
	"strings"

	"github.com/spf13/cobra"

	"enlace/policy/lang"
	"enlace/watch"
)

// completions tells shells what may stand after a command.
func (o *options) completions(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		o.completions(c)
		switch {
		case strings.Contains(c.Use, "[POLICY]"):
			c.ValidArgsFunction = cobra.FixedCompletions([]cobra.Completion{"hcl"}, cobra.ShellCompDirectiveFilterFileExt)
		case strings.Contains(c.Use, "LINK"):
			c.ValidArgsFunction = o.linkNames
		case c.ValidArgsFunction == nil && !c.HasSubCommands():
			c.ValidArgsFunction = cobra.NoFileCompletions
		}
		if c.PersistentFlags().Lookup("interface") != nil {
			_ = c.RegisterFlagCompletionFunc("interface", interfaceNames)
		}
	}
}

// linkNames are those of the daemon, or of the usual policy when it does not answer.
func (o *options) linkNames(_ *cobra.Command, already []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var names []cobra.Completion
	add := func(name string) {
		for _, a := range already {
			if a == name {
				return
			}
		}
		names = append(names, name)
	}
	if c, err := watch.Dial(watch.FilesBelow(o.root)); err == nil {
		if s, err := c.Status(); err == nil {
			for _, l := range s.Links {
				add(l.Name)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		}
	}
	if path, err := policyPath(nil); err == nil {
		p, _ := lang.Load(path)
		for _, l := range p.Links {
			add(l.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func interfaceNames(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var names []cobra.Completion
	list, _ := net.Interfaces()
	for _, i := range list {
		names = append(names, i.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
