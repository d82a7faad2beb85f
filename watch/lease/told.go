// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// told is the file that `enlace lease set` writes, one for each interface.
type told struct {
	Interface string       `json:"interface"`
	Address   string       `json:"address,omitempty"`
	Gateways  []netip.Addr `json:"gateways"`
	Ends      time.Time    `json:"ends,omitzero"`
}

// ParseTold reads a file of `enlace lease`.
func ParseTold(text []byte, name string) []Record {
	var t told
	if err := json.Unmarshal(text, &t); err != nil || t.Interface == "" {
		return nil
	}
	r := Record{Ends: t.Ends}
	r.Interface, r.Source = t.Interface, "enlace lease, "+name
	r.Address, _ = netip.ParseAddr(t.Address)
	for _, g := range t.Gateways {
		if g.IsValid() && !g.IsUnspecified() {
			r.Gateways = append(r.Gateways, g.WithZone("").Unmap())
		}
	}
	return []Record{r}
}

// Set notes a lease. It is there as a whole or not at all.
func (d Dirs) Set(r Record) error {
	file, err := d.toldFile(r.Interface)
	if err != nil {
		return err
	}
	t := told{Interface: r.Interface, Gateways: r.Gateways, Ends: r.Ends}
	if r.Address.IsValid() {
		t.Address = r.Address.String()
	}
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.Told, 0o755); err != nil {
		return err
	}
	hidden := filepath.Join(d.Told, "."+r.Interface)
	if err := os.WriteFile(hidden, append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(hidden, file)
}

// Clear forgets what was noted of an interface, if anything was.
func (d Dirs) Clear(device string) error {
	file, err := d.toldFile(device)
	if err != nil {
		return err
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// toldFile is where an interface's lease is noted. The kernel takes no names of interfaces that could lead elsewhere.
func (d Dirs) toldFile(device string) (string, error) {
	if device == "" || len(device) > 15 || strings.HasPrefix(device, ".") || strings.ContainsAny(device, "/ \t\n") {
		return "", fmt.Errorf("%q is no name of an interface", device)
	}
	return filepath.Join(d.Told, device+".json"), nil
}
