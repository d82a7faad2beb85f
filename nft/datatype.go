// SPDX-License-Identifier: Apache-2.0

package nft

// datatype is a type of values as nft knows it: its name, how long a value is, and the number by which nft shows the elements of a set in the right
// way (include/datatype.h of nftables; the kernel only keeps it). google/nftables has them too, but does not compile for 32-bit machines.
type datatype struct {
	Name         string
	Bytes, Magic uint32
}

var (
	typeInteger   = datatype{"integer", 4, 4}
	typeIPv4      = datatype{"ipv4_addr", 4, 7}
	typeIPv6      = datatype{"ipv6_addr", 16, 8}
	typeEther     = datatype{"ether_addr", 6, 9}
	typeProto     = datatype{"inet_proto", 1, 12}
	typeService   = datatype{"inet_service", 2, 13}
	typeMark      = datatype{"mark", 4, 19}
	typeIndex     = datatype{"iface_index", 4, 20}
	typeUID       = datatype{"uid", 4, 24}
	typeDSCP      = datatype{"dscp", 1, 36}
	typeName      = datatype{"ifname", 16, 41}
	typeNameMark  = typeName.and(typeMark)
	typeIndexMark = typeIndex.and(typeMark)
)

// typeBits is how many bits of a concatenation's number each part has (TYPE_BITS).
const typeBits = 6

// and is the concatenation of two types.
func (d datatype) and(other datatype) datatype {
	return datatype{d.Name + " . " + other.Name, d.Bytes + other.Bytes, d.Magic<<typeBits | other.Magic}
}

// What a set of concatenations says of itself (linux/netfilter/nf_tables.h).
const (
	setConcat     = 0x80 // NFT_SET_CONCAT
	setDescConcat = 2    // NFTA_SET_DESC_CONCAT
)
