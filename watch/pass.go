// SPDX-License-Identifier: Apache-2.0

// Package watch brings the kernel to the state that a policy wants. A pass reads all facts, derives a plan, compares it with
// what the kernel has, and writes what differs.
package watch

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"time"

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
	last  compiled
	later func(task) // does what can wait; nil: at once
}

// compiled is a plan with what it means for the kernel. Most passes find the plan of the last one.
type compiled struct {
	plan   policy.Plan
	routes rtnl.State
	table  nft.Table
}

// task is something that can wait until the change is in force, and takes long where there are many flows.
type task struct {
	what string
	do   func() error
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

// Keep makes the table ours alone from the next pass on, and tells whether the kernel can do that.
func (k *Kernel) Keep() (bool, error) { return k.nft.Keep() }

// Close ends the connections; what was set up stays.
func (k *Kernel) Close() error {
	return errors.Join(k.rt.Close(), k.nft.Close(), k.Release())
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
	want      compiled
	NextEnd   time.Time // when the first lease ends, zero: none does
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
	pass := &Pass{}
	facts.Numbers = table.Numbers(p.Settings.MarkMask)
	facts.Leases, pass.NextEnd = k.files.Leases.Read(facts.Interfaces, time.Now())
	pass.Facts = facts
	pass.Plan, pass.Problems = policy.Derive(p, facts)
	pass.want = k.compile(pass.Plan)
	if have.Sysctls, err = rtnl.ReadSysctls(pass.want.routes.Sysctls); err != nil {
		return nil, err
	}
	pass.before = have
	pass.routes = rtnl.Diff(have, pass.want.routes)
	if pass.table, err = nft.Diff(table, pass.want.table, k.files.recall); err != nil {
		return nil, err
	}
	pass.lists = pass.want.table.Lists()
	pass.namesFile = k.files.Names
	if names := rtnl.TableNames(pass.Plan); !rtnl.SameFile(k.files.Names, names) {
		pass.names = names
	}
	return pass, nil
}

// compile turns a plan into routes, rules and the table, unless it is the same as the last.
func (k *Kernel) compile(plan policy.Plan) compiled {
	if !reflect.DeepEqual(plan, k.last.plan) {
		k.last = compiled{plan, rtnl.Compile(plan), nft.Compile(plan)}
	}
	return k.last
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
	return pass, k.commit(pass)
}

// commit makes the change of a pass.
func (k *Kernel) commit(pass *Pass) error {
	if err := pass.table.Refused(); err != nil {
		return err
	}
	if err := k.build(pass); err != nil {
		return errors.Join(err, k.undo(pass))
	}
	return k.finish(pass)
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
	anew, err := nft.Diff(table, pass.want.table, func(string, string) []byte { return nil })
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
	for _, t := range pass.releases() {
		if k.later != nil {
			k.later(t)
		} else {
			errs = append(errs, t.do())
		}
		k.rt.Writes++
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

// releases are the flows that the kernel is to forget after the change: those whose mark means another link now, or none; when the
// table is new, those that went out untranslated before; and those of addresses that are gone. No others.
func (p *Pass) releases() []task {
	var out []task
	mask := p.Plan.Settings.MarkMask
	for _, mark := range p.table.Freed {
		out = append(out, task{fmt.Sprintf("flows with mark 0x%08x", mark), func() error { return rtnl.Release(mark, mask) }})
	}
	if p.table.New {
		out = append(out, task{"untranslated flows", rtnl.ReleaseUntranslated})
	}
	for _, r := range p.routes.DelRules {
		a := r.From.Addr()
		if !r.From.IsSingleIP() || p.Facts.Has(a) {
			continue
		}
		for _, l := range p.Plan.Links {
			if l.Table == r.Table {
				out = append(out, task{"flows of " + a.String(), func() error { return rtnl.ReleaseAddress(a, l.Mark, mask) }})
			}
		}
	}
	return out
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
