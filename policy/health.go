// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"net/netip"
	"time"
)

// Health says how a link is probed, and how its answers are judged.
type Health struct {
	Off     bool
	Targets []Probe // empty: the gateway of each family
	// Quorum is how many targets have to answer for the link to work: fewer than there are, unless there is one.
	Quorum      int
	Interval    time.Duration // between two probes of a target, while all is well
	Silence     time.Duration // a link that answers nobody for so long is down
	Loss        int           // percent: a link that loses more is degraded
	Latency     time.Duration // a link that answers slower is degraded; 0: however slow
	Hold        time.Duration // a link that was down is used again after it has worked for so long
	LongestHold time.Duration // the hold doubles each time that the link fails soon again, up to this
}

// DefaultHealth is the health of a link whose policy says nothing about it. A link that answers within 100 ms and dies right after it answered is
// noticed after Silence, a slower one after as much more as its answers take; new flows are to succeed within a second.
func DefaultHealth() Health {
	return Health{
		Quorum:      1,
		Interval:    500 * time.Millisecond,
		Silence:     900 * time.Millisecond,
		Loss:        30,
		Hold:        10 * time.Second,
		LongestHold: 5 * time.Minute,
	}
}

// ProbeKind is what is asked of a target.
type ProbeKind uint8

const (
	// ProbeEcho is an ICMP echo.
	ProbeEcho ProbeKind = iota
	// ProbeGateway is an echo of the link's gateway, or, while that has never answered one, its answer to ARP or neighbour discovery.
	ProbeGateway
	// ProbeNeighbour is the gateway's answer to ARP or neighbour discovery.
	ProbeNeighbour
	// ProbeTCP is a TCP connection; a refusal is an answer too.
	ProbeTCP
	// ProbeHTTP is a request that has to be answered with a status below 400.
	ProbeHTTP
	// ProbeHTTPS is the same over TLS.
	ProbeHTTPS
	// ProbeDNS is a question to a name server.
	ProbeDNS
)

// Probe is one target.
type Probe struct {
	Kind    ProbeKind
	Address netip.Addr // not of the gateway
	Port    uint16
	Path    string // of HTTP
	Name    string // that DNS is asked for
}

// String is the target as a policy writes it.
func (p Probe) String() string {
	at := netip.AddrPortFrom(p.Address, p.Port).String()
	switch p.Kind {
	case ProbeGateway:
		return "gateway"
	case ProbeNeighbour:
		return "neighbour"
	case ProbeTCP:
		return "tcp://" + at
	case ProbeHTTP:
		return "http://" + at + p.Path
	case ProbeHTTPS:
		return "https://" + at + p.Path
	case ProbeDNS:
		return fmt.Sprintf("dns://%s/%s", at, p.Name)
	}
	return p.Address.String()
}

// In tells whether a target can be asked in a family: the gateway in both.
func (p Probe) In(f Family) bool { return !p.Address.IsValid() || FamilyOf(p.Address) == f }

// TargetsIn are the targets of a family. Without any the other family's answers stand for this one.
func (h Health) TargetsIn(f Family) []Probe {
	if len(h.Targets) == 0 {
		return []Probe{{Kind: ProbeGateway}}
	}
	var out []Probe
	for _, p := range h.Targets {
		if p.In(f) {
			out = append(out, p)
		}
	}
	return out
}

// Standing is what is known of a link beyond what the host shows: the answers of its targets.
type Standing struct {
	State  State // empty: not probed
	Why    string
	Silent bool // on hold, and not heard just now
}
