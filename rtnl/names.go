// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"enlace/policy"
)

// TableNames is the content of a file for /etc/iproute2/rt_tables.d, by which `ip route show table virtua` works.
func TableNames(p policy.Plan) []byte {
	var b bytes.Buffer
	b.WriteString("# Written by enlace. The tables of its links and groups.\n")
	for _, l := range p.Links {
		fmt.Fprintf(&b, "%d\t%s\n", l.Table, l.Name)
	}
	for _, g := range p.Groups {
		fmt.Fprintf(&b, "%d\t%s\n", g.Table, g.Name)
	}
	return b.Bytes()
}

// SameFile tells whether a file has exactly this content.
func SameFile(file string, content []byte) bool {
	b, err := os.ReadFile(file)
	return err == nil && bytes.Equal(b, content)
}

// WriteNames writes the file of table names.
func WriteNames(file string, content []byte) error { return replaceFile(file, content) }

// RemoveNames removes the file of table names, and the directory if that leaves it empty.
func RemoveNames(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("rtnl: %w", err)
	}
	return nil
}

// replaceFile writes a file so that a reader sees the old content or the new, and never a part.
func replaceFile(file string, content []byte) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("rtnl: %w", err)
	}
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(file)+"-*")
	if err != nil {
		return fmt.Errorf("rtnl: %w", err)
	}
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("rtnl: %w", errors.Join(err, os.Remove(tmp.Name())))
	}
	return nil
}
