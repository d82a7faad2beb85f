// SPDX-License-Identifier: Apache-2.0

package lang

import (
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"enlace/policy"
)

// health reads how a link is probed.
func (d *decoder) health(out *policy.Health) func(*hclsyntax.Block) {
	seen := false
	return func(b *hclsyntax.Block) {
		if seen {
			d.fail(b.DefRange(), "Declared twice", "A link has one health block. Put both into one.")
			return
		}
		seen = true
		if len(b.Labels) > 0 {
			d.fail(b.DefRange(), "Name not wanted", "A health block has no name: write health { ... }.")
			return
		}
		enabled := true
		d.body(b, fields{
			"enabled":      d.boolean(&enabled),
			"targets":      d.targets(&out.Targets),
			"quorum":       d.integer(&out.Quorum, 100),
			"interval":     d.duration(&out.Interval, 100*time.Millisecond, time.Minute),
			"silence":      d.duration(&out.Silence, 200*time.Millisecond, 10*time.Minute),
			"loss":         d.integer(&out.Loss, 100),
			"latency":      d.duration(&out.Latency, time.Millisecond, 10*time.Second),
			"hold":         d.duration(&out.Hold, 0, time.Hour),
			"longest_hold": d.duration(&out.LongestHold, 0, 24*time.Hour),
		})
		d.nested(b, nil)
		out.Off = !enabled
		d.healthFits(b, out)
	}
}

// healthFits complains about numbers that contradict each other.
func (d *decoder) healthFits(b *hclsyntax.Block, h *policy.Health) {
	attrs := b.Body.Attributes
	if a := attrs["quorum"]; a != nil {
		d.quorumFits(a, h)
	}
	if h.Silence < h.Interval+200*time.Millisecond {
		at := attrs["silence"]
		if at == nil {
			at = attrs["interval"]
		}
		if at != nil {
			d.fail(at.Expr.Range(), "Silence too short", "silence = %q is less than the interval, %q, and the 200ms that it takes to ask again.", h.Silence, h.Interval)
		}
	}
	if h.LongestHold < h.Hold {
		at := attrs["longest_hold"]
		if at != nil {
			d.fail(at.Expr.Range(), "Contradiction", "longest_hold = %q is shorter than hold = %q.", h.LongestHold, h.Hold)
		}
		h.LongestHold = h.Hold
	}
	if h.Off {
		for name, a := range attrs {
			if name != "enabled" {
				d.fail(a.NameRange, "Contradiction", "With enabled = false nothing is probed, so %q means nothing. Remove one.", name)
				return
			}
		}
	}
}

// quorumFits complains about a quorum that cannot be reached, or that gives a single target the say. IPv4 and IPv6 are judged apart.
func (d *decoder) quorumFits(a *hclsyntax.Attribute, h *policy.Health) {
	most := 0
	for _, f := range policy.Families {
		n := len(h.TargetsIn(f))
		if most = max(most, n); n > 1 && h.Quorum >= n {
			d.fail(a.Expr.Range(), "One target decides", "With quorum = %d of %d targets of %s a single one that is switched off takes the link down there. Ask for at most %d.", h.Quorum, n, f, n-1)
			return
		}
	}
	if h.Quorum > most {
		d.fail(a.Expr.Range(), "Quorum out of reach", "%s cannot answer: there is only %s.", counted(h.Quorum, "target"), counted(most, "target"))
	}
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// duration reads a time such as "500ms".
func (d *decoder) duration(out *time.Duration, low, high time.Duration) reader {
	return func(a *hclsyntax.Attribute) {
		v, ok := d.as(a, cty.String, `a time in quotes, such as "500ms", "10s" or "5m"`)
		if !ok {
			return
		}
		t, err := time.ParseDuration(v.AsString())
		if err != nil || t < low || t > high {
			d.fail(a.Expr.Range(), "Unusable time", "%q wants a time from %s to %s, such as \"500ms\", \"10s\" or \"5m\".", a.Name, low, high)
			return
		}
		*out = t
	}
}

// targets reads what is probed.
func (d *decoder) targets(out *[]policy.Probe) reader {
	return func(a *hclsyntax.Attribute) {
		for _, v := range d.elements(a) {
			if v.Type() != cty.String {
				d.fail(a.Expr.Range(), "Wrong type", "%q wants addresses and URLs in quotes.", a.Name)
				return
			}
			p, err := parseProbe(v.AsString())
			if err != nil {
				d.fail(a.Expr.Range(), "Unusable target", "%q %s.", v.AsString(), err)
				continue
			}
			if slices.Contains(*out, p) {
				d.fail(a.Expr.Range(), "Said twice", "Target %s is there twice.", p)
				continue
			}
			*out = append(*out, p)
		}
	}
}

// defaultPorts of what can be probed.
var defaultPorts = map[string]uint16{"http": 80, "https": 443, "dns": 53}

var schemes = map[string]policy.ProbeKind{
	"tcp": policy.ProbeTCP, "http": policy.ProbeHTTP, "https": policy.ProbeHTTPS, "dns": policy.ProbeDNS,
}

// parseProbe reads one target: an address, gateway, neighbour, or a URL. Names of hosts are not taken: to look them up would need a link.
func parseProbe(text string) (policy.Probe, error) {
	switch text {
	case "gateway":
		return policy.Probe{Kind: policy.ProbeGateway}, nil
	case "neighbour":
		return policy.Probe{Kind: policy.ProbeNeighbour}, nil
	}
	scheme, _, isURL := strings.Cut(text, "://")
	if !isURL {
		a, err := netip.ParseAddr(text)
		if err != nil || !isHost(a) {
			return policy.Probe{}, fmt.Errorf(`is not a target: write the address of another host, "gateway", "neighbour", "tcp://ADDRESS:PORT", "http://ADDRESS/PATH", "https://ADDRESS/PATH" or "dns://ADDRESS/NAME"`)
		}
		return policy.Probe{Kind: policy.ProbeEcho, Address: a.Unmap()}, nil
	}
	kind, ok := schemes[scheme]
	if !ok {
		return policy.Probe{}, fmt.Errorf("cannot be probed: tcp, http, https and dns can, and ICMP by the address alone")
	}
	u, err := url.Parse(text)
	if err != nil || u.User != nil || u.Fragment != "" {
		return policy.Probe{}, fmt.Errorf("is not a URL that can be probed")
	}
	a, err := netip.ParseAddr(u.Hostname())
	if err != nil || !isHost(a) {
		return policy.Probe{}, fmt.Errorf("wants an address: to look up the name %s would need a link that works", u.Hostname())
	}
	p := policy.Probe{Kind: kind, Address: a.Unmap(), Port: defaultPorts[scheme], Path: u.RequestURI()}
	if u.Port() != "" {
		n, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil || n == 0 {
			return policy.Probe{}, fmt.Errorf("has no usable port")
		}
		p.Port = uint16(n)
	}
	return pathOf(p, u)
}

// pathOf gives the rest of the URL to those kinds that have one.
func pathOf(p policy.Probe, u *url.URL) (policy.Probe, error) {
	switch p.Kind {
	case policy.ProbeTCP:
		if p.Path = ""; p.Port == 0 || u.Path != "" && u.Path != "/" {
			return p, fmt.Errorf("wants a port and no path: tcp://ADDRESS:PORT")
		}
	case policy.ProbeDNS:
		p.Path, p.Name = "", strings.Trim(u.Path, "/")
		if p.Name == "" || strings.ContainsAny(p.Name, "/ ") || len(p.Name) > 253 {
			return p, fmt.Errorf("wants a name to ask for: dns://ADDRESS/example.org")
		}
	}
	return p, nil
}

// program reads the path of a program that is run.
func (d *decoder) program(out *string) reader {
	return func(a *hclsyntax.Attribute) {
		v, ok := d.as(a, cty.String, "the absolute path of a program, in quotes")
		if !ok {
			return
		}
		if p := v.AsString(); !filepath.IsAbs(p) || filepath.Clean(p) != p {
			d.fail(a.Expr.Range(), "Unusable program", "%q wants the absolute path of a program without arguments, such as \"/etc/enlace/on-change\".", a.Name)
			return
		}
		*out = v.AsString()
	}
}

// flows reads what becomes of flows when their link dies.
func (d *decoder) flows(out *policy.Flows) reader {
	return func(a *hclsyntax.Attribute) {
		v, ok := d.as(a, cty.String, `"failover", "keep" or "failback"`)
		if !ok {
			return
		}
		at := slices.Index(policy.FlowsNames[1:], v.AsString())
		if at < 0 {
			d.fail(a.Expr.Range(), "Unknown value", "%q is not what can become of flows.%s", v.AsString(), hint(v.AsString(), policy.FlowsNames[1:]))
			return
		}
		*out = policy.Flows(at + 1)
	}
}

// sources reads the addresses that a link's flows leave with, one for each family.
func (d *decoder) sources(out *[2]netip.Addr) reader {
	return func(a *hclsyntax.Attribute) {
		for _, v := range d.elements(a) {
			addr, err := addressOf(v)
			if err != nil || !isHost(addr) || addr == limitedBroadcast || addr.IsLinkLocalUnicast() {
				d.fail(a.Expr.Range(), "Unusable address", "%q wants an address of this link, such as \"200.252.10.5\", in quotes.", a.Name)
				continue
			}
			family := policy.FamilyOf(addr)
			if out[family].IsValid() {
				d.fail(a.Expr.Range(), "Two addresses", "Flows of a link leave with one address for %s.", family)
				continue
			}
			out[family] = addr
		}
	}
}
