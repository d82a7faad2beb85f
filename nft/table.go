// SPDX-License-Identifier: Apache-2.0

// Package nft turns a plan into the one nftables table of enlace, and brings the kernel's table to that state.
//
// The table is a value with two forms: text for `nft -f`, to read and to compare, and netlink messages, which are what is
// loaded. A test loads both and wants the same listing. Changes are made rule by rule and element by element: what stays the
// same keeps its counters, and there is no moment without rules.
package nft

import (
	"hash/fnv"
	"strings"
)

// TableName is the name of enlace's table, which is of the family inet.
const TableName = "enlace"

// Table is the wanted or the observed content of the table.
type Table struct {
	Sets      []Set
	Chains    []Chain
	Flowtable *Flowtable // nil: there is none
}

// Chain is a list of rules. A chain with a hook is entered by packets, the others by goto.
type Chain struct {
	Name  string
	Hook  *Hook
	Rules []Rule
}

// Hook is where a base chain stands in the packet's way. The policy is always accept: enlace routes, it is not a firewall.
type Hook struct {
	Type     string // filter, nat or route
	Point    string // prerouting, forward, output or postrouting
	Priority int
}

// Rule is a list of statements, and a comment that says where in the policy it comes from.
type Rule struct {
	Statements []Statement
	Comment    string
}

// Set is a named set, or a map to verdicts when its elements have one.
type Set struct {
	Name     string
	Key      key
	Map      bool // its elements are mapped to verdicts
	Interval bool
	Size     int  // most elements that it will have, 0: not said
	Counted  bool // every element counts its packets
	Elements []Element
	sum      string // hash of the elements of a long list, empty: not known
}

// Element is a value or a range of values (both ends included), and in a map the verdict that belongs to it.
type Element struct {
	From, To []byte // as in the packet or register; To is nil for a single value
	Verdict  Verdict
	Comment  string
	Label    string // how it is written, when that is not told by the value: the name of an interface that is matched by number
}

// Chain returns the chain of that name, or nil.
func (t *Table) Chain(name string) *Chain {
	for i := range t.Chains {
		if t.Chains[i].Name == name {
			return &t.Chains[i]
		}
	}
	return nil
}

// hashOf identifies a rule by what it says: two rules with the same text and comment are the same to the kernel and to a reader.
func hashOf(text string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text))
	return h.Sum64()
}

// identity is the rule's text, and the numbers of the interfaces that it names where it matches them by number: an interface that
// was deleted and made again has the same name and another number.
func (r Rule) identity() string {
	id := []byte(r.text())
	for _, s := range r.Statements {
		if m, ok := s.(interface{ values() []Element }); ok {
			for _, e := range m.values() {
				if e.Label != "" {
					id = append(append(id, ' '), e.From...)
				}
			}
		}
	}
	return string(id)
}

// String is the rule in nft's syntax.
func (r Rule) String() string { return r.text() }

// text is the rule in nft's syntax.
func (r Rule) text() string {
	var b strings.Builder
	for i, s := range r.Statements {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(s.text())
	}
	if r.Comment != "" {
		b.WriteString(` comment "` + r.Comment + `"`)
	}
	return b.String()
}
