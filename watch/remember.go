// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"enlace/policy"
)

// What probing found, and what is drained, is kept below /run: another enlace on this host has to know it, and so does the next daemon, which
// would give a dead link new flows otherwise until its own probes say the same. After a boot everything begins anew.

// remembered is what probing found of a link in a family.
type remembered struct {
	State  policy.State `json:"state"`
	Why    string       `json:"why,omitempty"`
	Hold   string       `json:"hold,omitempty"` // how long it has grown
	Base   string       `json:"base,omitempty"` // the policy's, from which it has
	Silent bool         `json:"silent,omitempty"`
}

// remember writes what probing found.
func (f Files) remember(all map[string][2]remembered) error { return writeJSON(f.Health, all) }

// recallHealth reads it. A file that cannot be read is none: everything is found anew.
func (f Files) recallHealth() map[string][2]remembered {
	var out map[string][2]remembered
	b, err := os.ReadFile(f.Health)
	if err != nil || json.Unmarshal(b, &out) != nil {
		return nil
	}
	return out
}

// readStandings are the verdicts of the daemon. When it does not run, nobody corrects them; and yet a link that was dead a moment ago is not
// used until somebody says so.
func readStandings(f Files) map[string][2]policy.Standing {
	all := f.recallHealth()
	if len(all) == 0 {
		return nil
	}
	running := runs(f) != ""
	out := map[string][2]policy.Standing{}
	for name, families := range all {
		var s [2]policy.Standing
		for i, r := range families {
			if s[i] = (policy.Standing{State: r.State, Why: r.Why, Silent: r.Silent}); running {
				continue
			}
			if s[i].State != policy.Down && s[i].State != policy.Holding && s[i].State != policy.Degraded {
				s[i] = policy.Standing{}
				continue
			}
			s[i].Why += fmt.Sprintf("; so said enlace watch, which does not run now: start it, or remove %s to use the link again", f.Health)
		}
		out[name] = s
	}
	return out
}

// drainedLink is an entry of the file of drained links.
type drainedLink struct {
	Since time.Time `json:"since"`
	Now   bool      `json:"now,omitempty"`
}

func (f Files) readDrained() (map[string]drainedLink, error) {
	out := map[string]drainedLink{}
	b, err := os.ReadFile(f.Drained)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		return nil, fmt.Errorf("which links are drained cannot be read: %w; remove %s and drain them again", err, f.Drained)
	}
	return out, nil
}

// drained are the links that are out of use.
func (f Files) drained() (map[string]policy.Drain, error) {
	list, err := f.readDrained()
	if err != nil || len(list) == 0 {
		return nil, err
	}
	out := map[string]policy.Drain{}
	for name, d := range list {
		out[name] = policy.Drain{Why: "since " + d.Since.Local().Format(time.DateTime), Now: d.Now}
	}
	return out, nil
}

// Drain takes a link out of use, Undrain puts it back. What changes comes with the next pass.
func (f Files) Drain(link string, now bool) error {
	list, err := f.readDrained()
	if err != nil {
		return err
	}
	d, there := list[link]
	if !there {
		d.Since = time.Now().Round(time.Second)
	}
	d.Now = now
	list[link] = d
	return writeJSON(f.Drained, list)
}

// Undrain is the opposite of Drain. It tells whether the link was drained.
func (f Files) Undrain(link string) (bool, error) {
	list, err := f.readDrained()
	if err != nil {
		return false, err
	}
	_, there := list[link]
	delete(list, link)
	if len(list) == 0 {
		if err := os.Remove(f.Drained); !errors.Is(err, fs.ErrNotExist) {
			return there, err
		}
		return there, nil
	}
	return there, writeJSON(f.Drained, list)
}

// writeJSON replaces a file as a whole.
func writeJSON(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(name+".new", append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}
