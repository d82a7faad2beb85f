// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"io"
	"os"
	"os/exec"
	"strings"
)

// Tied is a program that does not outlive this one, however that ends. (The kernel's own way, PR_SET_PDEATHSIG, is about threads, which a Go
// program ends when it likes.)
type Tied struct {
	*exec.Cmd
	hold io.Closer // the program ends when this is closed
	said strings.Builder
}

// tie prepares a program, which gets the files as its descriptors from 3 on. A shell waits beside it for the end of its own standard input.
func tie(files []*os.File, name string, args ...string) (*Tied, error) {
	const script = `exec 9<&0; "$@" </dev/null 9<&- & p=$!; { read -r _; kill -9 $p; } <&9 >/dev/null 2>&1 & wait $p`
	t := &Tied{Cmd: exec.Command("sh", append([]string{"-c", script, "sh", name}, args...)...)}
	t.ExtraFiles, t.Stderr = files, &t.said
	hold, err := t.StdinPipe()
	t.hold = hold
	return t, err
}

// Kill ends the program at once.
func (t *Tied) Kill() { _ = t.hold.Close() }
