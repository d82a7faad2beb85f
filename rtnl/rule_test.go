// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"net/netip"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"enlace/policy"
)

var someRules = []Rule{
	{Priority: 1000, Not: true, Local: true, Goto: 1060, Protocol: 225},
	{Priority: 1010, Local: true, Table: unix.RT_TABLE_MAIN, NoDefault: true, Protocol: 225},
	{Priority: 1030, Local: true, From: netip.MustParsePrefix("189.1.0.2/32"), Table: 20, Protocol: 225},
	{Family: policy.V6, Priority: 1030, Local: true, From: netip.MustParsePrefix("2001:db8::2/128"), Table: 1001, Protocol: 225},
	{Priority: 1060, Mark: 0x01000000, Mask: 0xff000000, Table: 20, Protocol: 225},
	{Family: policy.V6, Priority: LastResort, Table: 4000000000, Protocol: 225},
}

// TestRuleRoundTrip: what is encoded is decoded to the same rule.
func TestRuleRoundTrip(t *testing.T) {
	for _, want := range someRules {
		b, err := want.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeRule(b)
		if want.Goto != 0 {
			got.Table = want.Table // the kernel sends no table either
		}
		if err != nil || got != want {
			t.Errorf("%s: decoded %+v, %v; want %+v", want, got, err, want)
		}
	}
}

// TestForeignRules: a rule with anything that ours never have is foreign, and never an error.
func TestForeignRules(t *testing.T) {
	ours, err := someRules[4].encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func([]byte) []byte{
		"tos":         func(b []byte) []byte { b[3] = 0x10; return b },
		"to":          func(b []byte) []byte { b[1] = 8; return b },
		"blackhole":   func(b []byte) []byte { b[7] = unix.FR_ACT_BLACKHOLE; return b },
		"unknown":     attribute(200, []byte{1}),
		"dscp":        attribute(25, []byte{46}),
		"oif":         attribute(unix.FRA_OIFNAME, []byte("eth1\x00")),
		"iif":         attribute(unix.FRA_IIFNAME, []byte("eth1\x00")),
		"uid range":   attribute(unix.FRA_UID_RANGE, make([]byte, 8)),
		"suppress 16": attribute(unix.FRA_SUPPRESS_PREFIXLEN, []byte{16, 0, 0, 0}),
	} {
		b := change(append([]byte{}, ours...))
		got, err := decodeRule(b)
		if err != nil || !got.Foreign {
			t.Errorf("%s: %+v, %v; want a foreign rule", name, got, err)
		}
	}
}

func attribute(typ uint16, data []byte) func([]byte) []byte {
	return func(b []byte) []byte {
		a, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: typ, Data: data}})
		if err != nil {
			panic(err)
		}
		return append(b, a...)
	}
}

// FuzzDecodeRule: no message makes the decoder panic.
func FuzzDecodeRule(f *testing.F) {
	for _, r := range someRules {
		b, _ := r.encode()
		f.Add(b)
	}
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = decodeRule(b) })
}
