// SPDX-License-Identifier: Apache-2.0

// Package watch brings the kernel to the state that a policy wants. A pass reads all facts, derives a plan, compares it with
// what the kernel has, and writes what differs.
package watch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"enlace/nft"
	"enlace/policy"
	"enlace/rtnl"
)

// Kernel is what enlace reads and writes: routes and rules, the table, and two files.
type Kernel struct {
	rt    *rtnl.Conn
	nft   *nft.Conn
	lock  *os.File
	files Files
}

// Files are the places of what enlace keeps outside the kernel.
type Files struct {
	Names   string // table names for iproute2
	Sysctls string // what sysctls were before enlace changed them
	Lock    string // held while the kernel is changed
	Lists   string // directory of what long lists hold, because the kernel takes seconds to tell
}

// FilesBelow are the usual places below a root directory, which is "/" except in tests.
func FilesBelow(root string) Files {
	return Files{
		Names:   filepath.Join(root, "etc/iproute2/rt_tables.d/enlace.conf"),
		Sysctls: filepath.Join(root, "run/enlace/sysctls.json"),
		Lock:    filepath.Join(root, "run/enlace/lock"),
		Lists:   filepath.Join(root, "run/enlace/lists"),
	}
}

// Open connects to the kernel in the network namespace of the calling thread. It fails, before anything is changed, when
// the caller may not change the network or the kernel lacks nftables.
func Open(files Files) (*Kernel, error) {
	table, err := nft.Open()
	if err != nil {
		return nil, err
	}
	routes, err := rtnl.Open()
	if err != nil {
		return nil, errors.Join(err, table.Close())
	}
	return &Kernel{rt: routes, nft: table, files: files}, nil
}

// Close ends the connections; what was set up stays.
func (k *Kernel) Close() error {
	return errors.Join(k.rt.Close(), k.nft.Close(), k.Release())
}

// Release lets others change the kernel, which Apply and Down keep to themselves until Close otherwise.
func (k *Kernel) Release() error {
	if k.lock == nil {
		return nil
	}
	err := k.lock.Close()
	k.lock = nil
	return err
}

// Writes is how many messages and files have changed anything so far.
func (k *Kernel) Writes() int { return k.rt.Writes + k.nft.Writes }

// Pass is one comparison of a policy with the world.
type Pass struct {
	Plan     policy.Plan
	Problems []policy.Problem
	Facts    policy.Facts
	routes   rtnl.Change
	table    *nft.Change
	before   rtnl.State
	noted    bool // there was a note of earlier sysctls already

	namesFile string
	names     []byte // nil: the file is right
	lists     []nft.List
}

// Len is how many objects differ from what the policy wants.
func (p *Pass) Len() int {
	n := p.routes.Len() + p.table.Len()
	if p.names != nil {
		n++
	}
	return n
}

// Empty tells whether the kernel is as the policy wants it.
func (p *Pass) Empty() bool { return p.Len() == 0 }

// Lines are what is to be done, in words of `ip` and `nft`: "+" adds, "-" removes, "~" replaces.
func (p *Pass) Lines() []string {
	lines := append(p.routes.Lines(), p.table.Lines()...)
	if p.names != nil {
		lines = append(lines, "+ file "+p.namesFile)
	}
	return lines
}

// Compare reads the world and says what a policy would change. It writes nothing.
func (k *Kernel) Compare(p policy.Policy) (*Pass, error) {
	facts, have, err := k.rt.Observe(p.Settings.Protocol)
	if err != nil {
		return nil, err
	}
	table, err := k.nft.Observe()
	if err != nil {
		return nil, err
	}
	facts.Numbers = table.Numbers(p.Settings.MarkMask)
	pass := &Pass{Facts: facts}
	pass.Plan, pass.Problems = policy.Derive(p, facts)
	want := rtnl.Compile(pass.Plan)
	if have.Sysctls, err = rtnl.ReadSysctls(want.Sysctls); err != nil {
		return nil, err
	}
	pass.before = have
	pass.routes = rtnl.Diff(have, want)
	wanted := nft.Compile(pass.Plan)
	if pass.table, err = nft.Diff(table, wanted, k.files.recall); err != nil {
		return nil, err
	}
	pass.lists = wanted.Lists()
	pass.namesFile = k.files.Names
	if names := rtnl.TableNames(pass.Plan); !rtnl.SameFile(k.files.Names, names) {
		pass.names = names
	}
	return pass, nil
}

// Apply compares, and makes the change. When a part of it fails, what was done of it is undone.
func (k *Kernel) Apply(p policy.Policy) (*Pass, error) {
	if err := k.hold(); err != nil {
		return nil, err
	}
	pass, err := k.Compare(p)
	if err != nil || pass.Empty() {
		return pass, err
	}
	if err := k.build(pass); err != nil {
		return pass, errors.Join(err, k.undo(pass))
	}
	return pass, k.finish(pass)
}

// The order in which no packet meets a gap: what is added to routes and rules, the table, what is removed. Forwarding is
// switched on when the table is there, because a packet that is forwarded before leaves untranslated, and its flow would stay so.

// build makes the part of a change that can be undone: it ends with the table, which changes as a whole or not at all.
func (k *Kernel) build(pass *Pass) error {
	pass.noted = rtnl.Noted(k.files.Sysctls)
	if err := rtnl.NoteSysctls(pass.routes.SetSysctls, k.files.Sysctls); err != nil {
		return err
	}
	before, _ := rtnl.Forwarding(pass.routes.SetSysctls)
	if err := k.rt.SetSysctls(before); err != nil {
		return err
	}
	if err := k.rt.Add(pass.routes, pass.Plan.Settings.Protocol); err != nil {
		return err
	}
	if err := k.files.keep(pass.lists); err != nil {
		// They only make the next change of a list small.
		pass.Problems = append(pass.Problems, policy.Problem{Code: policy.ListsUnkept, Subject: "lists", Text: err.Error()})
	}
	err := k.nft.Apply(pass.table)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EEXIST) {
		return k.replaceLists(pass, err)
	}
	return err
}

// replaceLists makes the change without trusting what is remembered of long lists: somebody else may have exchanged an element, and
// then a difference to it cannot be applied.
func (k *Kernel) replaceLists(pass *Pass, cause error) error {
	table, err := k.nft.Observe()
	if err != nil {
		return errors.Join(cause, err)
	}
	anew, err := nft.Diff(table, nft.Compile(pass.Plan), func(string, string) []byte { return nil })
	if err != nil {
		return errors.Join(cause, err)
	}
	anew.New, anew.Freed = pass.table.New, pass.table.Freed
	pass.table = anew
	return k.nft.Apply(anew)
}

// finish makes the rest. What fails here is left for the next pass: the new state is in force. Last, flows are released whose mark
// means another link now, or none, and, when the table is new, those that went out untranslated before.
func (k *Kernel) finish(pass *Pass) error {
	settings := pass.Plan.Settings
	_, forwarding := rtnl.Forwarding(pass.routes.SetSysctls)
	errs := []error{
		k.rt.SetSysctls(forwarding),
		k.rt.Remove(pass.routes, settings.Protocol),
		k.nft.Tidy(pass.table),
	}
	_ = k.files.forget(pass.lists) // what stays is in nobody's way, and is tried again
	for _, mark := range pass.table.Freed {
		errs = append(errs, k.rt.Release(mark, settings.MarkMask))
	}
	if pass.table.New {
		errs = append(errs, k.rt.ReleaseUntranslated())
	}
	if pass.names != nil {
		k.rt.Writes++
		if err := rtnl.WriteNames(k.files.Names, pass.names); err != nil {
			// Names are for people; the network does not depend on them.
			pass.Problems = append(pass.Problems, policy.Problem{Code: policy.NamesUnwritten, Subject: "table names", Text: err.Error()})
		}
	}
	return errors.Join(errs...)
}

// undo puts routes, rules and sysctls back to what they were before a pass whose table was refused.
func (k *Kernel) undo(pass *Pass) error {
	protocol := pass.Plan.Settings.Protocol
	_, now, err := k.rt.Observe(protocol)
	if err != nil {
		return fmt.Errorf("undo: %w", err)
	}
	if now.Sysctls, err = rtnl.ReadSysctls(pass.before.Sysctls); err != nil {
		return fmt.Errorf("undo: %w", err)
	}
	back := rtnl.Diff(now, pass.before)
	err = errors.Join(k.rt.Add(back, protocol), k.rt.Remove(back, protocol), k.rt.SetSysctls(back.SetSysctls))
	if !pass.noted {
		err = errors.Join(err, rtnl.ForgetSysctls(k.files.Sysctls))
	}
	if err != nil {
		return fmt.Errorf("undo: %w", err)
	}
	return nil
}

// Down removes everything of ours and puts sysctls back. It returns what it did.
func (k *Kernel) Down(s policy.Settings) ([]string, error) {
	if err := k.hold(); err != nil {
		return nil, err
	}
	_, have, err := k.rt.Observe(s.Protocol)
	if err != nil {
		return nil, err
	}
	change := rtnl.Diff(have, rtnl.State{})
	var lines []string
	// Forwarding first: without the table packets would leave untranslated. Then the table: a packet that is not marked any more
	// does not need the rules.
	restored, err := rtnl.RestoreSysctls(k.files.Sysctls)
	for _, r := range restored {
		lines = append(lines, fmt.Sprintf("- sysctl %s = %s again", r.Name, r.Value))
	}
	if err != nil {
		return lines, err
	}
	removed, err := k.nft.Remove()
	if err != nil {
		return lines, err
	}
	if removed {
		lines = append(lines, "- table inet "+nft.TableName)
	}
	if err := k.rt.Remove(change, s.Protocol); err != nil {
		return lines, err
	}
	return append(lines, change.Lines()...), errors.Join(rtnl.RemoveNames(k.files.Names), os.RemoveAll(k.files.Lists))
}

// hold makes sure that nobody else changes the kernel for enlace at the same time. It waits for its turn.
func (k *Kernel) hold() error {
	if k.lock != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(k.files.Lock), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(k.files.Lock, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
	}
	k.lock = f
	return nil
}
