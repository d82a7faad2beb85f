// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// Change is what has to be done to bring the kernel's table to a wanted state.
type Change struct {
	New bool // there was no table
	// Freed are marks that were a link's, and are no link's or another's now: flows that carry them belong to nobody.
	Freed  []uint32
	keeper uint32 // netlink port of another program that keeps the table to itself
	lines  []func() string
	main   *batch // the transaction that makes the change
	late   *batch // what cannot be added before something else is removed
	tidy   *batch // what nothing refers to any more; before Linux 6.2 it cannot be removed in the same transaction
}

// Len is how many objects the change concerns; 0 means that nothing is to be done.
func (ch *Change) Len() int { return len(ch.lines) }

// Lines describe the change for people, one object each: "+ rule in rules: ...".
func (ch *Change) Lines() []string {
	out := make([]string, len(ch.lines))
	for i, l := range ch.lines {
		out[i] = shortened(strings.TrimSpace(l()))
	}
	return out
}

// longestLine is how much of a line people are shown: a choice among 256 buckets is one.
const longestLine = 400

func shortened(line string) string {
	if len(line) > longestLine {
		return line[:longestLine] + " ..."
	}
	return line
}

// Recall returns List.Bytes of a list that had that hash, or nil when they were not kept.
type Recall func(set, hash string) []byte

// Diff compares the kernel's table with the wanted one. Long lists are not read from the kernel; recall knows them.
func Diff(have *Observed, want Table, recall Recall) (*Change, error) {
	d := differ{have: have, want: want, recall: recall, change: &Change{main: newBatch(), late: newBatch(), tidy: newBatch(), keeper: have.foreign()}}
	d.diff()
	return d.change, errors.Join(d.change.main.failed, d.change.late.failed)
}

// Apply makes the change. Nothing is done when the kernel refuses any part of it.
func (c *Conn) Apply(ch *Change) error { return c.commit(ch.main) }

// Tidy does, after Apply, what could not be done in the same transaction: it adds what had to wait, and removes what nothing refers to any more. One does
// not depend on the other.
func (c *Conn) Tidy(ch *Change) error { return errors.Join(c.commit(ch.late), c.commit(ch.tidy)) }

// Remove takes the table away, if there is one.
func (c *Conn) Remove() (bool, error) {
	have, err := c.Observe()
	if err != nil || !have.exists {
		return false, err
	}
	b := newBatch()
	b.delTable(TableName)
	return true, c.commit(b)
}

// differ is one comparison in progress.
type differ struct {
	have   *Observed
	want   Table
	recall Recall
	change *Change
}

func (d *differ) line(format string, args ...any) {
	d.change.lines = append(d.change.lines, func() string { return fmt.Sprintf(format, args...) })
}

func (d *differ) diff() {
	d.freed()
	d.change.New = !d.have.exists
	switch {
	case !d.have.exists || d.misshapen():
		d.rebuild("it has another shape")
	case d.have.keep && d.have.flags&persist == 0:
		d.rebuild("others may change it")
	default:
		d.claim()
		d.newChains()
		d.sets()
		gone := d.flowtables()
		d.rules()
		d.leftovers()
		for _, name := range gone { // after the rules that refer to it
			d.change.main.delFlowtable(name)
		}
	}
}

// freed finds the marks that lead to another link's chain, or to none.
func (d *differ) freed() {
	have := d.have.sets[flowsMap]
	if have == nil {
		return
	}
	wanted := map[string]bool{}
	for _, s := range d.want.Sets {
		if s.Name == flowsMap {
			for _, w := range s.wire() {
				wanted[w.id()] = true
			}
		}
	}
	for _, id := range sortedKeys(have.elements) {
		if key := have.elements[id].key; !wanted[id] && len(key) == 4 {
			d.change.Freed = append(d.change.Freed, binary.NativeEndian.Uint32(key))
		}
	}
}

// misshapen tells whether something stands in the way that cannot be changed in place: a base chain at another hook or with another
// policy, or a set of another type.
func (d *differ) misshapen() bool {
	for _, c := range d.want.Chains {
		have := d.have.chains[c.Name]
		if have != nil && (have.hook == nil) != (c.Hook == nil) {
			return true
		}
		if have != nil && c.Hook != nil && (*have.hook != *c.Hook || have.drops) {
			return true
		}
	}
	for _, s := range d.want.Sets {
		have := d.have.sets[s.Name]
		if have != nil && (have.key != s.Key.typ.Magic || have.flags&(unix.NFT_SET_MAP|unix.NFT_SET_INTERVAL) != s.flags()) {
			return true
		}
	}
	return false
}

func (s Set) flags() uint32 {
	f := uint32(0)
	if s.Map {
		f |= unix.NFT_SET_MAP
	}
	if s.Interval {
		f |= unix.NFT_SET_INTERVAL
	}
	return f
}

// rebuild replaces the whole table in one transaction.
func (d *differ) rebuild(why string) {
	b := d.change.main
	if d.have.exists {
		d.line("- table inet %s (%s)", TableName, why)
		b.delTable(TableName)
	}
	b.addTable(d.have.wantedFlags())
	d.line("+ table inet %s", TableName)
	d.have = &Observed{chains: map[string]*observedChain{}, sets: map[string]*observedSet{}, keep: d.have.keep}
	d.newChains()
	d.sets()
	d.flowtables()
	d.rules()
}

func (d *differ) newChains() {
	for _, c := range d.want.Chains {
		if d.have.chains[c.Name] == nil {
			d.line("+ chain %s", c.Name)
			d.change.main.addChain(c)
			d.have.chains[c.Name] = &observedChain{hook: c.Hook}
		}
	}
}

// rules compares every chain rule by rule. What both ends have in common stays, with its counters; what lies between is
// replaced.
func (d *differ) rules() {
	for _, c := range d.want.Chains {
		have := d.have.chains[c.Name].rules
		ids := make([]string, len(c.Rules))
		for i, r := range c.Rules {
			ids[i] = r.identity()
		}
		same := func(i, j int) bool { return have[i].hash == hashOf(ids[j]) }
		head := 0
		for head < len(have) && head < len(ids) && same(head, head) {
			head++
		}
		tail := 0
		for tail < len(have)-head && tail < len(ids)-head && same(len(have)-1-tail, len(ids)-1-tail) {
			tail++
		}
		before := uint64(0)
		if tail > 0 {
			before = have[len(have)-tail].handle
		}
		for i, r := range c.Rules[head : len(c.Rules)-tail] {
			d.line("+ rule in %s: %s", c.Name, r)
			d.change.main.addRule(c.Name, r, ids[head+i], before)
		}
		for _, r := range have[head : len(have)-tail] {
			d.line("- rule in %s (handle %d) %s", c.Name, r.handle, r.comment)
			d.change.main.delRule(c.Name, r.handle)
		}
	}
}

// leftovers removes chains and sets that are not wanted: their rules with the change, they themselves after it.
func (d *differ) leftovers() {
	chains, sets := map[string]bool{}, map[string]bool{}
	for _, c := range d.want.Chains {
		chains[c.Name] = true
	}
	for _, s := range d.want.Sets {
		sets[s.Name] = true
	}
	// Sets first: a map that goes must go before the chains that it leads to.
	for _, name := range sortedKeys(d.have.sets) {
		if !sets[name] {
			d.line("- set %s", name)
			d.change.tidy.delSet(name)
		}
	}
	for _, name := range sortedKeys(d.have.chains) {
		if chains[name] {
			continue
		}
		d.line("- chain %s", name)
		for _, r := range d.have.chains[name].rules {
			d.change.main.delRule(name, r.handle)
		}
		d.change.tidy.delChain(name)
	}
}

func sortedKeys[T any](m map[string]T) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
