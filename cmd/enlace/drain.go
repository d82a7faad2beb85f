// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"enlace/watch"
)

func drainCommand(o *options) *cobra.Command {
	now, file := false, ""
	cmd := &cobra.Command{
		Use: "drain LINK...", Short: "take links out of use, for maintenance", Args: someLinks,
		Long: "The links get no new flows from inside, as long as another works. Those that they have stay until they end, or move at once with\n" +
			"--now; what comes in through them is still answered. It lasts until enlace undrain, or until the machine is started again.\n" +
			"Exit status: 0 done, 1 wrong.",
		RunE: func(cmd *cobra.Command, links []string) error {
			return o.drain(cmd, links, file, "drained", func(c *watch.Client, link string) (watch.Outcome, error) { return c.Drain(link, now) },
				func(f watch.Files, link string) error { return f.Drain(link, now) })
		},
	}
	cmd.Flags().BoolVar(&now, "now", false, "move the flows that they have, too")
	cmd.Flags().StringVar(&file, "policy", "", "the policy, when enlace watch does not run and it is not the usual one")
	return cmd
}

func undrainCommand(o *options) *cobra.Command {
	file := ""
	cmd := &cobra.Command{
		Use: "undrain LINK...", Short: "put drained links back into use", Args: someLinks,
		Long: "The links are used again as the policy says.\nExit status: 0 done, 1 wrong.",
		RunE: func(cmd *cobra.Command, links []string) error {
			return o.drain(cmd, links, file, "in use", func(c *watch.Client, link string) (watch.Outcome, error) { return c.Undrain(link) },
				func(f watch.Files, link string) error {
					_, err := f.Undrain(link)
					return err
				})
		},
	}
	cmd.Flags().StringVar(&file, "policy", "", "the policy, when enlace watch does not run and it is not the usual one")
	return cmd
}

func someLinks(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("name a link; enlace status shows them")
	}
	return nil
}

// drain lets the daemon do it, when there is one; otherwise it is done here, and applied.
func (o *options) drain(cmd *cobra.Command, links []string, file, done string,
	ask func(*watch.Client, string) (watch.Outcome, error), note func(watch.Files, string) error,
) error {
	files := watch.FilesBelow(o.root)
	switch c, err := watch.Dial(files); {
	case err == nil:
		for _, link := range links {
			out, err := ask(c, link)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is %s; %s\n", link, done, plural(out.Changes, "change"))
		}
		return nil
	case !errors.Is(err, watch.ErrNotRunning):
		return err
	}
	var args []string
	if file != "" {
		args = []string{file}
	}
	p, path, err := load(cmd, args)
	if err != nil {
		return err
	}
	for _, link := range links {
		if _, err := p.LinkNamed(link); err != nil {
			return err
		}
	}
	for _, link := range links {
		if err := note(files, link); err != nil {
			return err
		}
	}
	changes, _, err := o.apply(p, path)
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %s; %s\n", strings.Join(links, ", "), done, plural(changes, "change"))
	return nil
}
