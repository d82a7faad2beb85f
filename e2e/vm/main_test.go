// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// all runs every scenario on every kernel. Without it one kernel is installed, booted, renumbered and rebooted.
var all = flag.Bool("all", false, "run all scenarios on all kernels: about an hour, so add -timeout 2h")

// share is the directory that the machines have as /mnt: packages of two versions.
var share string

const (
	oldVersion = "0.1.0"
	newVersion = "0.1.1"
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if Missing() != "" {
		return m.Run() // every test says so
	}
	err := flag.Set("test.parallel", "2") // a machine has one processor
	if err != nil {
		return fail(err)
	}
	if share, err = os.MkdirTemp("", "enlace-vm-"); err != nil {
		return fail(err)
	}
	defer func() { _ = os.RemoveAll(share) }()
	return m.Run()
}

// packaged builds the packages, once.
var packaged = sync.OnceValue(func() error {
	for _, version := range []string{oldVersion, newVersion} {
		build := exec.Command("go", "run", "./cmd/package", "--arch", "amd64", "--version", version, "--out", share)
		build.Dir = filepath.Join("..", "..")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build the package: %w\n%s", err, out)
		}
	}
	return nil
})

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// deb is a version's package, as the machines see it.
func deb(version string) string { return "/mnt/enlace_" + version + "_amd64.deb" }

// need skips a test where there are no virtual machines, which is a failure where tests are to be complete.
func need(t *testing.T) {
	t.Helper()
	if m := Missing(); m != "" && os.Getenv("CI") == "true" {
		t.Fatalf("this machine lacks %s", m)
	} else if m != "" {
		t.Skipf("no virtual machines here, because this machine lacks %s (Debian: apt install qemu-system-x86 mmdebstrap e2fsprogs)", m)
	}
}

// suites are the releases that a test runs on: one, or all.
func suites() []Suite {
	if *all {
		return []Suite{Bullseye, Bookworm, Trixie}
	}
	return []Suite{Trixie}
}

// wanted tells whether a test that is not part of the short selection is to run.
func wanted(t *testing.T) bool {
	t.Helper()
	need(t)
	if !*all {
		t.Log("nothing is done without -all")
	}
	return *all
}

// onEach runs a scenario that is not part of the short selection on a machine of each release.
func onEach(t *testing.T, scenario func(o *office)) {
	t.Helper()
	if !wanted(t) {
		return
	}
	t.Parallel()
	for _, s := range suites() {
		t.Run(string(s), func(t *testing.T) {
			t.Parallel()
			scenario(newOffice(t, s))
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
