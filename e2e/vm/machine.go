// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is a Debian system in QEMU, with a disk of its own that outlives its power.
type Machine struct {
	Image Image
	Dir   string // disk, sockets and the console's log
	Share string // a directory of the host that the machine has, read-only, as /mnt
	taps  []*os.File

	cmd     *Tied
	off     chan struct{} // closed when QEMU has ended
	exit    error         // how; to be read after that
	mu      sync.Mutex    // one command at a time
	agent   *channel
	monitor *channel
}

// New makes a machine from an image, switched off. Its interfaces eth0, eth1... are plugged into the files.
func New(i Image, dir, share string, taps ...*os.File) (*Machine, error) {
	m := &Machine{Image: i, Dir: dir, Share: share, taps: taps}
	return m, copySparse(i.Disk, m.file("disk"))
}

func (m *Machine) file(name string) string { return filepath.Join(m.Dir, name) }

// Processors and memory (MiB) of a machine. With two processors QEMU 7.2 translates code that a kernel is just changing under the other
// (a panic of Linux 6.12 in one boot of ten).
const (
	cores  = 1
	memory = 1024
)

// unwanted are drivers that udev would load for devices that nobody uses: each costs a second of translated code.
const unwanted = "kvm_amd,kvm_intel,ata_piix,ata_generic,floppy,pcspkr,i2c_piix4,psmouse,qemu_fw_cfg,aesni_intel,ghash_clmulni_intel,sha512_ssse3,sha256_ssse3,sha1_ssse3,crct10dif_pclmul"

// PowerOn starts the machine and returns at once.
func (m *Machine) PowerOn() error {
	args := append(accelerator(m.Image),
		"-smp", fmt.Sprint(cores), "-m", fmt.Sprint(memory), "-nodefaults", "-no-reboot", "-display", "none",
		"-kernel", m.Image.Kernel, "-initrd", m.Image.Initrd,
		"-append", "root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off panic=-1 systemd.show_status=1 modprobe.blacklist="+unwanted,
		// What the guest has written out survives that QEMU is killed, as with a real disk; what it has not does not.
		"-drive", "file="+m.file("disk")+",format=raw,if=virtio,cache=writeback",
		"-chardev", "file,id=console,path="+m.file("console")+",append=on", "-serial", "chardev:console",
		"-device", "virtio-serial", "-chardev", "socket,id=agent,server=on,wait=off,path="+m.file("agent"),
		"-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
		"-chardev", "socket,id=monitor,server=on,wait=off,path="+m.file("monitor"), "-mon", "chardev=monitor,mode=control",
		"-virtfs", "local,path="+m.Share+",mount_tag=share,security_model=none,readonly=on")
	for n, f := range m.taps {
		drain(f)
		args = append(args, "-netdev", fmt.Sprintf("tap,id=n%d,fd=%d", n, 3+n),
			"-device", fmt.Sprintf("virtio-net-pci,id=%s,netdev=n%d,mac=52:54:00:e1:00:%02x", card(n), n, n))
	}
	cmd, err := tie(m.taps, "chrt", append([]string{"--idle", "0", "qemu-system-x86_64"}, args...)...)
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	off := make(chan struct{})
	m.cmd, m.off = cmd, off
	go func() {
		if m.exit = cmd.Wait(); m.exit != nil {
			m.exit = fmt.Errorf("%w\n%s", m.exit, cmd.said.String())
		}
		cmd.Kill()
		close(off)
	}()
	return nil
}

// bootTime is how long a boot may take. It takes 20 seconds alone on two cores.
const bootTime = 4 * time.Minute

// Booted waits until commands can be run. It does not wait for all services.
func (m *Machine) Booted() error {
	agent, err := awaitAgent(m.file("agent"), bootTime, m.off)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.agent = agent
	m.mu.Unlock()
	if m.monitor, err = dial(m.file("monitor")); err != nil {
		return err
	}
	if err := m.monitor.ask(agentTime, "qmp_capabilities", nil, nil); err != nil {
		return err
	}
	_, err = m.Sh("udevadm settle; mountpoint -q /mnt || mount -t 9p -o trans=virtio,ro,msize=262144 share /mnt")
	return err
}

// Boot switches the machine on and waits until commands can be run.
func (m *Machine) Boot() error {
	if err := m.PowerOn(); err != nil {
		return err
	}
	return m.Booted()
}

// PowerCut switches the machine off as no machine should be.
func (m *Machine) PowerCut() error {
	if m.cmd == nil {
		return nil
	}
	m.cmd.Kill()
	select {
	case <-m.off:
	case <-time.After(agentTime):
		return errors.New("QEMU does not end")
	}
	m.disconnect()
	return nil
}

// Reboot restarts the machine in an orderly way. It returns when the old system has ended and the new one is starting.
func (m *Machine) Reboot() error {
	if _, err := m.Sh("systemctl --no-block reboot"); err != nil {
		return err
	}
	return m.restart()
}

// restart waits for the end of a system that is going down, and starts it again.
func (m *Machine) restart() error {
	select {
	case <-m.off:
		if m.exit != nil {
			return fmt.Errorf("QEMU: %w", m.exit)
		}
	case <-time.After(bootTime):
		return errors.Join(errors.New("the machine does not go down"), m.PowerCut())
	}
	m.disconnect()
	return m.PowerOn()
}

func (m *Machine) disconnect() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range []*channel{m.agent, m.monitor} {
		if c != nil {
			_ = c.conn.Close()
		}
	}
	m.agent, m.monitor, m.cmd = nil, nil, nil
}

// card is the name of a network card for the monitor.
func card(n int) string { return fmt.Sprintf("card%d", n) }

// Carrier plugs the cable of interface eth0, eth1... in or pulls it.
func (m *Machine) Carrier(n int, up bool) error {
	return m.monitor.ask(agentTime, "set_link", map[string]any{"name": card(n), "up": up}, nil)
}

// Console is what the kernel and systemd have printed.
func (m *Machine) Console() string {
	b, err := os.ReadFile(m.file("console"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// drain forgets what was sent to the machine while it was off: a network card does not keep it.
func drain(f *os.File) {
	buf := make([]byte, 1<<16)
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		for {
			if n, err := unix.Read(int(fd), buf); n <= 0 || err != nil {
				return
			}
		}
	})
}
