// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// OlderThan tells whether the kernel that runs is older than a version of Linux. It is for what a kernel cannot be asked.
func OlderThan(major, minor int) (older bool, release string) {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false, ""
	}
	release = unix.ByteSliceToString(u.Release[:])
	return precedes(release, major, minor), release
}

// precedes judges a release such as "6.1.0-50-amd64". One that begins with no number is somebody's own, and believed.
func precedes(release string, major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(release, "%d.%d", &a, &b); n < 2 {
		return false
	}
	return a < major || a == major && b < minor
}
