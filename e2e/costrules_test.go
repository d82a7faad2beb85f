// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"testing"
)

func contestants() []ruleset {
	plain := "ip route add default via 100.64.0.1\necho 1 > /proc/sys/net/ipv4/ip_forward\nnft 'add table ip n; add chain ip n p { type nat hook postrouting priority srcnat; }; add rule ip n p oifname \"wan*\" masquerade'\n"
	return []ruleset{
		{name: "plain masquerade", links: 1, script: plain},
		{name: "seed's script", links: 2, script: legacy(seedScript(2))},
		{name: "seed's script, 1,000 marks", links: 2, script: legacy(seedScript(2)) + manyMarks(1000)},
		{name: "enlace", links: 2, policy: costPolicy(2), least: [3]float64{0.70, 0, 0.60}},
		{name: "enlace, list of 10,000", links: 2, list: 10_000, policy: costPolicy(2) + listRule, least: [3]float64{0.60, 0, 0.52}},
		{name: "enlace, list of 100,000", links: 2, list: 100_000, policy: costPolicy(2) + listRule, least: [3]float64{0.60, 0, 0.48}},
		{name: "enlace, list of 100,000 ranges", links: 2, list: 100_000, odd: true, policy: costPolicy(2) + listRule, least: [3]float64{0.60, 0, 0.40}},
		{name: "enlace, 64 links", links: 64, policy: costPolicy(64), least: [3]float64{0.60, 0, 0}},
		{name: "enlace, 2 pins", links: 2, policy: costPolicy(2) + pins(2)},
		{name: "enlace, 10,000 pins", links: 2, policy: costPolicy(2) + pins(10_000)},
	}
}

func legacy(script string) string { return strings.ReplaceAll(script, "iptables ", "iptables-legacy ") }

// manyMarks are more lines of the kind that the seed pins a site with.
func manyMarks(n int) string {
	var b strings.Builder
	b.WriteString("iptables-legacy-restore --noflush <<END\n*mangle\n")
	for i := range n {
		fmt.Fprintf(&b, "-A PREROUTING -s 10.1.0.0/16 -d 187.0.%d.%d -j MARK --set-mark 1\n", i/256, i%256)
	}
	b.WriteString("COMMIT\nEND\n")
	return b.String()
}

// costPolicy balances the LAN over n links.
func costPolicy(n int) string { return manyLinks(n) + "default { via = group.balanced }\n" }

const listRule = `
set "list" { file = "list.txt" }
rule "list" {
  to  = set.list
  via = link.l1
}
`

// pins are rules for single hosts, on either link in turn.
func pins(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "rule \"pin%d\" {\n  from = \"10.1.%d.%d\"\n  via = link.l%d\n}\n", i, 128+i/250, i%250+1, i%2)
	}
	return b.String()
}

// destination is a random address of the list's space, of which every second half of 32 addresses is in the list.
func destination(r *rand.Rand) netip.Addr {
	n := r.IntN(100_000 * 32)
	return netip.AddrFrom4([4]byte{20, byte(n >> 16), byte(n >> 8), byte(n)})
}

func writeList(b testing.TB, file string, n int, odd bool) {
	var text strings.Builder
	for i := range n {
		at := i * (100_000 / n) * 32
		fmt.Fprintf(&text, "20.%d.%d.%d", at>>16, at>>8&255, at&255)
		if odd {
			fmt.Fprintf(&text, "-20.%d.%d.%d\n", at>>16, at>>8&255, at&255+14)
		} else {
			text.WriteString("/28\n")
		}
	}
	must(b, os.WriteFile(file, []byte(text.String()), 0o600))
}
