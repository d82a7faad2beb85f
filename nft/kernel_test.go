// SPDX-License-Identifier: Apache-2.0

package nft

import "testing"

func TestBefore(t *testing.T) {
	for release, want := range map[string]bool{
		"4.19.0-27-amd64": true, "5.4.0": true, "5.9.16": true, "3.10.0-1160.el7.x86_64": true,
		"5.10.0-32-amd64": false, "5.10": false, "5.15.0-generic": false, "6.1.0-50-amd64": false, "10.0.0": false, "6.18.0-rc1+": false, "custom": false,
	} {
		if got := precedes(release, 5, 10); got != want {
			t.Errorf("%s is before 5.10: %t, want %t", release, got, want)
		}
	}
}
