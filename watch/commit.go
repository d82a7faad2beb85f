// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"enlace/nft"
	"enlace/policy"
	"enlace/rtnl"
)

// commit makes the change of a pass.
func (k *Kernel) commit(pass *Pass) error {
	if err := pass.table.Refused(); err != nil {
		return err
	}
	if k.onward {
		return k.goOn(pass)
	}
	if err := k.build(pass); err != nil {
		return errors.Join(err, k.undo(pass))
	}
	k.held = pass.want.routes
	return k.finish(pass)
}

// goOn makes as much of a change as the kernel takes. Without the table nothing is removed: what was there before still works.
func (k *Kernel) goOn(pass *Pass) error {
	routes := k.prepare(pass)
	if err := k.table(pass); err != nil {
		return errors.Join(routes, err)
	}
	if routes == nil {
		k.held = pass.want.routes
	}
	return errors.Join(routes, k.finish(pass))
}

// The order in which no packet meets a gap: what is added to routes and rules, the table, what is removed. Forwarding is
// switched on when the table is there, because a packet that is forwarded before leaves untranslated, and its flow would stay so.

// build makes the part of a change that can be undone: it ends with the table, which changes as a whole or not at all.
func (k *Kernel) build(pass *Pass) error {
	if err := k.prepare(pass); err != nil {
		return err
	}
	return k.table(pass)
}

// prepare makes what has to be there before the table: settings, and what is added to routes and rules.
func (k *Kernel) prepare(pass *Pass) error {
	pass.noted = rtnl.Noted(k.files.Sysctls)
	if !pass.repair { // what a repair finds is not what was there before enlace
		if err := rtnl.NoteSysctls(pass.routes.SetSysctls, k.files.Sysctls); err != nil {
			return err
		}
	}
	before, _ := rtnl.Forwarding(pass.routes.SetSysctls)
	if err := k.rt.SetSysctls(before); err != nil {
		return err
	}
	return k.rt.Add(pass.routes, pass.Plan.Settings.Protocol)
}

// table changes the table.
func (k *Kernel) table(pass *Pass) error {
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
	k.putInForce(pass.Plan)
	_ = k.files.forget(pass.lists) // what stays is in nobody's way, and is tried again
	for _, t := range pass.releases(k.inForce.Load) {
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
			k.names = pass.names
			pass.unwritten(err)
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
	back := rtnl.Diff(now, pass.before, k.held)
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
	change := rtnl.Diff(have, rtnl.State{}, rtnl.State{})
	if err := k.nft.Mine(); err != nil {
		return nil, err
	}
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
	return append(lines, change.Lines()...), errors.Join(rtnl.RemoveNames(k.files.Names), os.RemoveAll(k.files.Lists), os.RemoveAll(k.files.Health), os.RemoveAll(k.files.Drained))
}
