// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"sync"
)

// logHandler is for a terminal, or for the journal when systemd reads what is written: that knows the time, and takes the level
// from a prefix (sd-daemon(3)).
func logHandler(w io.Writer, verbose bool) slog.Handler {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	if verbose {
		options.Level = slog.LevelDebug
	}
	if os.Getenv("JOURNAL_STREAM") == "" {
		return slog.NewTextHandler(w, options)
	}
	options.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
			return slog.Attr{}
		}
		return a
	}
	j := &journal{w: w, mu: &sync.Mutex{}, line: &bytes.Buffer{}}
	j.Handler = slog.NewTextHandler(j.line, options)
	return j
}

// journal puts the level before each line.
type journal struct {
	slog.Handler
	w    io.Writer
	mu   *sync.Mutex
	line *bytes.Buffer
}

// Handle writes a record as one line.
func (j *journal) Handle(ctx context.Context, r slog.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.line.Reset()
	switch { // the levels of syslog(3)
	case r.Level >= slog.LevelError:
		j.line.WriteString("<3>")
	case r.Level >= slog.LevelWarn:
		j.line.WriteString("<4>")
	case r.Level >= slog.LevelInfo:
		j.line.WriteString("<6>")
	default:
		j.line.WriteString("<7>")
	}
	if err := j.Handler.Handle(ctx, r); err != nil {
		return err
	}
	_, err := j.w.Write(j.line.Bytes())
	return err
}
