// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"enlace/policy"
)

// Sysctl is a setting of the kernel; Name is its path below /proc/sys.
type Sysctl struct{ Name, Value string }

// sysctls are the settings that the plan wants, in the order in which they are written.
func sysctls(p policy.Plan) []Sysctl {
	var out []Sysctl
	set := func(name, value string) { out = append(out, Sysctl{name, value}) }
	if p.Settings.RPFilter {
		// Any ip rule makes the kernel look the source up for every packet, even with rp_filter=0, unless accept_local says
		// that local sources are fine. The table checks for spoofed sources instead, once for each flow. The value of an
		// interface and that of "all" count together, the larger wins (ip-sysctl.rst).
		for _, i := range present(p) {
			set("net/ipv4/conf/"+i+"/rp_filter", "0")
		}
		set("net/ipv4/conf/all/rp_filter", "0")
		set("net/ipv4/conf/all/accept_local", "1")
	}
	if p.Active[policy.V4] {
		// On carrier loss the kernel itself stops using routes of the interface, before any program runs.
		set("net/ipv4/conf/all/ignore_routes_with_linkdown", "1")
		set("net/ipv4/fib_multipath_hash_policy", "1") // ports count: layer 4
	}
	if p.Active[policy.V6] {
		set("net/ipv6/conf/all/ignore_routes_with_linkdown", "1")
		set("net/ipv6/fib_multipath_hash_policy", "1")
	}
	if p.Settings.Forwarding {
		set(ipForward, "1")
		if p.Active[policy.V6] {
			// A router ignores router advertisements unless accept_ra is 2, and with them goes the link's default route.
			for _, l := range p.Links {
				if l.Index != 0 {
					set("net/ipv6/conf/"+l.Interface+"/accept_ra", "2")
				}
			}
			set(ipv6Forwarding, "1")
		}
	}
	return out
}

// present are the interfaces of links and LANs that exist.
func present(p policy.Plan) []string {
	var out []string
	seen := map[string]bool{}
	for _, l := range p.Links {
		if l.Index != 0 && !seen[l.Interface] {
			seen[l.Interface] = true
			out = append(out, l.Interface)
		}
	}
	for _, inside := range p.Inside {
		name := inside.Name
		if !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	return out
}

const procSys = "/proc/sys"

// ReadSysctls reads the present values of the given settings, in the network namespace of the calling thread. Those that the
// kernel does not have are left out; so is accept_ra where it is 0, because then somebody else handles advertisements.
func ReadSysctls(wanted []Sysctl) ([]Sysctl, error) {
	var out []Sysctl
	for _, s := range wanted {
		value, err := readSysctl(s.Name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("rtnl: read sysctl %s: %w", s.Name, err)
		}
		if filepath.Base(s.Name) == "accept_ra" && value == "0" {
			continue
		}
		out = append(out, Sysctl{s.Name, value})
	}
	return out, nil
}

// readSysctl reads one value. It does without os.ReadFile, which asks for the file's size and offers it to the poller: with many
// interfaces that is most of a pass.
func readSysctl(name string) (string, error) {
	fd, err := unix.Open(procSys+"/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = unix.Close(fd) }()
	var b [64]byte
	n, err := unix.Read(fd, b[:])
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b[:n])), nil
}

// NoteSysctls notes in a file what settings are that are about to change, so that RestoreSysctls can put them back. What was noted
// first stays.
func NoteSysctls(change []Sysctl, file string) error {
	if len(change) == 0 {
		return nil
	}
	before, err := noted(file)
	if err != nil {
		return err
	}
	present, err := ReadSysctls(change)
	if err != nil {
		return err
	}
	also, err := forwardingBelow(change)
	if err != nil {
		return err
	}
	for _, s := range append(present, also...) {
		if _, ok := before[s.Name]; !ok {
			before[s.Name] = s.Value
		}
	}
	return note(file, before)
}

// SetSysctls writes settings.
func (c *Conn) SetSysctls(change []Sysctl) error {
	for _, s := range change {
		if err := writeSysctl(s); err != nil {
			return err
		}
		c.Writes++
	}
	return nil
}

// RestoreSysctls puts back what SetSysctls changed, and removes the note. It returns what it set.
func RestoreSysctls(file string) ([]Sysctl, error) {
	before, err := noted(file)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(before))
	for name := range before {
		names = append(names, name)
	}
	// What changes other settings when it is written goes first.
	sort.Slice(names, func(i, j int) bool {
		if a, b := reach(names[i]), reach(names[j]); a != b {
			return a > b
		}
		return names[i] < names[j]
	})
	var out []Sysctl
	for _, name := range names {
		s := Sysctl{name, before[name]}
		if now, err := ReadSysctls([]Sysctl{s}); err == nil && len(now) == 1 && now[0] == s {
			continue
		}
		if err := writeSysctl(s); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return out, err
		}
		out = append(out, s)
	}
	return out, ForgetSysctls(file)
}

// ForgetSysctls removes the note of what sysctls were.
func ForgetSysctls(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("rtnl: %w", err)
	}
	return nil
}

// Noted tells whether there is a note of what sysctls were.
func Noted(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// reach says how much else a setting changes when it is written: forwarding that of all interfaces and, for IPv4, whether
// redirects are accepted (ip-sysctl.rst); a setting of "all" perhaps those of interfaces.
func reach(name string) int {
	switch {
	case name == ipForward || name == ipv6Forwarding:
		return 2
	case strings.Contains(name, "/all/"):
		return 1
	}
	return 0
}

// Forwarding separates the settings that make the host forward from the others.
func Forwarding(list []Sysctl) (others, forwarding []Sysctl) {
	for _, s := range list {
		if reach(s.Name) == 2 {
			forwarding = append(forwarding, s)
		} else {
			others = append(others, s)
		}
	}
	return others, forwarding
}

const (
	ipForward      = "net/ipv4/ip_forward"
	ipv6Forwarding = "net/ipv6/conf/all/forwarding"
)

// forwardingBelow are the settings that change when forwarding is switched for the whole host: that of every interface, and
// whether redirects are accepted.
func forwardingBelow(change []Sysctl) ([]Sysctl, error) {
	var names []Sysctl
	for _, c := range change {
		family, ok := map[string]string{ipForward: "ipv4", ipv6Forwarding: "ipv6"}[c.Name]
		if !ok {
			continue
		}
		conf := "net/" + family + "/conf"
		interfaces, err := os.ReadDir(filepath.Join(procSys, conf))
		if err != nil {
			return nil, fmt.Errorf("rtnl: read sysctl: %w", err)
		}
		for _, i := range interfaces {
			names = append(names, Sysctl{Name: conf + "/" + i.Name() + "/forwarding"})
		}
		names = append(names, Sysctl{Name: conf + "/all/accept_redirects"})
	}
	return ReadSysctls(names)
}

func writeSysctl(s Sysctl) error {
	if err := os.WriteFile(filepath.Join(procSys, s.Name), []byte(s.Value), 0o644); err != nil {
		return fmt.Errorf("rtnl: set sysctl: %w", err)
	}
	return nil
}

// noted reads the note of earlier values.
func noted(file string) (map[string]string, error) {
	before := map[string]string{}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return before, nil
	}
	if err != nil {
		return nil, fmt.Errorf("rtnl: %w", err)
	}
	if err := json.Unmarshal(b, &before); err != nil {
		return nil, fmt.Errorf("rtnl: %s: %w; remove it if sysctls need not be put back", file, err)
	}
	return before, nil
}

// note writes the note of earlier values in one piece.
func note(file string, before map[string]string) error {
	b, err := json.MarshalIndent(before, "", "\t")
	if err != nil {
		return fmt.Errorf("rtnl: %w", err)
	}
	return replaceFile(file, append(b, '\n'))
}
