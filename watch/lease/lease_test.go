// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"enlace/policy"
)

var (
	equal = cmp.Options{cmpopts.EquateComparable(netip.Addr{})}
	now   = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// dhclientFile has what such files have: a comment, leases of two interfaces, an option with braces in quotes, IPv6, and a lease that is
// being written.
const dhclientFile = `# a comment { with a brace
default-duid "\000\001";
lease {
  interface "eth1";
  fixed-address 189.1.0.2;
  option routers 189.1.0.1;
  expire 0 2026/11/22 11:00:00;
}
lease {
  interface "eth2";
  fixed-address 200.252.10.2;
  option domain-name "a \"name\" with } and ;";
  option routers 200.252.10.1,200.252.10.3;
  renew 0 2026/11/22 12:30:00;
  expire 0 2026/11/22 13:00:00; # a Sunday
}
lease6 {
  interface "eth1";
  ia-na 01:02:03:04 {
    iaaddr 2001:db8::2 { preferred-life 100; max-life 200; }
  }
}
lease {
  interface "eth1";
  fixed-address 189.1.0.7;
  option routers 189.1.0.254;
  expire epoch 1795352400; # 2026/11/22 13:00:00
}
lease {
  interface "eth2";
  fixed-address 200.252.10.9;
  option routers 200.25`

func TestDhclient(t *testing.T) {
	want := []Record{
		{policy.Lease{Interface: "eth1", Address: netip.MustParseAddr("189.1.0.7"), Gateways: addrs("189.1.0.254"), Source: "dhclient, f"}, now.Add(time.Hour)},
		{policy.Lease{Interface: "eth2", Address: netip.MustParseAddr("200.252.10.2"), Gateways: addrs("200.252.10.1", "200.252.10.3"), Source: "dhclient, f"}, now.Add(time.Hour)},
	}
	if d := cmp.Diff(want, ParseDhclient([]byte(dhclientFile), "f"), equal); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestDhclientLines(t *testing.T) {
	for line, want := range map[string]Record{
		`expire never;`:                 {},
		`expire 0 2026/11/22 12:00:00;`: {Ends: now},
		`option rfc3442-classless-static-routes 24,10,1,2,189,1,0,9,0,189,1,0,1; option routers 1.2.3.4;`: {
			Lease: policy.Lease{Gateways: addrs("189.1.0.1")},
		},
		`option routers 1.2.3.4; option classless-static-routes 24 10.1.2 189.1.0.9;`: {Lease: policy.Lease{Gateways: addrs("1.2.3.4")}},
		`option routers 0.0.0.0, 1.2.3.4;`:                                            {Lease: policy.Lease{Gateways: addrs("1.2.3.4")}},
	} {
		got := ParseDhclient([]byte(`lease { interface "e"; `+line+` }`), "f")
		want.Interface, want.Source = "e", "dhclient, f"
		if d := cmp.Diff([]Record{want}, got, equal); d != "" {
			t.Errorf("%s (-want +got)\n%s", line, d)
		}
	}
}

func TestKeyValue(t *testing.T) {
	want := []Record{{Lease: policy.Lease{
		Interface: "eth1", Address: netip.MustParseAddr("189.1.0.2"), Gateways: addrs("189.1.0.1", "189.1.0.3"), Source: "systemd-networkd, f",
	}}}
	text := "# This is private data. Do not parse.\nADDRESS=189.1.0.2\nNETMASK=255.255.255.0\nROUTER=189.1.0.1 189.1.0.3\nLIFETIME=3600\n"
	if d := cmp.Diff(want, ParseNetworkd([]byte(text), "eth1", "f"), equal); d != "" {
		t.Errorf("networkd (-want +got)\n%s", d)
	}
	want[0].Source = "NetworkManager, f"
	text = "[device]\nmanaged=true\nrouters=9.9.9.9\n[dhcp4]\nip_address=189.1.0.2\nrouters=189.1.0.1 189.1.0.3\n[dhcp6]\nip_address=2001:db8::1\n"
	if d := cmp.Diff(want, ParseNetworkManager([]byte(text), "eth1", "f"), equal); d != "" {
		t.Errorf("NetworkManager (-want +got)\n%s", d)
	}
}

// answer is a DHCP server's answer.
func answer(t testing.TB, options ...dhcpv4.Modifier) []byte {
	p, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithYourIP(net.IPv4(189, 1, 0, 2))}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	return p.ToBytes()
}

func TestDhcpcd(t *testing.T) {
	packet := answer(t, dhcpv4.WithRouter(net.IPv4(189, 1, 0, 1)), dhcpv4.WithLeaseTime(3600))
	want := []Record{{policy.Lease{
		Interface: "eth1", Address: netip.MustParseAddr("189.1.0.2"), Gateways: addrs("189.1.0.1"), Source: "dhcpcd, f",
	}, now.Add(time.Hour)}}
	for _, name := range []string{"eth1.lease", "dhcpcd-eth1.lease"} {
		if d := cmp.Diff(want, ParseDhcpcd(packet, name, now, "f"), equal); d != "" {
			t.Errorf("%s (-want +got)\n%s", name, d)
		}
	}
	if got := ParseDhcpcd(packet, "duid", now, "f"); got != nil {
		t.Errorf("a file that is no lease: %v", got)
	}
	_, all, _ := net.ParseCIDR("0.0.0.0/0")
	packet = answer(t, dhcpv4.WithRouter(net.IPv4(189, 1, 0, 1)), dhcpv4.WithLeaseTime(1<<32-1),
		dhcpv4.WithOption(dhcpv4.OptClasslessStaticRoute(&dhcpv4.Route{Dest: all, Router: net.IPv4(189, 1, 0, 9)})))
	if got := ParseDhcpcd(packet, "eth1.lease", now, "f"); !got[0].Ends.IsZero() || got[0].Gateways[0] != netip.MustParseAddr("189.1.0.9") {
		t.Errorf("a lease for ever with classless routes: %+v", got)
	}
}

// TestRead: what is told comes first, ended leases and those of unknown interfaces do not count, and the next end is known.
func TestRead(t *testing.T) {
	root := t.TempDir()
	d := Below(root)
	put := func(name, text string) {
		t.Helper()
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	interfaces := []policy.Interface{{Name: "eth1", Index: 7}, {Name: "eth2", Index: 8}}
	if leases, next := d.Read(interfaces, now); leases != nil || !next.IsZero() {
		t.Errorf("without any file: %v, %v", leases, next)
	}
	put("var/lib/dhcp/dhclient.leases", dhclientFile)
	put("run/systemd/netif/leases/7", "ADDRESS=189.1.0.7\nROUTER=189.1.0.9\n")
	put("run/systemd/netif/leases/99", "ADDRESS=10.0.0.1\nROUTER=10.0.0.9\n")
	told := Record{Ends: now.Add(time.Minute)}
	told.Interface, told.Gateways, told.Address = "eth1", addrs("189.1.0.8"), netip.MustParseAddr("189.1.0.7")
	if err := d.Set(told); err != nil {
		t.Fatal(err)
	}
	said := func(at time.Time) string {
		leases, _ := d.Read(interfaces, at)
		var b strings.Builder
		for _, l := range leases {
			b.WriteString(l.Interface + " " + l.Gateways[0].String() + "; ")
		}
		return b.String()
	}
	if got, want := said(now), "eth1 189.1.0.8; eth1 189.1.0.9; eth1 189.1.0.254; eth2 200.252.10.1; "; got != want {
		t.Errorf("read %q, want %q", got, want)
	}
	if _, next := d.Read(interfaces, now); !next.Equal(now.Add(time.Minute)) {
		t.Errorf("the next ends at %v, want in a minute", next)
	}
	if got, want := said(now.Add(time.Hour)), "eth1 189.1.0.9; "; got != want {
		t.Errorf("an hour later %q, want %q", got, want)
	}
	if err := d.Clear("eth1"); err != nil {
		t.Fatal(err)
	}
	if got := said(now); strings.Contains(got, "189.1.0.8") {
		t.Errorf("after clear: %q", got)
	}
	if err := d.Clear("eth1"); err != nil {
		t.Errorf("clear again: %v", err)
	}
	for _, name := range []string{"", "../x", "a/b", ".hidden", "averyveryverylongname"} {
		told.Interface = name
		if d.Set(told) == nil || d.Clear(name) == nil {
			t.Errorf("%q is taken for an interface", name)
		}
	}
}

func FuzzDhclient(f *testing.F) {
	f.Add([]byte(dhclientFile))
	f.Add([]byte(`lease { interface "e"; option rfc3442-classless-static-routes 0,1,2,3,4; }`))
	f.Fuzz(func(t *testing.T, text []byte) { check(t, ParseDhclient(text, "f")) })
}

func FuzzKeyValue(f *testing.F) {
	f.Add([]byte("[dhcp4]\nrouters=1.2.3.4\nip_address=1.2.3.5\nROUTER=1.2.3.4\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		check(t, ParseNetworkd(text, "e", "f"))
		check(t, ParseNetworkManager(text, "e", "f"))
	})
}

func FuzzDhcpcd(f *testing.F) {
	f.Add(answer(f, dhcpv4.WithRouter(net.IPv4(189, 1, 0, 1))), "eth1.lease")
	f.Fuzz(func(t *testing.T, packet []byte, name string) { check(t, ParseDhcpcd(packet, name, now, "f")) })
}

func FuzzTold(f *testing.F) {
	f.Add([]byte(`{"interface":"eth1","gateways":["1.2.3.4"],"address":"1.2.3.5","ends":"2026-11-22T12:00:00Z"}`))
	f.Fuzz(func(t *testing.T, text []byte) { check(t, ParseTold(text, "f")) })
}

// check wants gateways that can be written into a route.
func check(t *testing.T, records []Record) {
	for _, r := range records {
		for _, g := range r.Gateways {
			if !g.IsValid() || g.IsUnspecified() || g.Zone() != "" || g.Is4In6() {
				t.Errorf("gateway %v", g)
			}
		}
	}
}
