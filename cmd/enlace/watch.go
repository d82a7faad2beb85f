// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"enlace/policy/lang"
	"enlace/watch"
)

func watchCommand(o *options) *cobra.Command {
	buffer, verbose, protect := watch.EventBuffer, false, true
	cmd := &cobra.Command{
		Use: "watch [POLICY]", Short: "apply the policy, then follow every change (the service)", Args: cobra.MaximumNArgs(1),
		Long: "Applies the policy and follows what happens: interfaces, addresses, routes, DHCP leases, the policy's files, and what others\n" +
			"change of enlace's; and it probes the links. An unchanged world costs no write. A policy file that changes is read anew, as it is on SIGHUP; with a\n" +
			"mistake in it the old policy goes on. When watch ends, by whatever means, forwarding goes on as it is.\n" +
			"Exit status: 0 ended by SIGTERM, SIGINT or enlace down, 1 could not start.",
		RunE: func(cmd *cobra.Command, args []string) error {
			log := slog.New(logHandler(cmd.ErrOrStderr(), verbose))
			return o.watch(cmd, args, log, buffer, protect)
		},
	}
	cmd.Flags().IntVar(&buffer, "event-buffer", buffer, "bytes of kernel events that may wait; when there are more, everything is read anew")
	cmd.Flags().BoolVar(&protect, "protect", protect, "keep others from changing the nftables table, where the kernel can (Linux 6.9)")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "log every pass, those that change nothing too")
	return cmd
}

func (o *options) watch(cmd *cobra.Command, args []string, log *slog.Logger, buffer int, protect bool) (err error) {
	// Nothing that happens to whoever reads the log ends the daemon, nor a reload that comes too early.
	signal.Ignore(syscall.SIGPIPE)
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	path, err := policyPath(args)
	if err != nil {
		return err
	}
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	files := watch.FilesBelow(o.root)
	alone, err := watch.Alone(files)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, alone.Close()) }()
	from := watch.Source{Path: path, Read: time.Now()}
	p, report := lang.Load(path)
	from.Lists = report.Lists()
	if err := report.Write(cmd.ErrOrStderr(), width(), isTerminal(os.Stderr)); err != nil {
		return err
	}
	if report.HasErrors() {
		return fmt.Errorf("%s cannot be used; what is set up in the kernel stays as it is", path)
	}
	k, err := o.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	if protect {
		if kept, err := k.Keep(); !kept {
			log.Info("this kernel cannot protect a table from others (Linux 6.9 can); what they change is put back", "error", err)
		}
	}
	l := watch.NewLoop(k, p, from, log)
	if log.Enabled(cmd.Context(), slog.LevelDebug) {
		l.Passed = func(p watch.Passed) { log.Debug("pass", "what", p.String()) }
	}
	return run(l, buffer, hangup)
}

// run runs the loop until a signal ends it.
func run(l *watch.Loop, buffer int, hangup <-chan os.Signal) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	go func() {
		for range hangup {
			l.Reload(ctx)
		}
	}()
	answered, err := l.Serve(ctx)
	if err != nil {
		return err
	}
	// What reading the policy took is not needed any more.
	debug.SetGCPercent(100)
	debug.FreeOSMemory()
	err = l.Run(ctx, buffer)
	stop()
	answered()
	return err
}
