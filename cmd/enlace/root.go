// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"enlace/policy"
	"enlace/policy/lang"
	"enlace/watch"
)

// version is set when a release is built: -ldflags "-X main.version=1.2.3".
var version = "0.1.0-dev"

const intro = `enlace makes a Linux machine with several internet links a router that uses all of them.

One policy file says which links there are and which flows use which. enlace turns it
into routes, ip rules and one nftables table, and keeps every flow on its link.

POLICY is a file or a directory of *.hcl files. It defaults to /etc/enlace/policy.hcl,
else /etc/enlace/policy.d. To begin, look at what it does without touching anything:

    enlace demo                   see it work in network namespaces
    enlace check  my-policy.hcl   find mistakes
    enlace plan   my-policy.hcl   see what would change
    enlace apply  my-policy.hcl   do it
    enlace watch  my-policy.hcl   do it, and follow every change
    enlace status                 how things are`

// options are what all commands share.
type options struct {
	root string // where files are kept; "/" except in tests
}

func root() *cobra.Command {
	o := &options{}
	cmd := &cobra.Command{
		Use: "enlace", Short: "multi-WAN router", Long: intro, Version: version,
		SilenceErrors: true, SilenceUsage: true,
	}
	cmd.PersistentFlags().StringVar(&o.root, "root", "/", "directory below which enlace keeps its files")
	_ = cmd.PersistentFlags().MarkHidden("root")
	cmd.SetVersionTemplate("enlace {{.Version}}\n")
	cmd.AddCommand(checkCommand(), planCommand(o), applyCommand(o), watchCommand(o), statusCommand(o), drainCommand(o), undrainCommand(o),
		renderCommand(o), leaseCommand(o), downCommand(o), demoCommand(), versionCommand())
	o.completions(cmd)
	return cmd
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "enlace %s\n", version)
			return err
		},
	}
}

// usualPolicies are tried in this order when no policy is named.
var usualPolicies = []string{"/etc/enlace/policy.hcl", "/etc/enlace/policy.d"}

// policyPath is the policy that the arguments name, or the usual one.
func policyPath(args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	for _, p := range usualPolicies {
		if _, err := os.Stat(p); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return p, nil
		}
	}
	return "", fmt.Errorf("there is no policy: write %s, or name a file", usualPolicies[0])
}

// load reads the policy and prints what is wrong with it. With errors it ends the command.
func load(cmd *cobra.Command, args []string) (policy.Policy, string, error) {
	path, err := policyPath(args)
	if err != nil {
		return policy.Policy{}, "", err
	}
	p, report := lang.Load(path)
	if err := report.Write(cmd.ErrOrStderr(), width(), isTerminal(os.Stderr)); err != nil {
		return p, path, err
	}
	if report.HasErrors() {
		n, _ := report.Count()
		fmt.Fprintf(cmd.ErrOrStderr(), "enlace: %s: %s%s\n", path, plural(n, "error"), map[bool]string{true: "; nothing was changed"}[cmd.Name() == "apply"])
		return p, path, status(exitWrong)
	}
	return p, path, nil
}

// open connects to the kernel.
func (o *options) open() (*watch.Kernel, error) { return watch.Open(watch.FilesBelow(o.root)) }

// sayProblems prints where policy and host disagree. It is not an error: the rest works.
func sayProblems(w io.Writer, problems []policy.Problem) {
	for _, p := range problems {
		fmt.Fprintf(w, "problem: %s\n", p)
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// width is that of the terminal, or 100 columns.
func width() uint {
	if ws, err := unix.IoctlGetWinsize(int(os.Stderr.Fd()), unix.TIOCGWINSZ); err == nil && ws.Col >= 40 {
		return uint(ws.Col)
	}
	return 100
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil && os.Getenv("NO_COLOR") == ""
}
