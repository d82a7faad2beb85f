// SPDX-License-Identifier: Apache-2.0

package main

import (
	_ "embed"
	"io"

	"github.com/spf13/cobra"
)

//go:embed demo.hcl
var demoPolicy string

func demoCommand() *cobra.Command {
	onlyPolicy := false
	cmd := &cobra.Command{
		Use: "demo", Short: "see it work, in network namespaces and with real flows", Args: cobra.NoArgs,
		Long: "Builds an office with two providers and an internet in network namespaces, applies a policy, lets clients and\n" +
			"servers talk, gives one link another address as DHCP would, applies again, and shows what happened. Nothing of this\n" +
			"machine's own network is touched, and no packet leaves it. It takes a few seconds, and needs root or a kernel that lets\n" +
			"users make user namespaces. Exit status: 0 all was right, 1 something was not.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if onlyPolicy {
				_, err := io.WriteString(cmd.OutOrStdout(), demoPolicy)
				return err
			}
			return demonstrate(cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&onlyPolicy, "print-policy", false, "only print the policy that the demo applies")
	return cmd
}
