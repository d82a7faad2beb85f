// SPDX-License-Identifier: Apache-2.0

// Command package builds what is installed: for each architecture a Debian package, and a tarball for systems without dpkg,
// musl's among them. It runs in a checkout and needs Go only; nfpm and go-md2man are fetched as modules of fixed versions.
//
//	go run ./cmd/package --out dist --version 1.2.3
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// architecture is a machine by its names.
type architecture struct {
	debian string
	goarch string
	goarm  string
}

var architectures = []architecture{
	{"amd64", "amd64", ""},
	{"arm64", "arm64", ""},
	{"armhf", "arm", "7"}, // ARMv7 with hardware floating point
}

func main() {
	out := flag.String("out", "dist", "directory for the packages")
	version := flag.String("version", "0.1.0", "version of the packages")
	arch := flag.String("arch", "", "architectures, by Debian's names and with commas; all if it is left out")
	flag.Parse()
	if err := run(*out, *version, *arch); err != nil {
		fmt.Fprintln(os.Stderr, "package:", err)
		os.Exit(1)
	}
}

func run(out, version, names string) error {
	wanted, err := choose(names)
	if err != nil {
		return err
	}
	if out, err = filepath.Abs(out); err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	s, err := stage(version)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(s.dir) }()
	for _, a := range wanted {
		if err := s.compile(a); err != nil {
			return err
		}
		for _, build := range []func(architecture, string) (string, error){s.deb, s.tarball} {
			file, err := build(a, out)
			if err != nil {
				return fmt.Errorf("%s: %w", a.debian, err)
			}
			fmt.Println(file)
		}
	}
	return nil
}

// choose returns the architectures with these names.
func choose(names string) ([]architecture, error) {
	if names == "" {
		return architectures, nil
	}
	var wanted []architecture
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(architectures, func(a architecture) bool { return a.debian == name })
		if i < 0 {
			return nil, fmt.Errorf("--arch %s: there are amd64, arm64 and armhf", name)
		}
		wanted = append(wanted, architectures[i])
	}
	return wanted, nil
}
