// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"os"
	"os/exec"
	"sync"
	"time"
)

var (
	accelOnce sync.Once
	accel     []string
)

// accelerator is how QEMU runs the guest's instructions: KVM when it is proved to work, else by translation.
func accelerator(i Image) []string {
	accelOnce.Do(func() {
		accel = []string{"-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max"}
		if _, err := os.Stat("/dev/kvm"); err == nil && kvmWorks(i) {
			accel = []string{"-accel", "kvm", "-cpu", "host"}
		}
	})
	return accel
}

// kvmTime is more than a kernel needs with KVM until it finds that there is no disk: about a second.
const kvmTime = 4 * time.Second

// kvmWorks boots the kernel without a disk, which is its end. Where a virtual machine's host does not nest properly /dev/kvm is there, runs a
// firmware, and then hangs: only a whole kernel is a proof.
func kvmWorks(i Image) bool {
	ctx, cancel := context.WithTimeout(context.Background(), kvmTime)
	defer cancel()
	return exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-m", "512", "-nodefaults", "-display", "none",
		"-no-reboot", "-kernel", i.Kernel, "-append", "panic=-1 quiet").Run() == nil
}
