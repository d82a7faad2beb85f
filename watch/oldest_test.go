// SPDX-License-Identifier: Apache-2.0

package watch

import "testing"

func TestRecentEnough(t *testing.T) {
	for release, want := range map[string]bool{
		"4.19.0-27-amd64": false, "5.4.0": false, "5.9.16": false, "3.10.0-1160.el7.x86_64": false,
		"5.10.0-32-amd64": true, "5.10": true, "5.15.0-generic": true, "6.1.0-50-amd64": true, "10.0.0": true, "6.18.0-rc1+": true, "custom": true,
	} {
		if err := recentEnough(release); (err == nil) != want {
			t.Errorf("%s: %v", release, err)
		}
	}
}
