// SPDX-License-Identifier: Apache-2.0

// Command enlace makes a Linux machine with several internet links a router that uses all of them.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
)

// Exit statuses. They are part of the interface: scripts test for them.
const (
	exitWrong   = 1
	exitChanges = 2 // plan: the kernel is not yet as the policy wants it
)

// status is an error that only sets the exit status: what there is to say has been said.
type status int

func (s status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func main() {
	// A pass makes a few megabytes of garbage in a few milliseconds; collecting it in between costs more than the memory does.
	// Only lists of a hundred thousand elements need more than this.
	debug.SetGCPercent(400)
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(80 << 20)
	}
	err := root().Execute()
	var s status
	switch {
	case err == nil:
	case errors.As(err, &s):
		os.Exit(int(s))
	default:
		fmt.Fprintf(os.Stderr, "enlace: %v\n", err)
		os.Exit(exitWrong)
	}
}
