// SPDX-License-Identifier: Apache-2.0

// Package watch brings the kernel to the state that a policy wants. A pass reads all facts, derives a plan, compares it with
// what the kernel has, and writes what differs.
package watch

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"
	"sync/atomic"
	"time"

	"enlace/nft"
	"enlace/policy"
	"enlace/rtnl"
)

// Kernel is what enlace reads and writes: routes and rules, the table, and two files.
type Kernel struct {
	rt      *rtnl.Conn
	nft     *nft.Conn
	lock    *os.File
	files   Files
	last    compiled
	held    rtnl.State                  // what of routes and rules is in force by our own doing, as far as this process knows
	names   []byte                      // that could not be written
	health  *health                     // this process's own probes; nil: those of a daemon count, if one runs
	drained map[string]policy.Drain     // as last read
	offload *bool                       // the kernel has flowtables; nil: it was not asked yet
	inForce atomic.Pointer[policy.Plan] // the last that was committed
	later   func(task)                  // does what can wait; nil: at once
	// onward: what is refused does not undo the rest. A daemon tries again, and its links do not depend on each other.
	onward bool
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

// The oldest kernel that enlace works on, which e2e/vm tests. What newer ones can do besides is found out by asking them.
const (
	oldestMajor = 5
	oldestMinor = 10
)

// Open connects to the kernel in the network namespace of the calling thread. It fails, before anything is changed, when
// the caller may not change the network or the kernel lacks nftables.
func Open(files Files) (*Kernel, error) {
	if older, release := nft.OlderThan(oldestMajor, oldestMinor); older {
		return nil, fmt.Errorf("kernel %s is too old: enlace needs Linux %d.%d or later (Debian 11); nothing was changed", release, oldestMajor, oldestMinor)
	}
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

// Kept tells whether Keep was called with success.
func (k *Kernel) Kept() bool { return k.nft.Keeps() }

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
	repair   bool // of what others have changed

	namesFile string
	names     []byte // nil: the file is right
	lists     []nft.List
	want      compiled
	earlier   *policy.Plan
	NextEnd   time.Time // when the first lease ends, zero: none does
}

// Len is how many objects differ from what the policy wants.
func (p *Pass) Len() int {
	n := p.Objects()
	if p.names != nil {
		n++
	}
	return n
}

// Empty tells whether the kernel is as the policy wants it.
func (p *Pass) Empty() bool { return p.Len() == 0 }

// Objects is how many objects of the kernel differ, without files.
func (p *Pass) Objects() int { return p.routes.Len() + p.table.Len() }

// unwritten notes that the names of the tables are not in their file. Names are for people; the network does not depend on them.
func (p *Pass) unwritten(err error) {
	p.Problems = append(p.Problems, policy.Problem{Code: policy.NamesUnwritten, Subject: "table names", Text: p.namesFile + ": " + err.Error()})
}

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
	if k.health == nil {
		facts.Standings = readStandings(k.files)
	} else {
		facts.Standings, _ = k.health.standings()
	}
	drained, unread := k.files.drained()
	if unread == nil {
		k.drained = drained
	}
	facts.Drained = k.drained
	if facts.NoFlowtable, err = k.lacksFlowtable(p); err != nil {
		return nil, err
	}
	pass.Facts = facts
	pass.Plan, pass.Problems = policy.Derive(p, facts)
	if k.health != nil { // a link that has come back is on hold before it is used
		k.health.follow(p, pass.Plan, facts)
		if now, _ := k.health.standings(); !reflect.DeepEqual(now, facts.Standings) {
			facts.Standings = now
			pass.Plan, pass.Problems = policy.Derive(p, facts)
		}
		pass.Facts = facts
	}
	if unread != nil { // the links have to be followed all the same
		pass.Problems = append(pass.Problems, policy.Problem{Code: policy.DrainedUnread, Subject: "drained links", Text: unread.Error()})
	}
	pass.want, pass.earlier = k.compile(pass.Plan), k.inForce.Load()
	if have.Sysctls, err = rtnl.ReadSysctls(pass.want.routes.Sysctls); err != nil {
		return nil, err
	}
	pass.before = have
	pass.routes = rtnl.Diff(have, pass.want.routes, k.held)
	if pass.routes.Len() == 0 {
		k.held = pass.want.routes
	}
	if pass.table, err = nft.Diff(table, pass.want.table, k.files.recall); err != nil {
		return nil, err
	}
	pass.lists = pass.want.table.Lists()
	pass.namesFile = k.files.Names
	if names := rtnl.TableNames(pass.Plan); !rtnl.SameFile(k.files.Names, names) {
		if bytes.Equal(names, k.names) { // no use
			pass.unwritten(errors.New("it could not be written"))
		} else {
			pass.names = names
		}
	}
	return pass, nil
}

// putInForce notes the plan that the kernel has now. It is a copy: a pass knows the plan before it, and would keep all of them.
func (k *Kernel) putInForce(plan policy.Plan) { k.inForce.Store(&plan) }

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

// lacksFlowtable tells whether a policy wants a flowtable that the kernel does not have. The kernel is asked once, and only when one
// is wanted, because asking loads its modules.
func (k *Kernel) lacksFlowtable(p policy.Policy) (bool, error) {
	if !p.WantsFlowtable() {
		return false, nil
	}
	if k.offload == nil {
		has, err := k.nft.Offloads()
		if err != nil {
			return false, err
		}
		k.offload = &has
	}
	return !*k.offload, nil
}
