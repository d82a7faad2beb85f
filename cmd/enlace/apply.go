// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"enlace/policy"
	"enlace/policy/lang"
	"enlace/watch"
)

func applyCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "apply [POLICY]", Short: "bring the kernel to what the policy wants", Args: cobra.MaximumNArgs(1),
		Long: "Writes what differs between the kernel and the policy: routes and rules that are added, then the nftables table,\n" +
			"then what is removed. Running it again writes nothing. When a part fails, what was done is undone.\n" +
			"A link that is missing or has no gateway yet is a problem, not an error: the rest is applied.\nExit status: 0 done, 1 wrong.",
		RunE: func(cmd *cobra.Command, args []string) error {
			p, path, err := load(cmd, args)
			if err != nil {
				return err
			}
			changes, problems, err := o.apply(p, path)
			if err != nil {
				return err
			}
			for _, text := range problems {
				fmt.Fprintf(cmd.ErrOrStderr(), "problem: %s\n", text)
			}
			if changes == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "no changes")
				return nil
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s applied\n", plural(changes, "change"))
			return nil
		},
	}
}

// apply lets the daemon do it, when there is one: it keeps the table to itself, and would undo what it did not do.
func (o *options) apply(p policy.Policy, path string) (changes int, problems []string, err error) {
	switch c, err := watch.Dial(watch.FilesBelow(o.root)); {
	case err == nil:
		if path, err = filepath.Abs(path); err != nil {
			return 0, nil, err
		}
		out, err := c.Apply(path)
		return out.Changes, out.Problems, err
	case !errors.Is(err, watch.ErrNotRunning):
		return 0, nil, err
	}
	k, err := o.open()
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	pass, err := k.Apply(p)
	if err != nil {
		return 0, nil, err
	}
	for _, p := range pass.Problems {
		problems = append(problems, p.String())
	}
	return pass.Len(), problems, nil
}

func downCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "down [POLICY]", Short: "remove everything that enlace made", Args: cobra.MaximumNArgs(1),
		Long: "Removes the table, the ip rules and the routes of enlace, puts sysctls back to what they were before the first\n" +
			"apply, forwarding included, and touches nothing else. The policy is read only for settings { protocol }, by which\nour routes and rules are recognized; without any policy the default is used.",
		RunE: func(cmd *cobra.Command, args []string) error {
			settings, doubt := policy.DefaultSettings(), error(nil)
			if path, err := policyPath(args); err == nil {
				// In an emergency a mistake in the policy must not stand in the way.
				if p, report := lang.Load(path); !report.HasErrors() {
					settings = p.Settings
				} else {
					if p.Settings.Protocol != 0 { // as much as could be read
						settings = p.Settings
					}
					doubt = fmt.Errorf("%s cannot be used, so what was removed is what carries protocol %d: if settings said another one, see `ip rule` and `ip route show table all`", path, settings.Protocol)
				}
			}
			lines, err := o.down(settings)
			for _, l := range lines {
				fmt.Fprintln(cmd.OutOrStdout(), l)
			}
			if err == nil && len(lines) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "nothing to remove")
			}
			return errors.Join(err, doubt)
		},
	}
}

// down lets the daemon do it, when there is one, and end.
func (o *options) down(s policy.Settings) (lines []string, err error) {
	switch c, err := watch.Dial(watch.FilesBelow(o.root)); {
	case err == nil:
		out, err := c.Down()
		return out.Lines, err
	case !errors.Is(err, watch.ErrNotRunning):
		return nil, err
	}
	k, err := o.open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	return k.Down(s)
}
