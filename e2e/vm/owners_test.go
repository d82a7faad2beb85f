// SPDX-License-Identifier: Apache-2.0

package vm

// owner sets up who configures the interfaces: eth0 inside, eth1 by DHCP, eth2 with a fixed address.
type owner struct {
	name  string
	setup func(*office)
	// watchful ones ask the DHCP server again when the cable was pulled; others wait for the end of their lease.
	watchful bool
	// restart is a command that makes the owner begin again.
	restart string
}

var networkd = owner{"networkd", func(o *office) {
	o.write("/etc/systemd/network/10-eth0.network", "[Match]\nName=eth0\n[Network]\nAddress=10.1.0.1/16\n")
	o.write("/etc/systemd/network/10-eth1.network", "[Match]\nName=eth1\n[Network]\nDHCP=ipv4\n")
	o.write("/etc/systemd/network/10-eth2.network", "[Match]\nName=eth2\n[Network]\nAddress=200.252.10.2/24\n")
	o.sh("systemctl enable systemd-networkd systemd-networkd-wait-online")
	// networkd of Debian 11 (247) fails an assertion in every second or third restart, on machines without enlace, too.
}, true, "systemctl restart systemd-networkd; for i in $(seq 20); do sleep 3; systemctl is-active -q systemd-networkd && break; " +
	"systemctl reset-failed systemd-networkd.service systemd-networkd.socket; systemctl start systemd-networkd; done"}

var ifupdown = owner{"ifupdown", func(o *office) {
	o.write("/etc/network/interfaces.d/office", "auto eth0\niface eth0 inet static\n  address 10.1.0.1/16\n"+
		"allow-hotplug eth1\niface eth1 inet dhcp\nauto eth2\niface eth2 inet static\n  address 200.252.10.2/24\n")
	o.sh("systemctl enable networking")
}, false, "ifdown eth1; ifup eth1"}

var networkManager = owner{"NetworkManager", func(o *office) {
	for _, c := range []struct{ name, method string }{
		{"eth0", "method=manual\naddress1=10.1.0.1/16\n"},
		{"eth1", "method=auto\n"},
		{"eth2", "method=manual\naddress1=200.252.10.2/24\n"},
	} {
		file := "/etc/NetworkManager/system-connections/" + c.name + ".nmconnection"
		o.write(file, "[connection]\nid="+c.name+"\ntype=ethernet\ninterface-name="+c.name+"\n[ipv4]\n"+c.method+"[ipv6]\nmethod=link-local\n")
		o.sh("chmod 600 " + file)
	}
	o.sh("systemctl enable NetworkManager NetworkManager-wait-online")
}, true, "systemctl restart NetworkManager"}

// owners are those that a test runs with: one, or all.
func owners() []owner {
	if *all {
		return []owner{networkd, ifupdown, networkManager}
	}
	return []owner{networkd}
}

// install puts the package and a policy on a machine that has booted for the first time.
func (o *office) install(by owner) {
	o.t.Helper()
	must(o.t, o.Boot())
	by.setup(o)
	// The worst case: the kernel forwards from the first moment on.
	o.write("/etc/sysctl.d/90-router.conf", "net.ipv4.ip_forward=1\n")
	o.sh("systemctl add-wants multi-user.target network-online.target")
	o.sh("dpkg -i " + deb(oldVersion))
	o.write("/etc/enlace/policy.hcl", policy)
}

// boot installs a machine with a policy, reboots it, and waits until both links are up.
func (o *office) boot(policy string) {
	o.t.Helper()
	o.install(networkd)
	o.write("/etc/enlace/policy.hcl", policy)
	must(o.t, o.Reboot())
	must(o.t, o.Booted())
	o.await("virtua", "")
	o.await("embratel", "")
	o.step("boot")
}
