// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// inside marks a process that was started in a user namespace, so that it does not try again.
const inside = "ENLACE_LAB_INSIDE"

// Here is what EnterUserNamespace returns in a process that can go on itself.
const Here = -1

// InUserNamespace tells whether the lab runs as root of a user namespace, where there are no other users.
func InUserNamespace() bool { return os.Getenv(inside) != "" }

// EnterUserNamespace lets an ordinary user build a lab. With the right to make network namespaces it returns Here. Without, it
// runs the same program again, as root of a user namespace of its own, and returns that one's exit status. Call it first in main
// or TestMain.
func EnterUserNamespace() (status int, err error) {
	err = onThread(func() error { return unix.Unshare(unix.CLONE_NEWNET) })
	if err == nil {
		return Here, nil
	}
	if os.Getenv(inside) != "" {
		return 0, fmt.Errorf("make network namespace: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit):
		return exit.ExitCode(), nil
	}
	return 0, fmt.Errorf("the lab needs root, or a kernel that lets users make user namespaces: %w", err)
}
