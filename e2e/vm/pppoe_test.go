// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"enlace/e2e/lab"
)

// dialled is a policy with a PPPoE link, of which nothing is known but its interface.
var dialled = strings.Replace(strings.Replace(policy, `interface = "eth2"`, `interface = "ppp0"`, 1), `  gateway   = "200.252.10.1"`+"\n", "", 1)

// TestPPPoE: a link that is dialled, against a real access concentrator in a namespace of the machine, whose own way to the provider is eth2. Its
// connections' segments fit, and a redial with another address is followed.
func TestPPPoE(t *testing.T) {
	onEach(t, func(o *office) {
		t := o.t
		must(t, o.Boot())
		networkd.setup(o)
		o.sh("rm /etc/systemd/network/10-eth2.network; dpkg -i " + deb(oldVersion))
		o.write("/etc/systemd/network/10-wan2.network", "[Match]\nName=wan2\n[Network]\nLinkLocalAddressing=no\n")
		o.write("/etc/enlace/policy.hcl", dialled)
		o.sh("systemctl restart systemd-networkd; systemctl start enlace-apply enlace")
		// The concentrator gives addresses of the provider's network, and answers for them there.
		o.write("/etc/ppp/pppoe-server-options", "noauth\nlcp-echo-interval 1\nlcp-echo-failure 3\nproxyarp\nms-dns 198.51.100.53\nmtu 1492\nmru 1492\n")
		o.write("/etc/ppp/peers/provider", "plugin "+plugin(o.Image.Suite)+" wan2\nnoauth\nnodefaultroute\npersist\nmaxfail 0\nholdoff 1\nlcp-echo-interval 1\nlcp-echo-failure 3\nmtu 1492\nmru 1492\nunit 0\n")
		o.sh("ip netns add concentrator; ip link set eth2 netns concentrator; ip link add wan2 type veth peer name access netns concentrator; ip link set wan2 up; " +
			"ip -n concentrator addr add 200.252.10.2/24 dev eth2; ip -n concentrator link set eth2 up; ip -n concentrator link set access up; ip -n concentrator link set lo up; " +
			"ip -n concentrator route add default via 200.252.10.1; ip netns exec concentrator sysctl -qw net.ipv4.ip_forward=1")
		o.concentrate("200.252.10.100")
		o.sh("pppd call provider")
		o.await("embratel", "200.252.10.100")
		o.await("virtua", "")
		o.step("dialled")
		o.share(t)
		// The concentrator's MTU is 1492: a segment must not be longer than 1452.
		if client := o.segment(pinned); client > 1452 {
			t.Errorf("segments of %d bytes over PPPoE, want 1452 at most", client)
		}
		if size := o.segment(balanced); size != 1452 && size != 1460 {
			t.Errorf("segments of %d bytes, want 1460 by virtua or 1452", size)
		}
		s := o.stream(balanced)
		for !s.On("virtua") {
			s.Stop()
			s = o.stream(balanced)
		}
		o.concentrate("200.252.10.101")
		o.await("embratel", "200.252.10.101")
		o.untouched(s, "the other link is dialled anew")
		o.share(t)
		o.unspoilt()
		o.step("dialled again")
	})
}

// concentrate starts the access concentrator with another first address; the sessions of the one before end.
func (o *office) concentrate(first string) {
	o.t.Helper()
	o.sh("ip netns pids concentrator | xargs -r kill; sleep 1; ip netns exec concentrator pppoe-server -I access -L 200.252.10.2 -R " + first + " -N 5")
}

// plugin is pppd's for PPPoE, which ppp 2.5 has renamed.
func plugin(s Suite) string {
	if s == Trixie {
		return "pppoe.so"
	}
	return "rp-pppoe.so"
}

// segment opens a connection and returns the longest segment that the client may send.
func (o *office) segment(host int) int {
	o.t.Helper()
	c, err := o.LAN.Open(lab.Flow{Network: "tcp", From: lab.Host(host, false), To: netip.AddrPortFrom(lab.Remote(3, false), 443), Wait: 20 * time.Second})
	must(o.t, err)
	defer func() { _ = c.Close() }()
	size, err := lab.Segment(c)
	must(o.t, err)
	return size
}
