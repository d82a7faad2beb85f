// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

func TestDefinitions(t *testing.T) {
	const table = "Before.\n\n| attribute | meaning | default |\n|---|---|---|\n| `a` | what it is | 1 |\n| `b` | another | required |\n| `c` | a third | |\n\nAfter.\n"
	const want = "Before.\n\n`a`\n: what it is; default: 1\n\n`b`\n: another; required\n\n`c`\n: a third\n\n\nAfter.\n"
	if got := definitions(table); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
