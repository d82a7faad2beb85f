// SPDX-License-Identifier: Apache-2.0

// Package lease reads what DHCP clients know of gateways. With two interfaces run by ISC dhclient the second gateway stands in its
// lease file and nowhere else, because main takes only one default route of a metric.
//
// The clients' files are read as they are, by parsers that pass over what they do not know. Clients that keep none, and whatever
// else learns a gateway, tell it with `enlace lease`, which writes a file too.
package lease

import (
	"net/netip"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"enlace/policy"
)

// Dirs are the directories that clients keep leases in.
type Dirs struct {
	Told     string   // what `enlace lease` was told
	Networkd string   // systemd-networkd: files named by the number of the interface
	NM       string   // NetworkManager: the same
	Dhclient []string // ISC dhclient, also where NetworkManager and Red Hat's scripts run it
	Dhcpcd   []string // dhcpcd: files named by the interface
}

// Below are the usual directories below a root directory.
func Below(root string) Dirs {
	at := func(name string) string { return filepath.Join(root, name) }
	return Dirs{
		Told:     at("run/enlace/leases"),
		Networkd: at("run/systemd/netif/leases"),
		NM:       at("run/NetworkManager/devices"),
		Dhclient: []string{at("var/lib/dhcp"), at("var/lib/dhclient"), at("var/lib/NetworkManager")},
		Dhcpcd:   []string{at("var/lib/dhcpcd"), at("var/lib/dhcpcd5"), at("var/db/dhcpcd")},
	}
}

// All are all directories, those that may not exist included.
func (d Dirs) All() []string {
	return append(append([]string{d.Told, d.Networkd, d.NM}, d.Dhclient...), d.Dhcpcd...)
}

// biggest is the largest file that is read. dhclient's file of a year of renewals has less than a megabyte.
const biggest = 4 << 20

// Record is one lease with the time when it ends.
type Record struct {
	policy.Lease
	Ends time.Time // zero: it does not, or its client removes it in time
}

// Read returns the leases of the given interfaces that hold at a time, what people told first, and when the next of them ends (zero: none
// does). Files that cannot be read, or are not leases, are passed over: clients write them whenever they like.
func (d Dirs) Read(interfaces []policy.Interface, now time.Time) (leases []policy.Lease, next time.Time) {
	byIndex, byName := map[string]string{}, map[string]bool{}
	for _, i := range interfaces {
		byIndex[strconv.Itoa(i.Index)] = i.Name
		byName[i.Name] = true
	}
	var all []Record
	for _, f := range files(d.Told) {
		all = append(all, ParseTold(f.text(), f.name)...)
	}
	for _, f := range files(d.Networkd) {
		all = append(all, ParseNetworkd(f.text(), byIndex[f.base()], f.name)...)
	}
	for _, f := range files(d.NM) {
		all = append(all, ParseNetworkManager(f.text(), byIndex[f.base()], f.name)...)
	}
	for _, dir := range d.Dhclient {
		for _, f := range files(dir) {
			if strings.Contains(f.base(), "dhclient") {
				all = append(all, ParseDhclient(f.text(), f.name)...)
			}
		}
	}
	for _, dir := range d.Dhcpcd {
		for _, f := range files(dir) {
			all = append(all, ParseDhcpcd(f.text(), f.base(), f.changed, f.name)...)
		}
	}
	for _, r := range all {
		if !byName[r.Interface] || len(r.Gateways) == 0 || !r.Ends.IsZero() && !r.Ends.After(now) {
			continue
		}
		leases = append(leases, r.Lease)
		if !r.Ends.IsZero() && (next.IsZero() || r.Ends.Before(next)) {
			next = r.Ends
		}
	}
	return leases, next
}

// file is one file of a directory.
type file struct {
	name    string
	changed time.Time
}

func (f file) base() string { return filepath.Base(f.name) }

func (f file) text() []byte {
	text, err := os.ReadFile(f.name)
	if err != nil {
		return nil
	}
	return text
}

// files are the regular files of a directory, the one that changed last first: of two files about the same interface it is the one
// whose client runs.
func files(dir string) []file {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []file
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || info.Size() > biggest || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		out = append(out, file{filepath.Join(dir, e.Name()), info.ModTime()})
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].changed.After(out[j].changed) })
	return out
}

// addresses reads addresses between separators, and passes over what is none, or stands for none.
func addresses(s string) []netip.Addr {
	var out []netip.Addr
	for _, f := range strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' }) {
		if a, err := netip.ParseAddr(f); err == nil && !a.IsUnspecified() && a.Zone() == "" {
			out = append(out, a.Unmap())
		}
	}
	return out
}

// first is the first address in a text, or none.
func first(s string) netip.Addr {
	if list := addresses(s); len(list) > 0 {
		return list[0]
	}
	return netip.Addr{}
}
