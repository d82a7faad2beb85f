// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// content is what the table says of a long list.
type content struct {
	set   string
	count int // as the kernel tells it, see Set.count
	hash  string
}

// String is the comment that says it.
func (c content) String() string {
	return fmt.Sprintf("%s: %d elements, %s", c.set, c.count, c.hash)
}

// contentOf reads such a comment, and says whether it is one.
func contentOf(comment string) (c content, ok bool) {
	set, rest, _ := strings.Cut(comment, ": ")
	count, hash, _ := strings.Cut(rest, " elements, ")
	c.set = set
	c.hash = hash
	var err error
	c.count, err = strconv.Atoi(count)
	return c, err == nil && hash != ""
}

// count is the number of elements that the kernel tells: of intervals, half the number of their ends, and the highest may have
// none (nft_rbtree_usize of net/netfilter/nft_set_rbtree.c).
func (s Set) count() int {
	n := len(s.Elements)
	if s.Interval && n > 0 && after(s.Elements[n-1].last()) == nil {
		return n - 1
	}
	return n
}

// hash identifies the elements of a set. Lists come from strangers, so it is one that nobody can make collide: 128 bits of SHA-256.
func (s Set) hash() string {
	if s.sum != "" {
		return s.sum
	}
	sum := sha256.Sum256(s.pack())
	return hex.EncodeToString(sum[:16])
}

// pack writes the elements in a form that can be kept in a file: for each its size, first and last value, and comment.
func (s Set) pack() []byte {
	out := make([]byte, 0, len(s.Elements)*12)
	for _, e := range s.Elements {
		out = append(out, byte(len(e.From)))
		out = append(append(out, e.From...), e.last()...)
		out = binary.AppendUvarint(out, uint64(len(e.Comment)))
		out = append(out, e.Comment...)
	}
	return out
}

// unpack reads what pack wrote. It returns false for anything else.
func unpack(b []byte) (out []Element, ok bool) {
	for len(b) > 0 {
		size := int(b[0])
		if len(b) < 1+2*size {
			return nil, false
		}
		e := Element{From: b[1 : 1+size], To: b[1+size : 1+2*size]}
		n, width := binary.Uvarint(b[1+2*size:])
		if b = b[1+2*size:]; width <= 0 || n > uint64(len(b)-width) {
			return nil, false
		}
		e.Comment = string(b[width : width+int(n)])
		b = b[width+int(n):]
		out = append(out, e)
	}
	return out, true
}
