// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"enlace/watch"
)

func drainCommand(o *options) *cobra.Command {
	now := false
	cmd := &cobra.Command{
		Use: "drain LINK [POLICY]", Short: "take a link out of use, for maintenance", Args: cobra.RangeArgs(1, 2),
		Long: "The link gets no new flows from inside. Those that it has stay until they end, or move at once with --now; what comes in\n" +
			"through it is still answered. It lasts until enlace undrain, or until the machine is started again.\nExit status: 0 done, 1 wrong.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.drain(cmd, args, func(c *watch.Client) (watch.Outcome, error) { return c.Drain(args[0], now) },
				func(f watch.Files) error { return f.Drain(args[0], now) })
		},
	}
	cmd.Flags().BoolVar(&now, "now", false, "move the flows that it has, too")
	return cmd
}

func undrainCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "undrain LINK [POLICY]", Short: "put a drained link back into use", Args: cobra.RangeArgs(1, 2),
		Long: "The link is used again as the policy says.\nExit status: 0 done, 1 wrong.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.drain(cmd, args, func(c *watch.Client) (watch.Outcome, error) { return c.Undrain(args[0]) },
				func(f watch.Files) error {
					_, err := f.Undrain(args[0])
					return err
				})
		},
	}
}

// drain lets the daemon do it, when there is one; otherwise it is done here, and applied.
func (o *options) drain(cmd *cobra.Command, args []string, ask func(*watch.Client) (watch.Outcome, error), note func(watch.Files) error) error {
	files := watch.FilesBelow(o.root)
	switch c, err := watch.Dial(files); {
	case err == nil:
		out, err := ask(c)
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s applied\n", plural(out.Changes, "change"))
		return nil
	case !errors.Is(err, watch.ErrNotRunning):
		return err
	}
	p, path, err := load(cmd, args[1:])
	if err != nil {
		return err
	}
	if _, err := p.LinkNamed(args[0]); err != nil {
		return err
	}
	if err := note(files); err != nil {
		return err
	}
	changes, _, err := o.apply(p, path)
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s applied\n", plural(changes, "change"))
	return nil
}
