// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// compile builds the program for an architecture: one static binary, for glibc's systems and musl's alike.
func (s *staging) compile(a architecture) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version="+s.version,
		"-o", filepath.Join(s.dir, "enlace"), "./cmd/enlace")
	cmd.Dir = s.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+a.goarch, "GOARM="+a.goarm)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build for %s: %w\n%s", a.debian, err, out)
	}
	return nil
}

// deb makes the Debian package of what is staged.
func (s *staging) deb(a architecture, out string) (string, error) {
	file := filepath.Join(out, fmt.Sprintf("enlace_%s_%s.deb", s.version, a.debian))
	// The tool is built for this machine, in a module of its own.
	cmd := exec.Command("go", "run", nfpm, "package", "--packager", "deb", "--config", "nfpm.yaml", "--target", file)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "ENLACE_ARCH="+a.debian, "ENLACE_VERSION="+s.version, fmt.Sprintf("SOURCE_DATE_EPOCH=%d", s.date.Unix()))
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("nfpm: %w\n%s", err, text)
	}
	return file, nil
}

// bundled is what the tarball has, and where. It is unpacked in the root directory, or looked through.
var bundled = []struct {
	from, to string
	mode     int64
}{
	{"enlace", "usr/sbin/enlace", 0o755},
	{"host/enlace.openrc", "etc/init.d/enlace", 0o755},
	{"host/enlace-apply.service", "usr/lib/systemd/system/enlace-apply.service", 0o644},
	{"host/enlace.service", "usr/lib/systemd/system/enlace.service", 0o644},
	{"host/networkd.conf", "usr/lib/systemd/networkd.conf.d/enlace.conf", 0o644},
	{"host/sysusers.conf", "usr/lib/sysusers.d/enlace.conf", 0o644},
	{"host/dhclient-hook", "etc/dhcp/dhclient-exit-hooks.d/enlace", 0o644},
	{"host/policy.hcl.example", "etc/enlace/policy.hcl.example", 0o644},
	{"host/rt_protos.conf", "etc/iproute2/rt_protos.d/enlace.conf", 0o644},
	{"host/dhcpcd-hook", "usr/lib/dhcpcd/dhcpcd-hooks/90-enlace", 0o644},
	{"host/udhcpc-hook", "usr/share/enlace/udhcpc-hook", 0o755},
	{"enlace.8.gz", "usr/share/man/man8/enlace.8.gz", 0o644},
	{"enlace.policy.5.gz", "usr/share/man/man5/enlace.policy.5.gz", 0o644},
	{"completion.bash", "usr/share/bash-completion/completions/enlace", 0o644},
	{"completion.zsh", "usr/share/zsh/site-functions/_enlace", 0o644},
	{"completion.fish", "usr/share/fish/vendor_completions.d/enlace.fish", 0o644},
	{"copyright", "usr/share/doc/enlace/copyright", 0o644},
	{"LICENSE", "usr/share/doc/enlace/LICENSE", 0o644},
	{"licenses.gz", "usr/share/doc/enlace/licenses.gz", 0o644},
	{"README.md", "usr/share/doc/enlace/README.md", 0o644},
	{"CHANGES.md", "usr/share/doc/enlace/CHANGES.md", 0o644},
	{"STATUS.md", "usr/share/doc/enlace/STATUS.md", 0o644},
}

// tarball makes an archive for systems without dpkg, such as Alpine.
func (s *staging) tarball(a architecture, out string) (file string, err error) {
	file = filepath.Join(out, fmt.Sprintf("enlace-%s-%s.tar.gz", s.version, a.debian))
	f, err := os.Create(file)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z := gzip.NewWriter(f)
	t := tar.NewWriter(z)
	for _, b := range bundled {
		content, err := os.ReadFile(filepath.Join(s.dir, b.from))
		if err != nil {
			return "", err
		}
		h := &tar.Header{Name: b.to, Mode: b.mode, Size: int64(len(content)), ModTime: s.date, Typeflag: tar.TypeReg, Uname: "root", Gname: "root"}
		if err := t.WriteHeader(h); err != nil {
			return "", err
		}
		if _, err := t.Write(content); err != nil {
			return "", fmt.Errorf("%s: %w", strings.TrimPrefix(b.to, "/"), err)
		}
	}
	return file, errors.Join(t.Close(), z.Close())
}
