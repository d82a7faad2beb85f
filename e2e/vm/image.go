// SPDX-License-Identifier: Apache-2.0

// Package vm runs the program on real Debian machines: it builds disk images from Debian's packages, boots them in QEMU with
// their network cards in a lab's namespaces, and runs commands inside. It needs root, QEMU, mmdebstrap and mke2fs.
package vm

import (
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Suite is a release of Debian, with its kernel.
type Suite string

// The releases that are tested: Linux 5.10, 6.1 and 6.12.
const (
	Bullseye Suite = "bullseye"
	Bookworm Suite = "bookworm"
	Trixie   Suite = "trixie"
)

// packages is what every image has besides Debian's essential packages: three ways to own the interfaces, the far ends that
// scenarios want, and the agent by which commands are run.
var packages = []string{
	"linux-image-amd64", "initramfs-tools", "systemd-sysv", "udev", "dbus", "kmod", "procps", "qemu-guest-agent",
	"ifupdown", "isc-dhcp-client", "network-manager", "ppp", "pppoe", "wireguard-tools",
	"iproute2", "iputils-ping", "nftables", "conntrack", "tcpdump",
}

// customize is run on the image's tree when the packages are in it. Its argument is the tree.
//
//go:embed customize.sh
var customize string

// Image is a disk with a Debian system, and what is needed to start it.
type Image struct {
	Suite  Suite
	Disk   string // an ext4 file system, never written to
	Kernel string
	Initrd string
}

// Build makes the image of a suite from packages, or finds the one that was made by the same recipe. It takes a minute and is
// kept in the user's cache directory.
func Build(s Suite) (Image, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return Image{}, err
	}
	recipe := sha256.Sum256([]byte(fmt.Sprint(bootstrap(s, "customize", "tree"), customize, diskSize)))
	dir := filepath.Join(cache, "enlace", fmt.Sprintf("%s-%x", s, recipe[:6]))
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return Image{}, err
	}
	// Two tests may want the same image at the same time.
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return Image{}, err
	}
	defer func() { _ = lock.Close() }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return Image{}, err
	}
	i := Image{Suite: s, Disk: filepath.Join(dir, "disk"), Kernel: filepath.Join(dir, "vmlinuz"), Initrd: filepath.Join(dir, "initrd")}
	if _, err := os.Stat(dir); err == nil {
		return i, nil
	}
	return i, build(s, dir)
}

// build makes the image beside its place and moves it there when it is complete.
func build(s Suite, dir string) (err error) {
	work, err := os.MkdirTemp(filepath.Dir(dir), "building-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	tree, result, script := filepath.Join(work, "tree"), filepath.Join(work, "result"), filepath.Join(work, "customize")
	if err := errors.Join(os.Mkdir(result, 0o755), os.WriteFile(script, []byte(customize), 0o755)); err != nil {
		return err
	}
	if err := politely("mmdebstrap", bootstrap(s, script, tree)...); err != nil {
		return err
	}
	for pattern, name := range map[string]string{"vmlinuz-*": "vmlinuz", "initrd.img-*": "initrd"} {
		found, err := filepath.Glob(filepath.Join(tree, "boot", pattern))
		if err != nil || len(found) != 1 {
			return fmt.Errorf("build %s: %d files /boot/%s, want 1", s, len(found), pattern)
		}
		if err := copySparse(found[0], filepath.Join(result, name)); err != nil {
			return err
		}
	}
	disk := filepath.Join(result, "disk")
	if err := errors.Join(os.WriteFile(disk, nil, 0o600), os.Truncate(disk, diskSize)); err != nil {
		return err
	}
	if err := politely("mke2fs", "-q", "-t", "ext4", "-d", tree, disk); err != nil {
		return err
	}
	return os.Rename(result, dir)
}

// diskSize is that of a machine's disk in bytes; the image is sparse.
const diskSize = 3 << 30

// bootstrap is how mmdebstrap is to make a suite's tree.
func bootstrap(s Suite, script, tree string) []string {
	return []string{
		"--quiet", "--mode=root", "--variant=minbase", "--include=" + strings.Join(packages, ","),
		"--aptopt=APT::Install-Recommends \"false\"", "--dpkgopt=force-unsafe-io",
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/man/*",
		// Only the drivers of a virtual machine's disk: the kernel unpacks it slowly without hardware support.
		`--essential-hook=mkdir -p "$1/etc/initramfs-tools/conf.d" && printf 'MODULES=list\nCOMPRESS=gzip\n' > "$1/etc/initramfs-tools/conf.d/vm" && ` +
			`printf 'virtio_pci\nvirtio_blk\next4\n' > "$1/etc/initramfs-tools/modules"`,
		"--customize-hook=" + script, string(s), tree,
	}
}

// politely runs a program that leaves the processors to whoever else wants them: tests that measure time may run beside it.
func politely(name string, args ...string) error {
	cmd := exec.Command("chrt", append([]string{"--idle", "0", name}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

// copySparse copies a file and leaves out what is empty.
func copySparse(from, to string) error {
	if out, err := exec.Command("cp", "--sparse=always", "--reflink=auto", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w\n%s", from, err, out)
	}
	return nil
}

// Missing says what this machine lacks to run virtual machines, "" when it lacks nothing.
func Missing() string {
	var lacks []string
	for _, p := range []string{"qemu-system-x86_64", "mmdebstrap", "mke2fs", "chrt"} {
		if _, err := exec.LookPath(p); err != nil {
			lacks = append(lacks, p)
		}
	}
	if os.Geteuid() != 0 {
		lacks = append(lacks, "root")
	}
	if f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err != nil {
		lacks = append(lacks, "/dev/net/tun")
	} else {
		_ = f.Close()
	}
	return strings.Join(lacks, ", ")
}
