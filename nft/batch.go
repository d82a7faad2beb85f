// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// batch is one nftables transaction in the making: the kernel does all of it or nothing.
//
// google/nftables is used for its expressions; its messages are not, for two reasons. It cannot say in which byte order an
// anonymous set is to be listed, nor by what expression a map is keyed, so `nft list` would show such sets wrongly. And its
// errors name the type of a message, where we want the chain, rule or set that the kernel refused.
type batch struct {
	attrs
	msgs    []netlink.Message
	about   []func() string // what each message does, for errors
	ids     map[string]uint32
	lastID  uint32
	encoded map[any][]byte // expressions that were encoded already
	failed  error          // what could not be encoded; the batch must not be sent then
}

func newBatch() *batch { return &batch{ids: map[string]uint32{}, encoded: map[any][]byte{}} }

func (b *batch) empty() bool { return len(b.msgs) == 0 }

// Messages are built in chunks, so that a large batch is not copied again and again while it grows. One message rarely needs more
// than is roomy.
const (
	chunk = 64 << 10
	roomy = 2 << 10
)

// add appends a message about an object of the table; f appends its attributes.
func (b *batch) add(typ int, flags netlink.HeaderFlags, about func() string, f func()) {
	if cap(b.b)-len(b.b) < roomy {
		b.b = make([]byte, 0, chunk) // the messages so far keep the old one
	}
	start := len(b.b)
	b.b = append(b.b, unix.NFPROTO_INET, unix.NFNETLINK_V0, 0, 0)
	f()
	b.msgs = append(b.msgs, netlink.Message{Header: header(typ, flags), Data: b.b[start:len(b.b):len(b.b)]})
	b.about = append(b.about, about)
}

func header(typ int, flags netlink.HeaderFlags) netlink.Header {
	return netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | typ), Flags: netlink.Request | flags}
}

// message has the header of nfnetlink: family inet, version 0, resource 0.
func message(typ int, flags netlink.HeaderFlags, data []byte) netlink.Message {
	return netlink.Message{Header: header(typ, flags), Data: append([]byte{unix.NFPROTO_INET, unix.NFNETLINK_V0, 0, 0}, data...)}
}

// named is the description of an object for errors.
func named(what, name string) func() string { return func() string { return what + " " + name } }

// addTable makes the table, or gives it other flags.
func (b *batch) addTable(flags uint32) {
	b.add(unix.NFT_MSG_NEWTABLE, netlink.Create, named("table", TableName), func() {
		b.str(unix.NFTA_TABLE_NAME, TableName)
		b.u32(unix.NFTA_TABLE_FLAGS, flags)
	})
}

func (b *batch) delTable(name string) {
	b.add(unix.NFT_MSG_DELTABLE, 0, named("table", name), func() { b.str(unix.NFTA_TABLE_NAME, name) })
}

func (b *batch) addChain(c Chain) {
	b.add(unix.NFT_MSG_NEWCHAIN, netlink.Create, named("chain", c.Name), func() {
		b.str(unix.NFTA_CHAIN_TABLE, TableName)
		b.str(unix.NFTA_CHAIN_NAME, c.Name)
		if c.Hook == nil {
			return
		}
		b.nest(unix.NFTA_CHAIN_HOOK, func() {
			b.u32(unix.NFTA_HOOK_HOOKNUM, hookNumbers[c.Hook.Point])
			b.u32(unix.NFTA_HOOK_PRIORITY, uint32(int32(c.Hook.Priority)))
		})
		b.u32(unix.NFTA_CHAIN_POLICY, nfAccept)
		b.str(unix.NFTA_CHAIN_TYPE, c.Hook.Type)
	})
}

// hookNumbers are the hooks that enlace uses (linux/netfilter.h).
var hookNumbers = map[string]uint32{"prerouting": unix.NF_INET_PRE_ROUTING, "forward": unix.NF_INET_FORWARD, "output": unix.NF_INET_LOCAL_OUT, "postrouting": unix.NF_INET_POST_ROUTING}

func (b *batch) delChain(name string) {
	b.add(unix.NFT_MSG_DELCHAIN, 0, named("chain", name), func() {
		b.str(unix.NFTA_CHAIN_TABLE, TableName)
		b.str(unix.NFTA_CHAIN_NAME, name)
	})
}

// addRule adds a rule before the rule with the given handle, or at the end when it is 0.
func (b *batch) addRule(chain string, r Rule, id string, before uint64) {
	e := encoder{batch: b}
	for _, s := range r.Statements {
		s.encode(&e)
	}
	flags := netlink.Create
	if before == 0 {
		flags |= netlink.Append
	}
	b.add(unix.NFT_MSG_NEWRULE, flags, func() string { return "rule in " + chain + ": " + r.text() }, func() {
		b.str(unix.NFTA_RULE_TABLE, TableName)
		b.str(unix.NFTA_RULE_CHAIN, chain)
		b.nest(unix.NFTA_RULE_EXPRESSIONS, func() {
			for _, x := range e.exprs {
				b.expression(unix.NFTA_LIST_ELEM, x, r)
			}
		})
		b.raw(unix.NFTA_RULE_USERDATA, ruleData(r.Comment, id))
		if before != 0 {
			b.u64(unix.NFTA_RULE_POSITION, before)
		}
	})
}

// expression appends an expression of what, which is for errors.
func (b *batch) expression(typ uint16, x expr.Any, what any) {
	key := same(x)
	data, known := b.encoded[key]
	if key == nil || !known {
		var err error
		if data, err = expr.Marshal(unix.NFPROTO_INET, x); err != nil {
			b.failed = errors.Join(b.failed, fmt.Errorf("nft: encode %s: %w", what, err))
		}
		if key != nil {
			b.encoded[key] = data
		}
	}
	b.raw(unix.NLA_F_NESTED|typ, data)
}

// same is what tells equal expressions apart from others, for those that stand in many rules; nil for the rest. Encoding is a fifth of
// the time that a table of many links takes (BenchmarkEncode).
func same(x expr.Any) any {
	switch v := x.(type) {
	case *expr.Counter:
		return *v
	case *expr.Ct:
		return *v
	case *expr.Meta:
		return *v
	case *expr.Payload:
		return *v
	case *expr.Verdict:
		return *v
	}
	return nil
}

func (b *batch) delRule(chain string, handle uint64) {
	b.add(unix.NFT_MSG_DELRULE, 0, named("rule in", chain), func() {
		b.str(unix.NFTA_RULE_TABLE, TableName)
		b.str(unix.NFTA_RULE_CHAIN, chain)
		b.u64(unix.NFTA_RULE_HANDLE, handle)
	})
}

// dataHash is the type of our own user data: a rule's hash, by which it is recognized when it is read back. nft passes over
// types that it does not know (libnftnl's own end at 1).
const dataHash userdata.Type = 0xe1

// longestComment is what nft accepts (NFTNL_UDATA_COMMENT_MAXLEN, with the final NUL).
const longestComment = 127

func ruleData(comment, id string) []byte {
	var data []byte
	if comment != "" {
		data = userdata.AppendString(data, userdata.TypeComment, comment)
	}
	return userdata.Append(data, dataHash, binary.BigEndian.AppendUint64(nil, hashOf(id)))
}

// hashIn is the hash in a rule's user data, 0 when it has none: such a rule is not of our making.
func hashIn(data []byte) uint64 {
	for len(data) >= 2 && len(data) >= 2+int(data[1]) {
		value := data[2 : 2+data[1]]
		if userdata.Type(data[0]) == dataHash && len(value) == 8 {
			return binary.BigEndian.Uint64(value)
		}
		data = data[2+data[1]:]
	}
	return 0
}

// nfAccept is NF_ACCEPT of linux/netfilter.h.
const nfAccept = 1
