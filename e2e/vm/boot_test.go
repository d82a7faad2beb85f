// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"enlace/e2e/lab"
)

// TestBoot installs the package on a Debian machine, and reboots it while hosts inside open flows: there is no moment in which these
// leave untranslated or by the wrong link. Then the provider gives another address, the owner of the interfaces begins again, and the
// package is upgraded and removed.
func TestBoot(t *testing.T) {
	need(t)
	t.Parallel()
	for _, s := range suites() {
		for _, by := range owners() {
			t.Run(fmt.Sprintf("%s/%s", s, by.name), func(t *testing.T) {
				t.Parallel()
				o := newOffice(t, s)
				o.install(by)
				o.step("first boot and installation")
				k := o.knock()
				must(t, o.Reboot())
				must(t, o.Booted())
				o.ready()
				o.await("virtua", "189.1.0.2")
				o.await("embratel", "200.252.10.2")
				k.end()
				o.unspoilt()
				o.step("reboot")
				o.share(t)
				o.protected()
				o.step("shares")
				o.renumber(by)
				o.step("renumbering")
				o.again(by.restart)
				if by.name == networkd.name { // as it is without the package's word: it takes away what it does not know
					o.sh("rm /usr/lib/systemd/networkd.conf.d/enlace.conf")
					o.again(by.restart)
					o.t.Logf("put back: %s", o.sh("journalctl -b -u enlace --no-pager -o cat | grep -c 'put back' || true"))
				}
				o.step(by.restart)
				o.upgrade()
				o.step("upgrade and purge")
				o.unspoilt()
			})
		}
	}
}

// ready tests that the table was there before any interface was configured, and the network declared online after that.
func (o *office) ready() {
	o.t.Helper()
	o.sh("systemctl is-system-running --wait >/dev/null || true")
	applied, pre, online := o.moment("enlace-apply.service"), o.moment("network-pre.target"), o.moment("network-online.target")
	if applied > pre || pre > online {
		o.t.Errorf("enlace-apply was done at %d us, network-pre.target at %d, network-online.target at %d: want this order", applied, pre, online)
	}
	if failed := strings.TrimSpace(o.sh("systemctl list-units --failed --no-legend --plain")); failed != "" {
		o.t.Errorf("units have failed: %s", failed)
	}
}

// protected: the daemon keeps the table to itself where the kernel can leave it to its successor (NFT_TABLE_F_PERSIST, Linux 6.9), and nowhere else: a table
// that ends with its program (NFT_TABLE_F_OWNER alone, 5.12) would end forwarding.
func (o *office) protected() {
	o.t.Helper()
	want := o.Image.Suite == Trixie
	_, err := o.Sh("nft add chain inet enlace stranger")
	if refused := err != nil; refused != want {
		o.t.Errorf("a stranger's chain was refused: %t (%v), want %t", refused, err, want)
	}
}

// share tests that flows are balanced, and that a rule's are not.
func (o *office) share(t *testing.T) {
	t.Helper()
	if got := o.shares(balanced, 30); got["virtua"] != 20 || got["embratel"] != 10 {
		t.Errorf("shares of 30 flows %v, want 20:10", got)
	}
	if got := o.shares(pinned, 6); got["embratel"] != 6 {
		t.Errorf("flows of the pinned host: %v, want embratel only", got)
	}
}

// stream starts a flow of the pinned host, which no event of the other link may disturb.
func (o *office) stream(host int) *lab.Stream {
	o.t.Helper()
	s, err := o.StreamUDP(o.LAN, lab.Flow{From: lab.Host(host, false), To: netip.AddrPortFrom(lab.Remote(7, false), 443)}, 50)
	must(o.t, err)
	s.Await(1)
	return s
}

// alive ends a flow that must have gone on to the end, whatever it has lost before.
func (o *office) alive(s *lab.Stream) lab.Result {
	o.t.Helper()
	time.Sleep(2 * time.Second) // a hundred packets
	r := s.Stop()
	late := 0
	for _, n := range r.Missing {
		if n >= r.Sent-50 {
			late++
		}
	}
	if late > 5 {
		o.t.Errorf("a flow does not go on: of its last 50 packets %d were lost", late)
	}
	return r
}

// untouched ends a flow that must have lost nothing.
func (o *office) untouched(s *lab.Stream, what string) {
	o.t.Helper()
	time.Sleep(time.Second) // what is on its way in a slow machine
	r := s.Stop()
	if r.Lost != 0 || len(r.Links) != 1 {
		o.t.Errorf("%s: of %d packets of a flow %d were lost, by %v; want none, by one link", what, r.Sent, r.Lost, r.Links)
	}
}

// renumber: the provider's DHCP server gives another network.
func (o *office) renumber(by owner) {
	o.t.Helper()
	s := o.stream(pinned)
	must(o.t, o.Renumber("virtua", netip.MustParsePrefix("189.44.7.0/24")))
	o.serveDHCP("189.44.7.2", "189.44.7.1")
	if by.watchful { // the modem loses its line, and gets another address
		must(o.t, o.Carrier(1, false))
		o.down("virtua")
		must(o.t, o.Carrier(1, true))
	}
	o.await("virtua", "189.44.7.2")
	o.untouched(s, "the other link is renumbered")
	must(o.t, o.Settled("virtua"))
	o.share(o.t)
}

// again: the owner of the interfaces begins again, and takes away what is not its own.
func (o *office) again(restart string) {
	o.t.Helper()
	s := o.stream(pinned)
	o.sh(restart)
	o.quiet()
	o.sh("for i in $(seq 50); do enlace plan >/dev/null && exit 0; sleep 0.2; done; enlace plan")
	r := o.alive(s)
	o.t.Logf("%s: %d of %d packets of a flow lost", restart, r.Lost, r.Sent)
	for link := range r.Links {
		if link != "embratel" {
			o.t.Errorf("%s: packets of a pinned flow by %v", restart, r.Links)
		}
	}
	o.share(o.t)
}

// upgrade: forwarding goes on while the package is replaced. After a purge nothing is left.
func (o *office) upgrade() {
	o.t.Helper()
	o.sh("echo '# changed here' >> /etc/enlace/policy.hcl.example; cp /etc/enlace/policy.hcl /var/tmp")
	s := o.stream(pinned)
	o.sh("dpkg -i " + deb(newVersion))
	o.sh("grep -q 'changed here' /etc/enlace/policy.hcl.example && cmp /etc/enlace/policy.hcl /var/tmp/policy.hcl")
	if got := o.sh("enlace version"); got != "enlace "+newVersion+"\n" {
		o.t.Errorf("after the upgrade: %s", got)
	}
	o.await("virtua", "")
	o.await("embratel", "")
	o.untouched(s, "upgrade")
	if *all { // removed, and put back again
		o.sh("dpkg --remove enlace; ! nft list table inet enlace 2>/dev/null && dpkg -i " + deb(newVersion))
		o.quiet()
		o.share(o.t)
	}
	o.sh("dpkg --purge enlace")
	left := o.sh("find / -xdev -name '*enlace*' -not -path '/var/log/*' -not -path '/tmp/*'; ls /run | grep enlace; nft list tables | grep enlace; (ip rule; ip -6 rule) | grep -E '0xff000000|225'; getent group enlace; true")
	if strings.TrimSpace(left) != "" {
		o.t.Errorf("after the purge there are still:\n%s", left)
	}
}
