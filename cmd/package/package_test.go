// SPDX-License-Identifier: Apache-2.0

package main

import (
	"debug/elf"
	"os"
	"path/filepath"
	"testing"
)

// TestStatic: on every architecture the program is one file that needs no other, whatever the libc.
func TestStatic(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "armhf": elf.EM_ARM}
	for _, a := range architectures {
		s := &staging{dir: t.TempDir(), root: root, version: "1.2.3"}
		if err := s.compile(a); err != nil {
			t.Fatal(err)
		}
		f, err := elf.Open(filepath.Join(s.dir, "enlace"))
		if err != nil {
			t.Fatal(err)
		}
		if f.Machine != machines[a.debian] {
			t.Errorf("%s: a program for %s", a.debian, f.Machine)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP {
				t.Errorf("%s: it wants a dynamic linker", a.debian)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestBundled: what the tarball has is there, or made.
func TestBundled(t *testing.T) {
	for _, b := range bundled {
		if dir, name := filepath.Split(b.from); dir == "host/" {
			if _, err := os.Stat(filepath.Join("../enlace/host", name)); err != nil {
				t.Error(err)
			}
		}
	}
}
