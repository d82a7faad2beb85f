// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"enlace/e2e/lab"
)

// shorewall is Debian's Shorewall as the program on a router: two providers, masquerade for both, 2:1. It reads and writes below the router's own
// directory, in a mount namespace of its own.
type shorewall struct{ *router }

// shorewallFiles are its configuration. The gateways are fixed: with detect it would need a default route in main for each.
var shorewallFiles = map[string]string{
	"zones":      "fw firewall\nnet ipv4\nloc ipv4\n",
	"interfaces": "?FORMAT 2\nnet eth1 optional\nnet eth2 optional\nloc eth0 -\n",
	"policy":     "loc net ACCEPT\nloc $FW ACCEPT\n$FW all ACCEPT\nnet all DROP\nall all REJECT\n",
	"providers":  "virtua 1 1 - eth1 GATEWAY track,balance=2 -\nembratel 2 2 - eth2 200.252.10.1 track,balance=1 -\n",
	"rtrules":    "",
	"snat":       "MASQUERADE 10.1.0.0/16 eth1\nMASQUERADE 10.1.0.0/16 eth2\n",
	"rules":      "?SECTION NEW\nPing(ACCEPT) net $FW\nDNAT net loc:10.1.0.20 tcp 80\n",
	"params":     "",
	"conntrack":  "",
}

// shorewallSettings are what a router with two providers changes in Debian's own shorewall.conf.
var shorewallSettings = map[string]string{"STARTUP_ENABLED": "Yes", "IP_FORWARDING": "On", "ROUTE_FILTER": "No", "LOG_MARTIANS": "No", "LOGFILE": "/var/log/messages"}

func newShorewall(b *testing.B) *shorewall {
	b.Helper()
	need(b, "shorewall")
	s := &shorewall{newRouter(b, lab.Virtua.OnlyV4(), lab.Embratel.OnlyV4())}
	for _, dir := range []string{"etc", "var", "log", "iproute2"} {
		must(b, os.MkdirAll(s.path(dir), 0o755))
	}
	conf, err := os.ReadFile("/usr/share/shorewall/configfiles/shorewall.conf")
	must(b, err)
	text := string(conf)
	for name, value := range shorewallSettings {
		text = regexp.MustCompile(`(?m)^`+name+`=.*$`).ReplaceAllString(text, name+"="+value)
	}
	must(b, os.WriteFile(s.path("etc", "shorewall.conf"), []byte(text), 0o600))
	s.configure("189.1.0.1")
	s.shorewall("start")
	return s
}

func (s *shorewall) path(parts ...string) string {
	return filepath.Join(append([]string{s.root, "shorewall"}, parts...)...)
}

// configure writes the configuration with a gateway of the first provider.
func (s *shorewall) configure(gateway string) {
	s.t.Helper()
	for name, text := range shorewallFiles {
		must(s.t, os.WriteFile(s.path("etc", name), []byte(strings.Replace(text, "GATEWAY", gateway, 1)), 0o600))
	}
}

// shorewall runs the program, which has to succeed.
func (s *shorewall) shorewall(command string) {
	s.t.Helper()
	script := fmt.Sprintf(`cp -a /etc/iproute2/. %[1]s/iproute2/
mount --bind %[1]s/etc /etc/shorewall && mount --bind %[1]s/var /var/lib/shorewall && mount --bind %[1]s/iproute2 /etc/iproute2 &&
mount --bind %[1]s/log /var/log && mount -t tmpfs tmpfs /run/lock && exec shorewall %[2]s`, s.path(), command)
	if out, err := s.Router.Run("unshare", "-m", "sh", "-c", script); err != nil {
		s.t.Fatalf("shorewall %s: %v\n%s", command, err, out)
	}
}
