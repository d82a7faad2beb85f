// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"github.com/ti-mo/conntrack"
	"github.com/ti-mo/netfilter"
	"golang.org/x/sys/unix"

	"enlace/policy"
)

// movable are the protocols of flows that can go on by another link (IANA's registry), the most urgent first. TCP cannot: it is reset when it
// sends, and lives on when its link comes back before that.
var movable = []uint8{
	unix.IPPROTO_UDP, unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6, unix.IPPROTO_ESP, unix.IPPROTO_GRE, unix.IPPROTO_UDPLITE,
	unix.IPPROTO_SCTP, unix.IPPROTO_DCCP, unix.IPPROTO_AH, unix.IPPROTO_IPIP, unix.IPPROTO_IPV6,
}

// Numbers of linux/netfilter/nfnetlink_conntrack.h that x/sys/unix lacks.
const (
	netlinkVersion   = 1 // NFNETLINK_V1
	ctMessageDelete  = 2
	ctTupleOrig      = 1
	ctMark           = 8
	ctMarkMask       = 21
	ctFilter         = 25
	ctStatus         = 3
	ctStatusMask     = 26
	ctStatusDNAT     = 1 << 5 // IPS_DST_NAT
	ctFilterOrig     = 1
	ctTupleProto     = 2
	ctProtoNumber    = 1
	ctFilterProtoBit = 1 << 3 // CTA_FILTER_F_CTA_PROTO_NUM
)

// Abandon makes the kernel forget the flows of a family with a mark, as in Release, that can go on by another link: their next packets are
// decided anew. What came in through a forward cannot, and is kept. Each protocol is one call where the kernel can tell protocols apart when it
// forgets flows; older ones (Linux 6.6 is) refuse that, and are asked for a list.
func Abandon(f policy.Family, mark, mask uint32) error {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("rtnl: open conntrack: %w", explain(err))
	}
	for _, protocol := range movable {
		var data []byte
		if data, err = abandonment(f, mark, mask, protocol); err != nil {
			break
		}
		_, err = c.Execute(netlink.Message{
			Header: netlink.Header{Type: unix.NFNL_SUBSYS_CTNETLINK<<8 | ctMessageDelete, Flags: netlink.Request | netlink.Acknowledge}, Data: data,
		})
		if err != nil {
			break
		}
	}
	if err = errors.Join(err, c.Close()); errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return AbandonEach(f, mark, mask)
	}
	if err != nil {
		return fmt.Errorf("rtnl: release flows: %w", explain(err))
	}
	return nil
}

// AbandonEach is Abandon with a list of the flows, and a call for each of them.
func AbandonEach(f policy.Family, mark, mask uint32) error {
	return withConntrack(func(t *conntrack.Conn) error {
		flows, err := t.DumpFilter(conntrack.NewFilter().Family(netfilter.ProtoFamily(families[f])).Mark(mark).MarkMask(mask), nil)
		if err != nil {
			return err
		}
		for _, flow := range flows {
			// An older kernel may not have filtered by family.
			if policy.FamilyOf(flow.TupleOrig.IP.SourceAddress) != f || !slices.Contains(movable, flow.TupleOrig.Proto.Protocol) || flow.Status.DstNAT() {
				continue
			}
			if err := t.Delete(flow); err != nil && !errors.Is(err, unix.ENOENT) {
				return err
			}
		}
		return nil
	})
}

// abandonment is the request for one protocol. Version 1 in its header makes the kernel look at the family (Linux 5.3).
func abandonment(f policy.Family, mark, mask uint32, protocol uint8) ([]byte, error) {
	e := netlink.NewAttributeEncoder()
	e.ByteOrder = binary.BigEndian
	e.Nested(ctTupleOrig, func(e *netlink.AttributeEncoder) error {
		e.Nested(ctTupleProto, func(e *netlink.AttributeEncoder) error {
			e.Uint8(ctProtoNumber, protocol)
			return nil
		})
		return nil
	})
	e.Uint32(ctMark, mark)
	e.Uint32(ctMarkMask, mask)
	e.Uint32(ctStatus, 0)
	e.Uint32(ctStatusMask, ctStatusDNAT)
	e.Nested(ctFilter, func(e *netlink.AttributeEncoder) error {
		e.Bytes(ctFilterOrig, binary.NativeEndian.AppendUint32(nil, ctFilterProtoBit))
		return nil
	})
	data, err := e.Encode()
	return append([]byte{families[f], netlinkVersion, 0, 0}, data...), err
}
