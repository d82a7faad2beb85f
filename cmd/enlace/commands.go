// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"enlace/nft"
	"enlace/policy"
	"enlace/rtnl"
	"enlace/watch"
)

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check [POLICY]", Short: "find mistakes in a policy, without touching the network", Args: cobra.MaximumNArgs(1),
		Long: "Reads a policy and prints every error and warning with its file, its line and what to do.\nExit status: 0 usable, 1 not.",
		RunE: func(cmd *cobra.Command, args []string) error {
			p, path, err := load(cmd, args)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s: usable\n", path, contents(p))
			return err
		},
	}
}

// contents counts what is in a policy.
func contents(p policy.Policy) string {
	out := []string{plural(len(p.Links), "link"), plural(len(p.Rules), "rule"), plural(len(p.Forwards), "forward")}
	if n := len(p.Redirects); n > 0 {
		out = append(out, plural(n, "redirect"))
	}
	for _, s := range p.Sets {
		out = append(out, fmt.Sprintf("set %s of %s", s.Name, plural(len(s.Ranges), "range")))
	}
	return strings.Join(out, ", ")
}

func planCommand(o *options) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use: "plan [POLICY]", Short: "show what apply would change", Args: cobra.MaximumNArgs(1),
		Long: "Compares the kernel with what the policy wants and prints the difference, a line for each object:\n" +
			"+ would be added, - removed, ~ replaced. Nothing is written.\nExit status: 0 no changes, 2 changes, 1 wrong.",
		RunE: func(cmd *cobra.Command, args []string) error {
			p, _, err := load(cmd, args)
			if err != nil {
				return err
			}
			return o.plan(cmd, p, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, for programs")
	return cmd
}

// planned is the JSON form of a plan.
type planned struct {
	Changes  []string         `json:"changes"`
	Problems []plannedProblem `json:"problems"`
}

type plannedProblem struct {
	Code    policy.Code `json:"code"`
	Subject string      `json:"subject"`
	Text    string      `json:"text"`
	Place   string      `json:"place,omitempty"`
}

func (o *options) plan(cmd *cobra.Command, p policy.Policy, asJSON bool) (err error) {
	k, err := o.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	pass, err := k.Compare(p)
	if err != nil {
		return err
	}
	if asJSON {
		err = writeJSON(cmd.OutOrStdout(), pass.Lines(), pass.Problems)
	} else {
		sayProblems(cmd.ErrOrStderr(), pass.Problems)
		for _, l := range pass.Lines() {
			fmt.Fprintln(cmd.OutOrStdout(), l)
		}
		if pass.Empty() {
			fmt.Fprintln(cmd.OutOrStdout(), "no changes")
		}
	}
	if err == nil && !pass.Empty() {
		return status(exitChanges)
	}
	return err
}

func writeJSON(w io.Writer, lines []string, problems []policy.Problem) error {
	out := planned{Changes: append([]string{}, lines...), Problems: []plannedProblem{}}
	for _, p := range problems {
		out.Problems = append(out.Problems, plannedProblem{p.Code, p.Subject, p.Text, p.Pos.String()})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

func renderCommand(o *options) *cobra.Command {
	facts := ""
	dump := false
	cmd := &cobra.Command{
		Use: "render [POLICY]", Short: "print the whole plan as a shell script of sysctl, ip and nft", Args: cobra.MaximumNArgs(1),
		Long: "Prints what the policy means on this host, or, with --facts, on the host that a file describes, as commands to read\n" +
			"and to compare. --print-facts prints such a file.",
		RunE: func(cmd *cobra.Command, args []string) error {
			p, _, err := load(cmd, args)
			if err != nil {
				return err
			}
			f, err := o.facts(p, facts)
			if err != nil {
				return err
			}
			if dump {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(f)
			}
			plan, problems := policy.Derive(p, f)
			sayProblems(cmd.ErrOrStderr(), problems)
			return render(cmd.OutOrStdout(), plan)
		},
	}
	cmd.Flags().StringVar(&facts, "facts", "", "file that describes a host, instead of this one")
	cmd.Flags().BoolVar(&dump, "print-facts", false, "print what was observed of this host, for --facts")
	return cmd
}

// facts are those of a file, or of the kernel when no file is named.
func (o *options) facts(p policy.Policy, file string) (f policy.Facts, err error) {
	if file == "" {
		c, err := rtnl.Open()
		if err != nil {
			return f, err
		}
		f, _, err = c.Observe(p.Settings.Protocol)
		f.Numbers, f.NoFlowtable = present(p)
		f.Leases, _ = watch.FilesBelow(o.root).Leases.Read(f.Interfaces, time.Now())
		return f, errors.Join(err, c.Close())
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return f, fmt.Errorf("%s: %w", file, err)
	}
	return f, nil
}

// present are the numbers that links have in the kernel, and whether it lacks the flowtable that the policy wants. Without the right to look
// there are no numbers, as on a fresh host, and nothing is lacking.
func present(p policy.Policy) (numbers map[string]uint8, lacks bool) {
	c, err := nft.Open()
	if err != nil {
		return nil, false
	}
	defer func() { _ = c.Close() }()
	if p.WantsFlowtable() {
		has, err := c.Offloads()
		lacks = err == nil && !has
	}
	table, err := c.Observe()
	if err != nil {
		return nil, lacks
	}
	return table.Numbers(p.Settings.MarkMask), lacks
}

// render prints a plan as a shell script.
func render(w io.Writer, plan policy.Plan) error {
	s := rtnl.Compile(plan)
	for _, c := range s.Sysctls {
		fmt.Fprintf(w, "sysctl -w %s=%s\n", c.Name, c.Value)
	}
	for _, r := range s.Routes {
		fmt.Fprintln(w, r.Command(plan.Settings.Protocol))
	}
	for _, r := range s.Rules {
		fmt.Fprintln(w, r.Command())
	}
	_, err := fmt.Fprintf(w, "nft -f - <<'END'\n%sEND\n", nft.Compile(plan).Text())
	return err
}
