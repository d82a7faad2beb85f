// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// attrs builds netlink attributes in one buffer. A table of many links is thousands of small attributes: netlink's own encoder,
// which makes a buffer for each nesting, takes three times as long for them (BenchmarkEncode).
type attrs struct{ b []byte }

const attrHeader = 4

// raw appends an attribute, padded to four bytes.
func (a *attrs) raw(typ uint16, data []byte) {
	a.head(typ, len(data))
	a.b = append(a.b, data...)
	a.pad()
}

// str appends text with a final NUL.
func (a *attrs) str(typ uint16, s string) {
	a.head(typ, len(s)+1)
	a.b = append(append(a.b, s...), 0)
	a.pad()
}

// u32 and u64 append numbers in network byte order, as all of nf_tables has them.
func (a *attrs) u32(typ uint16, v uint32) {
	a.head(typ, 4)
	a.b = binary.BigEndian.AppendUint32(a.b, v)
}

func (a *attrs) u64(typ uint16, v uint64) {
	a.head(typ, 8)
	a.b = binary.BigEndian.AppendUint64(a.b, v)
}

// nest appends an attribute that consists of those that f appends.
func (a *attrs) nest(typ uint16, f func()) {
	start := len(a.b)
	a.head(typ|unix.NLA_F_NESTED, 0)
	f()
	binary.NativeEndian.PutUint16(a.b[start:], uint16(len(a.b)-start))
}

func (a *attrs) head(typ uint16, size int) {
	a.b = binary.NativeEndian.AppendUint16(a.b, uint16(attrHeader+size))
	a.b = binary.NativeEndian.AppendUint16(a.b, typ)
}

func (a *attrs) pad() {
	for len(a.b)%4 != 0 {
		a.b = append(a.b, 0)
	}
}
