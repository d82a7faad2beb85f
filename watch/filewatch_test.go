// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"enlace/watch/lease"
)

// watched is a file watch below a directory, with a policy that is a file, or a directory.
func watched(t *testing.T, root, policy string) *Loop {
	t.Helper()
	l := &Loop{
		Log: slog.New(slog.DiscardHandler), dirty: newDirty(), orders: make(chan order),
		kernel: &Kernel{files: Files{Leases: lease.Below(root)}}, source: source{Source: Source{Path: policy, Lists: []string{filepath.Join(root, "lists/banks.txt")}, Read: time.Now()}},
	}
	ctx, stop := context.WithCancel(context.Background())
	f, err := l.watchFiles(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(); f.close() })
	return l
}

const long = 10 * time.Second

func write(t *testing.T, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// leaseChanged waits for the dirty bit.
func (l *Loop) leaseChanged(t *testing.T, what string) {
	t.Helper()
	select {
	case <-l.dirty.c:
		l.dirty.take()
	case <-time.After(long):
		t.Fatalf("nobody noticed %s", what)
	}
}

// policyChanged waits for an order to read the policy anew.
func (l *Loop) policyChanged(t *testing.T, what string) {
	t.Helper()
	select {
	case <-l.orders:
	case <-time.After(long):
		t.Fatalf("nobody noticed %s", what)
	}
}

// TestLeaseFiles: leases are noticed in directories that did not exist before, new or replaced, and nothing else is.
func TestLeaseFiles(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "etc/policy.hcl"))
	l := watched(t, root, filepath.Join(root, "etc/policy.hcl"))
	file := filepath.Join(root, "var/lib/dhcp/dhclient.leases")
	write(t, file)
	l.leaseChanged(t, "a lease in new directories")
	write(t, file+"~")
	if err := os.Rename(file+"~", file); err != nil {
		t.Fatal(err)
	}
	l.leaseChanged(t, "a lease in the place of the old one")
	write(t, filepath.Join(root, "var/lib/other/file"))
	write(t, filepath.Join(root, "var/lib/dhcp/.hidden"))
	write(t, filepath.Join(root, "run/enlace/leases/eth1.json")) // and this is what is noticed next
	for {
		select {
		case <-l.dirty.c:
		case <-time.After(long):
			t.Fatal("nobody noticed what enlace lease wrote")
		}
		if s := l.dirty.take().String(); strings.Contains(s, "hidden") || strings.Contains(s, "other") {
			t.Fatalf("noticed %s", s)
		} else if strings.Contains(s, "run") {
			return
		}
	}
}

// TestPolicyFiles: a policy is read when it, a file of its directory, or a list changes, and when it comes back; not before it has been quiet.
func TestPolicyFiles(t *testing.T) {
	root := t.TempDir()
	policy := filepath.Join(root, "policy.d")
	write(t, filepath.Join(policy, "10-links.hcl"))
	l := watched(t, root, policy)
	for _, name := range []string{filepath.Join(policy, "20-rules.hcl"), filepath.Join(root, "lists/banks.txt"), filepath.Join(policy, "10-links.hcl")} {
		began := time.Now()
		for range 3 {
			write(t, name)
		}
		l.policyChanged(t, name)
		if took := time.Since(began); took < quiet {
			t.Errorf("%s was read after %v, want %v of quiet", name, took, quiet)
		}
	}
	if err := os.RemoveAll(policy); err != nil {
		t.Fatal(err)
	}
	l.policyChanged(t, "that the policy is gone")
	write(t, filepath.Join(policy, "10-links.hcl"))
	l.policyChanged(t, "that the policy is back")
}
