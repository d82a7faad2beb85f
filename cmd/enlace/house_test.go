// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mayImport says which rooms a room may use. Arrows go one way: the core knows nobody, the edges know the core, the program
// knows all.
var mayImport = map[string][]string{
	"enlace/policy":      {},
	"enlace/policy/lang": {"enlace/policy"},
	"enlace/nft":         {"enlace/policy"},
	"enlace/rtnl":        {"enlace/policy"},
	"enlace/watch":       {"enlace/policy", "enlace/policy/lang", "enlace/nft", "enlace/rtnl", "enlace/watch/lease", "enlace/watch/probe"},
	"enlace/watch/lease": {"enlace/policy"},
	"enlace/watch/probe": {"enlace/policy"},
	"enlace/e2e/lab":     {},
	"enlace/e2e/inject":  {"enlace/e2e/lab"},
	"enlace/cmd/enlace":  {"enlace/policy", "enlace/policy/lang", "enlace/nft", "enlace/rtnl", "enlace/watch", "enlace/watch/lease", "enlace/e2e/lab"},
	"enlace/cmd/package": {},
	"enlace/e2e":         {},
	"enlace/e2e/vm":      {"enlace/e2e/lab"},
}

// onlyIn says which rooms may use a library of the kernel's. The lab plays the other machines with them.
var onlyIn = map[string][]string{
	"github.com/cilium/ebpf":          {"enlace/e2e/inject"},
	"github.com/google/nftables":      {"enlace/nft", "enlace/e2e/lab"},
	"github.com/jsimonetti/rtnetlink": {"enlace/rtnl", "enlace/e2e/lab"},
	"github.com/mdlayher/netlink":     {"enlace/nft", "enlace/rtnl", "enlace/e2e/lab"},
	"github.com/hashicorp/hcl":        {"enlace/policy/lang"},
}

// impure are packages that the core must not use: it has no clock, no files, no network and no processes.
var impure = []string{"os", "os/exec", "net", "net/http", "syscall", "log", "log/slog"}

func TestHouse(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "enlace/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(out)))
	seen := 0
	for d.More() {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		allowed, known := mayImport[p.ImportPath]
		if !known {
			t.Errorf("%s is a room that the house does not have", p.ImportPath)
			continue
		}
		seen++
		for _, i := range p.Imports {
			if strings.HasPrefix(i, "enlace/") && !slices.Contains(allowed, i) {
				t.Errorf("%s imports %s", p.ImportPath, i)
			}
			for library, rooms := range onlyIn {
				if strings.HasPrefix(i, library) && !slices.Contains(rooms, p.ImportPath) {
					t.Errorf("%s imports %s", p.ImportPath, i)
				}
			}
			if p.ImportPath == "enlace/policy" && slices.Contains(impure, i) {
				t.Errorf("the core imports %s", i)
			}
		}
	}
	if seen != len(mayImport) {
		t.Errorf("%d rooms, want %d", seen, len(mayImport))
	}
}

// TestTop: the top of the house has the rooms and the papers, and nothing else.
func TestTop(t *testing.T) {
	entries, err := filepath.Glob("../../*")
	if err != nil || len(entries) == 0 {
		t.Fatal("nothing at the top", err)
	}
	allowed := []string{"cmd", "nft", "rtnl", "policy", "watch", "e2e", "go.mod", "go.sum", "README.md", "LICENSE", "CHANGELOG.md"}
	for _, e := range entries {
		if name := filepath.Base(e); !strings.HasPrefix(name, ".") && !slices.Contains(allowed, name) {
			t.Errorf("%s does not belong at the top", name)
		}
	}
}

// clock are the functions by which the core would have a clock. Times and durations as values are fine.
var clock = regexp.MustCompile(`\btime\.(Now|Since|Until|After|AfterFunc|Sleep|Tick|NewTimer|NewTicker)\b`)

// TestNoClock: the core is told what time it is.
func TestNoClock(t *testing.T) {
	files, err := filepath.Glob("../../policy/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if found := clock.Find(text); found != nil && !strings.HasSuffix(f, "_test.go") {
			t.Errorf("%s uses %s", f, found)
		}
	}
}
