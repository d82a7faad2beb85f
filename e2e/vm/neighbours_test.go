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

// pinnedTunnel is the policy with a rule for the tunnel's outer packets.
const pinnedTunnel = policy + `
rule "tunnel" {
  from      = router
  protocol  = "udp"
  port      = 51820
  via       = link.embratel
  otherwise = drop
}
`

// Addresses of the tunnel's far end: outside, and what is behind it.
const (
	farEnd    = "198.51.100.7"
	farInside = "10.88.0.1"
)

// TestNeighbours: what else lives on such a router. A WireGuard tunnel's outer packets use the link that a rule says, and its inner routes are not stolen (pains 21, 23);
// a container's flows are balanced, and its published port answers through the link that was asked (pain 25).
func TestNeighbours(t *testing.T) {
	onEach(t, func(o *office) {
		t := o.t
		o.boot(pinnedTunnel)
		o.tunnel()
		o.step("WireGuard")
		o.container()
		o.step("container")
		o.share(t)
		o.unspoilt()
	})
}

// tunnel sets up WireGuard between the router and a far end on the internet, and uses it.
func (o *office) tunnel() {
	o.t.Helper()
	keys := make([]string, 4) // private, public, private, public
	for i := 0; i < len(keys); i += 2 {
		keys[i] = strings.TrimSpace(o.sh("wg genkey"))
		keys[i+1] = strings.TrimSpace(o.sh("echo " + keys[i] + " | wg pubkey"))
	}
	o.sh("echo " + keys[0] + " > /var/tmp/key; ip link add wg0 type wireguard; ip addr add 10.99.0.2/24 dev wg0; " +
		"wg set wg0 private-key /var/tmp/key peer " + keys[3] + " endpoint " + farEnd + ":51820 allowed-ips 10.99.0.0/24,10.88.0.0/16; " +
		"ip link set wg0 up; ip route add 10.88.0.0/16 dev wg0")
	name := "wg-" + string(o.Image.Suite)
	far, err := tie(nil, "wireguard-go", "--foreground", name)
	must(o.t, err)
	must(o.t, o.Internet.Do(far.Start))
	o.t.Cleanup(func() {
		far.Kill()
		_ = far.Wait()
	})
	configure := "for i in $(seq 100); do ip link show " + name + " >/dev/null 2>&1 && break; sleep 0.1; done; " +
		"f=$(mktemp); echo " + keys[2] + " > $f; wg set " + name + " listen-port 51820 private-key $f peer " + keys[1] + " allowed-ips 10.99.0.2/32,10.1.0.0/16 && rm $f && " +
		"ip addr add " + farInside + "/32 dev " + name + " && ip link set " + name + " up && ip route add 10.99.0.0/24 dev " + name + " && ip route add 10.1.0.0/16 dev " + name
	if out, err := o.Internet.Run("sh", "-c", configure); err != nil {
		o.t.Fatalf("far end of the tunnel: %v\n%s", err, out)
	}
	for n := range 6 {
		from := lab.Host([]int{balanced, pinned}[n%2], false)
		seen, err := o.LAN.Ask(lab.Flow{Network: "tcp", From: from, To: netip.MustParseAddrPort(farInside + ":443"), Wait: 20 * time.Second})
		must(o.t, err)
		if seen != from {
			o.t.Errorf("a flow into the tunnel comes from %s, want %s as it is", seen, from)
		}
	}
	out, err := o.Internet.Run("wg", "show", name, "endpoints")
	must(o.t, err)
	if !strings.Contains(string(out), "200.252.10.2:") {
		o.t.Errorf("the tunnel's outer packets come from %s, want embratel's address", out)
	}
}

// container sets up what Docker does for a container with a published port, and uses it both ways.
func (o *office) container() {
	o.t.Helper()
	o.sh("ip link add docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0; ip link set docker0 up; ip netns add box; " +
		"ip link add veth0 type veth peer name eth0 netns box; ip link set veth0 master docker0 up; ip -n box link set lo up; ip -n box addr add 172.17.0.2/16 dev eth0; " +
		"ip -n box link set eth0 up; ip -n box route add default via 172.17.0.1")
	o.write("/var/tmp/docker.nft", "table ip docker {\n"+
		"chain pre { type nat hook prerouting priority -100; fib daddr type local tcp dport 8080 dnat to 172.17.0.2:80; }\n"+
		"chain post { type nat hook postrouting priority 100; ip saddr 172.17.0.0/16 oifname != \"docker0\" masquerade; }\n}\n")
	o.write("/var/tmp/serve.pl", "use IO::Socket::INET;\n$s = IO::Socket::INET->new(LocalPort => 80, Listen => 50, ReuseAddr => 1) or die;\n"+
		"while ($c = $s->accept) { print $c $c->peerhost . ':' . $c->peerport . \"\\n\"; close $c }\n")
	o.write("/var/tmp/ask.pl", "use IO::Socket::INET;\nfor $n (1 .. 30) { $s = IO::Socket::INET->new(PeerAddr => \"198.51.100.$n\", PeerPort => 443, Timeout => 20) or die $@; print scalar <$s>; close $s }\n")
	o.sh("nft -f /var/tmp/docker.nft; systemd-run --quiet ip netns exec box perl /var/tmp/serve.pl; for i in $(seq 100); do ip netns exec box ss -ltn | grep -q :80 && break; sleep 0.1; done")
	counts := map[string]int{}
	for line := range strings.Lines(o.sh("ip netns exec box perl /var/tmp/ask.pl")) {
		seen, err := netip.ParseAddrPort(strings.TrimSpace(line))
		must(o.t, err)
		counts[o.LinkOf(seen.Addr())]++
	}
	if counts["virtua"] != 20 || counts["embratel"] != 10 {
		o.t.Errorf("30 flows of a container: %v, want 20:10", counts)
	}
	for _, address := range []string{"189.1.0.2", "200.252.10.2"} {
		for n := range 5 {
			to := netip.MustParseAddrPort(fmt.Sprintf("%s:8080", address))
			if _, err := o.Internet.Ask(lab.Flow{Network: "tcp", From: lab.Remote(n+1, false), To: to, Wait: 20 * time.Second}); err != nil {
				o.t.Errorf("the published port at %s: %v", address, err)
			}
		}
	}
}
