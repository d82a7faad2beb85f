// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// The oldest kernel that enlace works on, which e2e/vm tests. What newer ones can do besides is found out by asking them.
const (
	oldestMajor = 5
	oldestMinor = 10
)

// recent returns an error when the kernel that runs is older than the oldest that is supported.
func recent() error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	return recentEnough(unix.ByteSliceToString(u.Release[:]))
}

// recentEnough judges a release such as "6.1.0-50-amd64". One that begins with no number is somebody's own, and believed.
func recentEnough(release string) error {
	var major, minor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor); n < 2 {
		return nil
	}
	if major < oldestMajor || major == oldestMajor && minor < oldestMinor {
		return fmt.Errorf("kernel %s is too old: enlace needs Linux %d.%d or later (Debian 11); nothing was changed", release, oldestMajor, oldestMinor)
	}
	return nil
}
