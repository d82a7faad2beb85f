// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"enlace/nft"
)

// What a long list holds is kept in a file that is named after the list and the hash of its content. The table says which hash it
// has. So a file is never wrong: one that was lost, or belongs to a change that the kernel refused, only makes the next change
// of that list write all of it.

func (f Files) listFile(set string, hash uint64) string {
	return filepath.Join(f.Lists, fmt.Sprintf("%s-%016x", set, hash))
}

// recall is nft.Recall from the files.
func (f Files) recall(set string, hash uint64) []byte {
	content, err := os.ReadFile(f.listFile(set, hash))
	if err != nil {
		return nil
	}
	return content
}

// keep writes the lists of a table that is about to be applied, those that are not kept already.
func (f Files) keep(lists []nft.List) error {
	for _, l := range lists {
		name := f.listFile(l.Set, l.Hash)
		if _, err := os.Stat(name); err == nil {
			continue
		}
		if err := os.MkdirAll(f.Lists, 0o755); err != nil {
			return err
		}
		// Under another name first: a file that is cut off must not be found.
		if err := errors.Join(os.WriteFile(name+".new", l.Bytes(), 0o600), os.Rename(name+".new", name)); err != nil {
			return fmt.Errorf("keep list %s: %w", l.Set, err)
		}
	}
	return nil
}

// forget removes the files of lists that are not in the table any more.
func (f Files) forget(lists []nft.List) error {
	kept := map[string]bool{}
	for _, l := range lists {
		kept[f.listFile(l.Set, l.Hash)] = true
	}
	entries, err := os.ReadDir(f.Lists)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if name := filepath.Join(f.Lists, e.Name()); !kept[name] {
			err = errors.Join(err, os.Remove(name))
		}
	}
	return err
}
