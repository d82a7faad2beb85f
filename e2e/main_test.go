// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the program on real traffic, in a lab of network namespaces.
package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"enlace/e2e/lab"
)

// binaryVariable names the program under test. It is built before a user namespace is entered, where nothing can be downloaded.
const binaryVariable = "ENLACE_E2E_BINARY"

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Getenv(applierVariable) != "" {
		return applyOnDemand()
	}
	if os.Getenv(followerVariable) != "" {
		return followAndMeasure()
	}
	if os.Getenv(binaryVariable) == "" {
		dir, err := os.MkdirTemp("", "enlace-e2e-")
		if err != nil {
			return fail(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		binary := filepath.Join(dir, "enlace")
		if out, err := exec.Command("go", "build", "-o", binary, "enlace/cmd/enlace").CombinedOutput(); err != nil {
			return fail(fmt.Errorf("build enlace: %w\n%s", err, out))
		}
		if err := os.Setenv(binaryVariable, binary); err != nil {
			return fail(err)
		}
	}
	status, err := lab.EnterUserNamespace()
	if err != nil {
		return fail(err)
	}
	if status != lab.Here {
		return status
	}
	// Tests that run beside each other wait most of the time.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		return fail(err)
	}
	return m.Run()
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}
