// SPDX-License-Identifier: Apache-2.0

package lang

import (
	"bytes"
	"regexp"
	"strconv"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

var hexDigits = regexp.MustCompile(`^x[0-9a-fA-F]{1,8}$`)

// decimalized replaces hexadecimal numbers by decimal ones of the same width in columns. Marks and TOS values are written in
// hexadecimal everywhere, and HCL knows decimal numbers only: it scans 0x08 as the number 0 and the name x08. Padding keeps
// every other character in its place, so diagnostics point into the text as it was written. Up to eight digits are read:
// no number of the language needs more.
func decimalized(text []byte) []byte {
	if !bytes.Contains(text, []byte("0x")) {
		return text
	}
	tokens, _ := hclsyntax.LexConfig(text, "", hcl.InitialPos)
	out := bytes.Clone(text)
	for i := 1; i < len(tokens); i++ {
		zero, name := tokens[i-1], tokens[i]
		if zero.Type != hclsyntax.TokenNumberLit || string(zero.Bytes) != "0" ||
			zero.Range.End.Byte != name.Range.Start.Byte || !hexDigits.Match(name.Bytes) {
			continue
		}
		value, err := strconv.ParseUint(string(name.Bytes[1:]), 16, 32)
		if err != nil {
			continue
		}
		place := out[zero.Range.Start.Byte:name.Range.End.Byte]
		n := copy(place, strconv.FormatUint(value, 10))
		for ; n < len(place); n++ {
			place[n] = ' '
		}
	}
	return out
}
