// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"enlace/e2e/lab"
)

// bypassing is the policy with a flowtable.
var bypassing = strings.Replace(policy, "group \"both\" {", "group \"both\" {\n  flowtable = true", 1)

// TestPain16_Flowtable: established flows bypass the hooks, stay on their link, and leave it when it dies silently. The flow of the other link
// loses nothing meanwhile.
func TestPain16_Flowtable(t *testing.T) {
	onEach(t, func(o *office) {
		t := o.t
		o.boot(bypassing)
		out, _ := o.Sh("enlace status --json")
		if lacks := strings.Contains(out, "no-flowtable"); lacks != (o.Image.Suite == Bullseye) { // before 5.18 it does not look at marks
			t.Fatalf("flowtable missing: %t\n%s", lacks, out)
		}
		if o.Image.Suite == Bullseye {
			o.share(t)
			o.unspoilt()
			return
		}
		one, other := o.stream(balanced), o.stream(balanced)
		for _, s := range []*lab.Stream{one, other} {
			s.Await(20)
		}
		if one.On("virtua") == other.On("virtua") { // two of three flows
			other.Stop()
			other = o.stream(balanced)
			other.Await(20)
		}
		if n := strings.Count(o.sh("conntrack -L -p udp 2>/dev/null"), "[OFFLOAD]"); n < 2 {
			t.Errorf("%d flows are in the flowtable, want 2:\n%s", n, o.sh("conntrack -L -p udp; nft list table inet enlace | tail -40"))
		}
		stays, moves := one, other
		if one.On("embratel") {
			stays, moves = other, one
		}
		must(t, o.ISP("embratel").Lose(100))
		moves.AwaitVia("virtua", 20)
		if n := strings.Count(o.sh("conntrack -L -p udp 2>/dev/null"), "[OFFLOAD]"); n == 0 {
			t.Error("after the exchange of the flowtable no flow is in the new one")
		}
		o.untouched(stays, "the other link dies")
		r := moves.Stop()
		t.Logf("the flow that moved: by %v, %d of %d packets lost", r.Links, r.Lost, r.Sent)
		must(t, o.ISP("embratel").Lose(0))
		o.await("embratel", "")
		o.share(t)
		o.unspoilt()
		o.step("silent death, and return")
		o.forwardingRates()
		o.step("rates")
	})
}

// forwardingRates measures how many packets of an established flow the machine forwards in a second: plain forwarding with masquerade, enlace, and enlace
// with a flowtable, five times one after the other. What counts are the ratios.
func (o *office) forwardingRates() {
	o.t.Helper()
	o.write("/var/tmp/plain.nft", "table ip plain { chain post { type nat hook postrouting priority 100; oifname { \"eth1\", \"eth2\" } masquerade; }; }\n")
	o.write("/var/tmp/short.hcl", policy)
	modes := []struct{ name, begin, end string }{
		{"plain", "systemctl stop enlace; enlace down; sysctl -qw net.ipv4.ip_forward=1; ip route replace default via 189.1.0.1 dev eth1; nft -f /var/tmp/plain.nft", "nft delete table ip plain"},
		{"enlace", "enlace apply /var/tmp/short.hcl", "enlace down"},
		{"flowtable", "enlace apply /etc/enlace/policy.hcl", "enlace down"},
	}
	rates := map[string][]float64{}
	for range 5 {
		for _, m := range modes {
			o.sh(m.begin)
			rates[m.name] = append(rates[m.name], o.rate())
			o.sh(m.end)
		}
	}
	median := func(name string) float64 {
		slices.Sort(rates[name])
		return rates[name][len(rates[name])/2]
	}
	plain := median("plain")
	o.t.Logf("packets a second of an established flow: plain %.0f (1.00), enlace %.2f, with a flowtable %.2f", plain, median("enlace")/plain, median("flowtable")/plain)
	if median("flowtable") < 1.2*plain {
		o.t.Errorf("a flowtable makes %.2f of plain forwarding, want at least 1.2", median("flowtable")/plain)
	}
}

// rate sends packets as fast as it can and returns how many arrive in a second.
func (o *office) rate() float64 {
	o.t.Helper()
	var server net.PacketConn
	to := "198.51.100.9:7777"
	must(o.t, o.Internet.Do(func() (err error) {
		server, err = net.ListenPacket("udp", to)
		return err
	}))
	defer func() { _ = server.Close() }()
	var arrived atomic.Int64
	go func() {
		buf := make([]byte, 100)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			if arrived.Add(1)%64 == 1 { // enough for the flow to be established, and to stay so
				_, _ = server.WriteTo(buf[:n], from)
			}
		}
	}()
	var client net.Conn
	must(o.t, o.LAN.Do(func() (err error) {
		d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(lab.Host(balanced, false), 0))}
		client, err = d.Dial("udp", to)
		return err
	}))
	defer func() { _ = client.Close() }()
	send := func(d time.Duration) {
		for end := time.Now().Add(d); time.Now().Before(end); {
			for range 32 {
				_, _ = client.Write([]byte("packet"))
			}
			time.Sleep(200 * time.Microsecond)
		}
	}
	send(time.Second) // until it is established
	before := arrived.Load()
	const measured = 3 * time.Second
	send(measured)
	if n := arrived.Load() - before; n > 0 {
		return float64(n) / measured.Seconds()
	}
	o.t.Fatal(fmt.Errorf("no packet has arrived"))
	return 0
}
