// SPDX-License-Identifier: Apache-2.0

//go:build !386 && !arm && !mips && !mipsle

package nft

import (
	"testing"

	"github.com/google/nftables"
)

// TestDatatypes: the numbers are the library's.
func TestDatatypes(t *testing.T) {
	for ours, theirs := range map[datatype]nftables.SetDatatype{
		typeInteger: nftables.TypeInteger, typeIPv4: nftables.TypeIPAddr, typeIPv6: nftables.TypeIP6Addr, typeEther: nftables.TypeEtherAddr,
		typeProto: nftables.TypeInetProto, typeService: nftables.TypeInetService, typeMark: nftables.TypeMark, typeIndex: nftables.TypeIFIndex,
		typeUID: nftables.TypeUID, typeDSCP: nftables.TypeDSCP, typeName: nftables.TypeIFName,
		typeNameMark:  nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeMark),
		typeIndexMark: nftables.MustConcatSetType(nftables.TypeIFIndex, nftables.TypeMark),
	} {
		if got := (datatype{theirs.Name, theirs.Bytes, theirs.GetNFTMagic()}); got != ours {
			t.Errorf("%+v, want %+v", ours, got)
		}
	}
	if setConcat != nftables.NFT_SET_CONCAT || setDescConcat != nftables.NFTA_SET_DESC_CONCAT {
		t.Error("other attributes of concatenations")
	}
}
