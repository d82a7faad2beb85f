// SPDX-License-Identifier: Apache-2.0

//go:build 386 || arm || mips || mipsle

package main

import (
	"errors"
	"io"
)

// demonstrate says that there is no demo: the lab's providers are made with google/nftables, which does not compile for 32-bit machines. The
// router itself does not need it.
func demonstrate(io.Writer) error {
	return errors.New("there is no demo on 32-bit machines; everything else works, and --print-policy shows its policy")
}
