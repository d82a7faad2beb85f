// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"enlace/watch"
)

func statusCommand(o *options) *cobra.Command {
	asJSON, follow := false, false
	cmd := &cobra.Command{
		Use: "status [POLICY]", Short: "show links, groups and problems", Args: cobra.MaximumNArgs(1),
		Long: "Asks the daemon how things are. Without a daemon it compares the kernel with the policy itself, which needs root; POLICY is\n" +
			"only for that. Exit status: 0 all links are up and the policy is in force, 2 not, 1 wrong.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if follow {
				return o.follow(cmd, asJSON)
			}
			s, err := o.status(cmd, args)
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				err = e.Encode(s)
			} else {
				err = writeStatus(cmd.OutOrStdout(), s, time.Now())
			}
			if err == nil && !s.Well() {
				return status(exitChanges)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, for programs; watch/STATUS.md describes it")
	cmd.Flags().BoolVar(&follow, "follow", false, "print how each link is, and then every change, one a line, until interrupted; needs the daemon")
	return cmd
}

// status asks the daemon, or looks itself when there is none.
func (o *options) status(cmd *cobra.Command, args []string) (s *watch.Status, err error) {
	c, err := watch.Dial(watch.FilesBelow(o.root))
	if err == nil {
		s, err = c.Status()
		if err == nil && len(args) > 0 {
			if path, err := filepath.Abs(args[0]); err == nil && path != s.Policy.Path {
				return nil, fmt.Errorf("enlace watch follows %s, and this is its status that can be shown: leave the policy out", s.Policy.Path)
			}
		}
		return s, err
	}
	if !errors.Is(err, watch.ErrNotRunning) {
		return nil, err
	}
	p, path, err := load(cmd, args)
	if err != nil {
		return nil, err
	}
	k, err := o.open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	pass, err := k.Compare(p)
	if err != nil {
		return nil, err
	}
	return watch.Look(p, path, pass), nil
}

// follow prints events until it is interrupted or the daemon ends.
func (o *options) follow(cmd *cobra.Command, asJSON bool) error {
	c, err := watch.Dial(watch.FilesBelow(o.root))
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	lines := json.NewEncoder(cmd.OutOrStdout())
	return c.Follow(ctx, func(e watch.Event) error {
		if asJSON {
			return lines.Encode(e)
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), eventLine(e))
		return err
	})
}

// eventLine is an event for people.
func eventLine(e watch.Event) string {
	what := string(e.New)
	switch {
	case e.Old == e.New:
		what += ", another address or gateway"
	case e.Old != "":
		what = fmt.Sprintf("%s, was %s", e.New, e.Old)
	}
	line := fmt.Sprintf("%s  %s (%s): %s", e.Time.Local().Format(time.DateTime), e.Link, e.Interface, what)
	if e.Why != "" {
		line += ": " + e.Why
	}
	if e.Missed > 0 {
		line += fmt.Sprintf(" (and %d changes before)", e.Missed)
	}
	return line
}

// writeStatus is the status for people.
func writeStatus(w io.Writer, s *watch.Status, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "LINK\tSTATE\tSINCE\tADDRESS\tGATEWAY\tFROM")
	for _, l := range s.Links {
		since := "-"
		if l.Since != nil {
			since = ago(now.Sub(*l.Since))
		}
		row := fmt.Sprintf("%s (%s)\t%s\t%s", l.Name, l.Interface, l.State, since)
		for _, p := range []*watch.PathStatus{l.IPv4, l.IPv6} {
			if p == nil {
				continue
			}
			gateway := "-"
			if p.Gateway.IsValid() {
				gateway = p.Gateway.String()
			}
			address := p.Address.String()
			if p.SNAT.IsValid() {
				address += " (snat " + p.SNAT.String() + ")"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", row, address, gateway, p.Learned)
			row = "\t\t"
		}
		if l.IPv4 == nil && l.IPv6 == nil {
			fmt.Fprintf(t, "%s\t-\t-\t-\n", row)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, l := range s.Links {
		if line := targets(l); line != "" {
			fmt.Fprintf(w, "probes of %s: %s\n", l.Name, line)
		}
	}
	for _, g := range s.Groups {
		fmt.Fprintf(w, "group %s: %s\n", g.Name, members(g))
	}
	for _, p := range s.Problems {
		fmt.Fprintf(w, "problem: %s: %s [%s]\n", p.Subject, p.Text, p.Code)
	}
	if !s.Running {
		fmt.Fprintln(w, "enlace watch does not run: changes of the host are not followed")
		return nil
	}
	fmt.Fprintf(w, "policy %s, loaded %s ago; process %d\n", s.Policy.Path, ago(now.Sub(*s.Policy.Loaded)), s.PID)
	if p := s.LastDone; p != nil {
		fmt.Fprintf(w, "last change %s ago: %s: %s, %.1f ms\n", ago(now.Sub(p.At)), p.Reasons, plural(p.Changes, "object"), p.Milliseconds)
	}
	return nil
}

// targets are how a link's targets answer.
func targets(l watch.LinkStatus) string {
	var out []string
	for _, t := range l.Targets {
		switch {
		case !t.Answers:
			out = append(out, t.Target+" silent")
		case t.Loss > 0:
			out = append(out, fmt.Sprintf("%s %.1f ms, %d %% lost", t.Target, t.Latency, t.Loss))
		default:
			out = append(out, fmt.Sprintf("%s %.1f ms", t.Target, t.Latency))
		}
	}
	return strings.Join(out, "; ")
}

// members are a group's links, those out of use in brackets.
func members(g watch.GroupStatus) string {
	var out []string
	for _, m := range g.Members {
		s := fmt.Sprintf("%s %d", m.Link, m.Weight)
		if m.Tier > 1 {
			s += fmt.Sprintf(" tier %d", m.Tier)
		}
		switch {
		case !m.IPv4 && !m.IPv6:
			s = "(" + s + ")"
		case !m.IPv6:
			s += " IPv4 only"
		case !m.IPv4:
			s += " IPv6 only"
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

// ago is a duration as people say it.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
