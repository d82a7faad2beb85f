// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"enlace/watch/lease"
)

// Files are the places of what enlace keeps outside the kernel.
type Files struct {
	Names   string // table names for iproute2
	Sysctls string // what sysctls were before enlace changed them
	Lock    string // held while the kernel is changed
	Lists   string // directory of what long lists hold, because the kernel takes seconds to tell
	Socket  string // of the daemon
	Health  string // what the daemon's probes say
	Drained string // links that are out of use
	Alone   string // locked by the daemon while it runs, with its process number in it
	Leases  lease.Dirs
}

// FilesBelow are the usual places below a root directory, which is "/" except in tests.
func FilesBelow(root string) Files {
	return Files{
		Names:   filepath.Join(root, "etc/iproute2/rt_tables.d/enlace.conf"),
		Sysctls: filepath.Join(root, "run/enlace/sysctls.json"),
		Lock:    filepath.Join(root, "run/enlace/lock"),
		Lists:   filepath.Join(root, "run/enlace/lists"),
		Socket:  filepath.Join(root, "run/enlace/socket"),
		Health:  filepath.Join(root, "run/enlace/health.json"),
		Drained: filepath.Join(root, "run/enlace/drained.json"),
		Alone:   filepath.Join(root, "run/enlace/watch.lock"),
		Leases:  lease.Below(root),
	}
}

// Release lets others change the kernel, which Apply and Down keep to themselves until Close otherwise.
func (k *Kernel) Release() error {
	if k.lock == nil {
		return nil
	}
	err := k.lock.Close()
	k.lock = nil
	return err
}

// longestTurn is how long somebody else may be at it: less than systemd's watchdog waits for the daemon.
const longestTurn = 10 * time.Second

// hold makes sure that nobody else changes the kernel for enlace at the same time. It waits for its turn.
func (k *Kernel) hold() error {
	if k.lock != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(k.files.Lock), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(k.files.Lock, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(longestTurn); ; time.Sleep(5 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			k.lock = f
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("another enlace is changing the kernel (lock %s: %w)", f.Name(), err), f.Close())
		}
	}
}
