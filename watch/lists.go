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

func (f Files) listFile(set, hash string) string { return filepath.Join(f.Lists, set+"-"+hash) }

// recall is nft.Recall from the files.
func (f Files) recall(set, hash string) []byte {
	content, err := os.ReadFile(f.listFile(set, hash))
	if err != nil {
		return nil
	}
	return content
}

// keep writes the lists of a table that is about to be applied, those that are not kept already.
func (f Files) keep(lists []nft.List) error {
	for _, l := range lists {
		name, content := f.listFile(l.Set, l.Hash), l.Bytes()
		if info, err := os.Stat(name); err == nil && info.Size() == int64(len(content)) {
			continue
		}
		if err := os.MkdirAll(f.Lists, 0o755); err != nil {
			return fmt.Errorf("keep list %s: %w", l.Set, err)
		}
		// Under another name first: a file that is cut off must not be found.
		if err := os.WriteFile(name+".new", content, 0o600); err != nil {
			return errors.Join(fmt.Errorf("keep list %s: %w", l.Set, err), os.Remove(name+".new"))
		}
		if err := os.Rename(name+".new", name); err != nil {
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
