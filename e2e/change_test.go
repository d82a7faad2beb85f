// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"enlace/e2e/lab"
	"enlace/policy"
	"enlace/watch"
)

// TestPain26_OnChange: a hook gets the link, the states, the reason and the addresses, as a document and in its environment. One at a time for
// a link; what it misses is put together. One that hangs or fails is in nobody's way.
func TestPain26_OnChange(t *testing.T) {
	r := newRouter(t, lab.Virtua.OnlyV4(), lab.Embratel.OnlyV4())
	heard := filepath.Join(r.root, "heard")
	hook := func(name, script string) string {
		file := filepath.Join(r.root, name)
		must(t, os.WriteFile(file, []byte("#!/bin/sh\n"+script), 0o755))
		return file
	}
	gate, ended := filepath.Join(r.root, "gate"), filepath.Join(r.root, "ended")
	slow := hook("slow", fmt.Sprintf(`{ printf '%%s|%%s|%%s|%%s|%%s|' "$ENLACE_LINK" "$ENLACE_OLD" "$ENLACE_NEW" "$ENLACE_ADDRESS4" "$ENLACE_GATEWAY4"; cat; } >> %s
while [ ! -e %s ]; do sleep 0.05; done
echo >> %s
`, heard, gate, ended))
	failing := hook("failing", "echo no such luck; exit 3\n")
	text := strings.Replace(links, `interface = "eth1"`, fmt.Sprintf("interface = \"eth1\"\n  on_change = %q", slow), 1)
	d := r.fresh(text, fmt.Sprintf("settings { on_change = %q }\n", failing), balanced, `default { via = group.balanced }`)
	d.link("virtua", "up", "")
	must(t, os.WriteFile(gate, nil, 0o600)) // what happened until now
	await(t, "the first runs", func() bool {
		b, _ := os.ReadFile(heard)
		over, _ := os.ReadFile(ended)
		return strings.Contains(string(b), "|up|") && strings.HasSuffix(string(b), "}\n") && strings.Count(string(b), "\n") == len(over)
	})
	must(t, os.Remove(gate))
	must(t, os.WriteFile(heard, nil, 0o600))

	must(t, r.ISP("virtua").Unplug()) // the hook begins, and waits
	d.link("virtua", "down", "")
	await(t, "the hook's start", func() bool { b, _ := os.ReadFile(heard); return len(b) > 0 })
	for range 3 { // meanwhile the loop goes on
		must(t, r.ISP("virtua").PlugIn())
		d.link("virtua", "up", "")
		must(t, r.ISP("virtua").Unplug())
		d.link("virtua", "down", "")
	}
	must(t, r.ISP("virtua").PlugIn())
	d.link("virtua", "up", "")
	must(t, os.WriteFile(gate, nil, 0o600))
	var lines []string
	await(t, "the second run", func() bool {
		b, _ := os.ReadFile(heard)
		lines = strings.Split(strings.TrimSpace(string(b)), "\n")
		return len(lines) >= 2 && strings.HasSuffix(string(b), "}\n")
	})
	if len(lines) != 2 {
		t.Fatalf("the hook ran %d times, want 2:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	for i, want := range []struct {
		start  string
		new    policy.State
		missed bool
	}{{"virtua|up|down|||", policy.Down, false}, {"virtua|down|up|189.1.0.2|189.1.0.1|", policy.Up, true}} {
		var e watch.Event
		doc := strings.TrimPrefix(lines[i], want.start)
		if doc == lines[i] {
			t.Errorf("run %d had %q, want it to begin with %q", i+1, lines[i], want.start)
			continue
		}
		must(t, json.Unmarshal([]byte(doc), &e))
		if e.Link != "virtua" || e.Interface != "eth1" || e.New != want.new || e.Why == "" || (e.Missed > 0) != want.missed || time.Since(e.Time) > time.Minute {
			t.Errorf("run %d had the document %s", i+1, doc)
		}
	}
	must(t, r.ISP("embratel").Unplug()) // settings' own hook, which fails
	d.await("the complaint about the hook", func(s *watch.Status) bool {
		for _, p := range s.Problems {
			if p.Code == policy.HookFailed && strings.Contains(p.Text, "exit status 3") {
				return true
			}
		}
		return false
	})
	if !strings.Contains(d.log.String(), "no such luck") {
		t.Error("the log lacks what the hook said")
	}
}

// await waits for something.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
