// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
	"strings"
)

// Text is the table in the syntax of `nft -f`: loading it gives what Apply gives.
func (t Table) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s {\n", TableName)
	for _, s := range t.Sets {
		kind, typ := "set", s.Key.typ.Name
		if s.Map {
			kind, typ = "map", typ+" : verdict"
		}
		fmt.Fprintf(&b, "\t%s %s {\n\t\ttype %s\n", kind, s.Name, typ)
		if s.Size != 0 {
			fmt.Fprintf(&b, "\t\tsize %d\n", s.Size)
		}
		if s.Interval {
			b.WriteString("\t\tflags interval\n")
		}
		if s.Counted {
			b.WriteString("\t\tcounter\n")
		}
		if len(s.Elements) > 0 {
			fmt.Fprintf(&b, "\t\telements = %s\n", braces(s.Key, s.Elements))
		}
		b.WriteString("\t}\n\n")
	}
	if t.Flowtable != nil {
		b.WriteString(t.Flowtable.text())
	}
	for i, c := range t.Chains {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "\tchain %s {\n", c.Name)
		if c.Hook != nil {
			fmt.Fprintf(&b, "\t\ttype %s hook %s priority %s; policy accept;\n", c.Hook.Type, c.Hook.Point, priority(*c.Hook))
		}
		for _, r := range c.Rules {
			fmt.Fprintf(&b, "\t\t%s\n", r.text())
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// The priorities that enlace uses (nft(8), linux/netfilter_ipv4.h): after connection tracking (-200) and before address
// translation.
const (
	mangle = -150
	dstnat = -100
	srcnat = 100
)

// priority is a priority as nft lists it.
func priority(h Hook) string {
	switch h.Priority {
	case mangle:
		return "mangle"
	case dstnat:
		return "dstnat"
	case srcnat:
		return "srcnat"
	}
	return fmt.Sprint(h.Priority)
}

// String is a set in a line of a plan, cut short when it is long.
func (s Set) String() string {
	const few = 8
	if len(s.Elements) <= few {
		return s.Name + " " + braces(s.Key, s.Elements)
	}
	return fmt.Sprintf("%s { %s, ... %d elements }", s.Name, strings.Trim(braces(s.Key, s.Elements[:few]), "{ }"), len(s.Elements))
}
