// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"os"
	"strings"
)

// Drops are the kernel's counters of lost packets in every namespace of the office, those that are not 0: "lan UdpRcvbufErrors
// 3". They tell a loss on the way from one in a client or server that was too slow.
func (o *Office) Drops() []string {
	var out []string
	names := []*Namespace{o.LAN, o.Router, o.Internet}
	for _, i := range o.ISPs {
		names = append(names, i.Namespace)
	}
	for _, n := range names {
		_ = n.Do(func() error {
			for _, file := range []string{"/proc/thread-self/net/snmp", "/proc/thread-self/net/netstat"} {
				b, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				out = append(out, losses(n.Name, string(b))...)
			}
			return nil
		})
	}
	return out
}

// lossCounters are those that count lost packets (Documentation/networking/snmp_counter.rst).
var lossCounters = map[string]bool{
	"InDiscards": true, "OutDiscards": true, "OutNoRoutes": true, "InNoRoutes": true, "InAddrErrors": true, "RcvbufErrors": true, "SndbufErrors": true,
	"InErrors": true, "InTruncatedPkts": true, "ReasmFails": true, "FragFails": true, "ListenDrops": true, "OutRsts": true, "EstabResets": true, "RetransSegs": true, "TCPTimeouts": true, "TCPLostRetransmit": true,
}

// losses reads counters of a file that has lines of names and of values in turn.
func losses(namespace, text string) []string {
	var out []string
	lines := strings.Split(text, "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		for j := 1; j < len(names) && j < len(values); j++ {
			if lossCounters[names[j]] && values[j] != "0" {
				out = append(out, fmt.Sprintf("%s %s%s %s", namespace, names[0], names[j], values[j]))
			}
		}
	}
	return out
}
