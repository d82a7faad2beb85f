// SPDX-License-Identifier: Apache-2.0

// Package rtnl turns a plan into routes, ip rules and sysctls, reads what the kernel has of them, and makes the difference.
//
// Everything of ours carries our protocol number: that, and nothing else, says what may be changed or removed.
package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"enlace/policy"
)

// Rule is an ip rule, as far as enlace makes them. Values are comparable.
//
// The codec is our own because a list must not fail as a whole when another program's rule has an attribute that we do not
// know: such a rule is kept with Foreign set, and is never touched.
type Rule struct {
	Family     policy.Family
	Priority   uint32
	Not        bool // the rule takes packets that do not match
	Local      bool // iif lo: only packets of the router itself
	From       netip.Prefix
	Mark, Mask uint32
	Table      uint32
	Goto       uint32 // go on at this priority instead of looking a table up
	NoDefault  bool   // suppress_prefixlength 0: default routes of the table do not count
	Protocol   uint8
	Foreign    bool // it has something that enlace's rules never have
}

var families = [2]uint8{unix.AF_INET, unix.AF_INET6}

// fibRuleHeader is struct fib_rule_hdr of linux/fib_rules.h: family, dst_len, src_len, tos, table, two reserved bytes,
// action, and flags of 4 bytes.
const fibRuleHeader = 12

// encode is the rule as a message body.
func (r Rule) encode() ([]byte, error) {
	head := make([]byte, fibRuleHeader)
	head[0] = families[r.Family]
	head[7] = unix.FR_ACT_TO_TBL
	if r.Goto != 0 {
		head[7] = unix.FR_ACT_GOTO
	}
	if r.Not {
		binary.NativeEndian.PutUint32(head[8:], unix.FIB_RULE_INVERT)
	}
	ae := netlink.NewAttributeEncoder()
	if r.From.IsValid() {
		head[2] = uint8(r.From.Bits())
		ae.Bytes(unix.FRA_SRC, r.From.Addr().AsSlice())
	}
	if r.Local {
		ae.String(unix.FRA_IIFNAME, "lo")
	}
	ae.Uint32(unix.FRA_PRIORITY, r.Priority)
	if r.Mask != 0 {
		ae.Uint32(unix.FRA_FWMARK, r.Mark)
		ae.Uint32(unix.FRA_FWMASK, r.Mask)
	}
	if r.NoDefault {
		ae.Uint32(unix.FRA_SUPPRESS_PREFIXLEN, 0)
	}
	if r.Goto != 0 {
		ae.Uint32(unix.FRA_GOTO, r.Goto)
	} else {
		ae.Uint32(unix.FRA_TABLE, r.Table)
	}
	ae.Uint8(unix.FRA_PROTOCOL, r.Protocol)
	attrs, err := ae.Encode()
	return append(head, attrs...), err
}

var errShort = errors.New("message too short")

// decodeRule reads a rule tolerantly: what it does not know makes the rule foreign, never an error.
func decodeRule(b []byte) (Rule, error) {
	if len(b) < fibRuleHeader {
		return Rule{}, errShort
	}
	r := Rule{Table: uint32(b[4]), Not: binary.NativeEndian.Uint32(b[8:])&unix.FIB_RULE_INVERT != 0}
	if b[0] == unix.AF_INET6 {
		r.Family = policy.V6
	}
	r.Foreign = b[1] != 0 || b[3] != 0 || b[7] != unix.FR_ACT_TO_TBL && b[7] != unix.FR_ACT_GOTO
	ad, err := netlink.NewAttributeDecoder(b[fibRuleHeader:])
	if err != nil {
		return r, err
	}
	for ad.Next() {
		r.attribute(ad, int(b[2]))
	}
	if r.Mark != 0 && r.Mask == 0 {
		r.Mask = 1<<32 - 1
	}
	return r, nil
}

// attribute takes over one attribute.
func (r *Rule) attribute(ad *netlink.AttributeDecoder, srcLen int) {
	switch ad.Type() {
	case unix.FRA_SRC:
		if a, ok := netip.AddrFromSlice(ad.Bytes()); ok {
			r.From = netip.PrefixFrom(a, srcLen)
		}
	case unix.FRA_IIFNAME:
		r.Local = strings.TrimRight(string(ad.Bytes()), "\x00") == "lo"
		r.Foreign = r.Foreign || !r.Local
	case unix.FRA_PRIORITY:
		r.Priority = uint32Of(ad)
	case unix.FRA_FWMARK:
		r.Mark = uint32Of(ad)
	case unix.FRA_FWMASK:
		r.Mask = uint32Of(ad)
	case unix.FRA_GOTO:
		r.Goto = uint32Of(ad)
	case unix.FRA_TABLE:
		r.Table = uint32Of(ad)
	case unix.FRA_SUPPRESS_PREFIXLEN:
		n := int32(uint32Of(ad))
		r.NoDefault = n == 0
		r.Foreign = r.Foreign || n > 0
	case unix.FRA_PROTOCOL:
		if b := ad.Bytes(); len(b) == 1 {
			r.Protocol = b[0]
		}
	case unix.FRA_SUPPRESS_IFGROUP:
		r.Foreign = r.Foreign || int32(uint32Of(ad)) >= 0
	case unix.FRA_PAD:
	default:
		r.Foreign = true
	}
}

// uint32Of is an attribute's value; 0 when it has another size, which the kernel never sends.
func uint32Of(ad *netlink.AttributeDecoder) uint32 {
	if b := ad.Bytes(); len(b) == 4 {
		return binary.NativeEndian.Uint32(b)
	}
	return 0
}

// Command is the `ip` command that adds the rule.
func (r Rule) Command() string { return ip(r.Family) + "rule add " + r.text() }

// String is the rule for a person.
func (r Rule) String() string { return ip(r.Family) + "rule " + r.text() }

// ip is the beginning of a command about a family.
func ip(f policy.Family) string {
	if f == policy.V6 {
		return "ip -6 "
	}
	return "ip "
}

// text is the rule as `ip rule` takes it.
func (r Rule) text() string {
	var b strings.Builder
	if r.Not {
		b.WriteString("not ")
	}
	fmt.Fprintf(&b, "priority %d", r.Priority)
	if r.Local {
		b.WriteString(" iif lo")
	}
	if r.From.IsValid() {
		fmt.Fprintf(&b, " from %s", hostOrPrefix(r.From))
	}
	if r.Mask != 0 {
		fmt.Fprintf(&b, " fwmark 0x%x/0x%x", r.Mark, r.Mask)
	}
	if r.Goto != 0 {
		fmt.Fprintf(&b, " goto %d", r.Goto)
	} else {
		fmt.Fprintf(&b, " lookup %s", tableName(r.Table))
	}
	if r.NoDefault {
		b.WriteString(" suppress_prefixlength 0")
	}
	fmt.Fprintf(&b, " protocol %d", r.Protocol)
	return b.String()
}

func hostOrPrefix(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// tableName is a table as `ip` knows it without our file of names.
func tableName(t uint32) string {
	if t == unix.RT_TABLE_MAIN {
		return "main"
	}
	return fmt.Sprint(t)
}
