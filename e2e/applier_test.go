// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"enlace/policy/lang"
	"enlace/watch"
)

// An applier is a process on a router that applies a policy on demand and tells how long it took: what a running daemon
// needs, without the start of a program. It is this test binary, started again.

// applierVariable has the root directory of the applier's files, a blank, and the policy.
const applierVariable = "ENLACE_E2E_APPLIER"

// applyOnDemand is the applier's main: it applies once for every line that it reads, and answers with nanoseconds.
func applyOnDemand() int {
	debug.SetGCPercent(400) // as the program does
	root, file, _ := strings.Cut(os.Getenv(applierVariable), " ")
	p, report := lang.Load(file)
	if report.HasErrors() {
		return fail(report.Diagnostics)
	}
	k, err := watch.Open(watch.FilesBelow(root))
	if err != nil {
		return fail(err)
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		began := time.Now()
		pass, err := k.Apply(p)
		took := time.Since(began)
		if err == nil && pass.Empty() {
			err = fmt.Errorf("there was nothing to do")
		}
		if err == nil {
			err = k.Release()
		}
		if err != nil {
			return fail(err)
		}
		fmt.Println(took.Nanoseconds())
	}
	return 0
}

type applier struct {
	b       *testing.B
	in      io.WriteCloser
	answers *bufio.Scanner
}

// startApplier starts an applier on the router.
func (w *wideRouter) startApplier() *applier {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), applierVariable+"="+w.root+" "+w.file)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(w.b, err)
	out, err := cmd.StdoutPipe()
	must(w.b, err)
	must(w.b, w.router.Do(cmd.Start))
	w.b.Cleanup(func() {
		must(w.b, in.Close())
		must(w.b, cmd.Wait())
	})
	return &applier{b: w.b, in: in, answers: bufio.NewScanner(out)}
}

// apply lets the applier apply once.
func (a *applier) apply() time.Duration {
	if _, err := fmt.Fprintln(a.in, "go"); err != nil {
		a.b.Fatal(err)
	}
	if !a.answers.Scan() {
		a.b.Fatal("the applier ended")
	}
	n, err := strconv.ParseInt(a.answers.Text(), 10, 64)
	must(a.b, err)
	return time.Duration(n)
}
