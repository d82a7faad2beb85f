// SPDX-License-Identifier: Apache-2.0

package lang

import (
	"path/filepath"
	"regexp"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"go4.org/netipx"

	"enlace/policy"
)

// labelled are the blocks with a name, and how they are read.
func (d *decoder) labelled() map[string]func(*hclsyntax.Block) {
	return map[string]func(*hclsyntax.Block){
		"lan": d.lan, "link": d.link, "group": d.group, "set": d.set, "rule": d.rule, "forward": d.forward,
		"redirect": d.redirect,
	}
}

// bare are the blocks without a name, of which there is at most one.
func (d *decoder) bare() map[string]func(*hclsyntax.Block) {
	return map[string]func(*hclsyntax.Block){"settings": d.settings, "default": d.defaultBlock, "locals": func(*hclsyntax.Block) {}}
}

// policy reads all blocks: names and locals first, so that the order of the file does not matter for references.
func (d *decoder) policy(blocks hclsyntax.Blocks) {
	var good hclsyntax.Blocks
	for _, b := range blocks {
		if d.declare(b) {
			good = append(good, b)
		}
	}
	d.locals(good)
	for _, b := range good {
		if read, ok := d.labelled()[b.Type]; ok {
			read(b)
		} else {
			d.bare()[b.Type](b)
		}
	}
	d.check()
}

// names may stand in names of nftables chains and of routing tables.
var nameForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,31}$`)

// declare checks a block's type and labels, and enters its name into the scope.
func (d *decoder) declare(b *hclsyntax.Block) bool {
	if d.scope.dir == "" {
		d.scope.dir = filepath.Dir(b.TypeRange.Filename)
	}
	at := b.DefRange()
	if _, ok := d.bare()[b.Type]; ok {
		if len(b.Labels) > 0 {
			d.fail(at, "Name not wanted", "A %s block has no name: write %s { ... }.", b.Type, b.Type)
			return false
		}
		return b.Type == "locals" || d.once(b.Type, "", at)
	}
	if _, ok := d.labelled()[b.Type]; !ok {
		d.unknownBlock(b)
		return false
	}
	if len(b.Labels) != 1 {
		d.fail(at, "One name wanted", "A %s block has one name: write %s \"NAME\" { ... }.", b.Type, b.Type)
		return false
	}
	if !nameForm.MatchString(b.Labels[0]) {
		d.fail(b.LabelRanges[0], "Unusable name", "A name starts with a letter and has up to 32 letters, digits, - and _.")
		return false
	}
	if b.Type == "link" || b.Type == "group" {
		d.tableName(b)
	}
	return d.once(b.Type, b.Labels[0], at)
}

// tableName complains about names that a routing table cannot have: the kernel's own, and one for two tables.
func (d *decoder) tableName(b *hclsyntax.Block) {
	name := b.Labels[0]
	switch name {
	case "main", "default", "local", "unspec", "all":
		d.fail(b.LabelRanges[0], "Unusable name", "A routing table is named after each link and group, and %q is the kernel's. Choose another name.", name)
	}
	other := map[string]string{"link": "group", "group": "link"}[b.Type]
	if first, ok := d.scope.names[other][name]; ok {
		d.fail(b.LabelRanges[0], "Used twice", "A routing table is named after each link and group, and %s %q (%s) has this name. Choose another.", other, name, pos(first))
	}
}

// once enters a block into the scope and complains when there is one already.
func (d *decoder) once(kind, name string, at hcl.Range) bool {
	if d.scope.names[kind] == nil {
		d.scope.names[kind] = map[string]hcl.Range{}
	}
	if first, ok := d.scope.names[kind][name]; ok {
		advice := "Remove one, or give it another name"
		if name == "" {
			advice = "Put both into one"
		}
		d.fail(at, "Declared twice", "There is already such a block at %s. %s.", pos(first), advice)
		return false
	}
	d.scope.names[kind][name] = at
	return true
}

func (d *decoder) unknownBlock(b *hclsyntax.Block) {
	known := []string{"default", "forward", "group", "lan", "link", "locals", "redirect", "rule", "set", "settings"}
	d.fail(b.TypeRange, "Unknown block", "There is no block %q.%s", b.Type, hint(b.Type, known))
}

// locals evaluates constants in whatever order their references need.
func (d *decoder) locals(blocks hclsyntax.Blocks) {
	var open []*hclsyntax.Attribute
	seen := map[string]bool{}
	for _, b := range blocks {
		if b.Type != "locals" {
			continue
		}
		for _, a := range b.Body.Attributes {
			if seen[a.Name] {
				d.fail(a.NameRange, "Declared twice", "There is another constant %q. Remove one, or give it another name.", a.Name)
				continue
			}
			seen[a.Name] = true
			open = append(open, a)
		}
	}
	for len(open) > 0 {
		var waiting []*hclsyntax.Attribute
		for _, a := range open {
			if d.waits(a, open) {
				waiting = append(waiting, a)
				continue
			}
			if v, ok := d.eval(a); ok {
				d.scope.setLocal(a.Name, v)
			} else {
				d.scope.setLocal(a.Name, cty.DynamicVal) // told already; its users need not complain again
			}
		}
		if len(waiting) == len(open) {
			for _, a := range open {
				d.fail(a.NameRange, "Circular constant", "The constant %q refers to itself, perhaps through others.", a.Name)
			}
			return
		}
		open = waiting
	}
}

// waits tells whether a constant names another that is not evaluated yet.
func (d *decoder) waits(a *hclsyntax.Attribute, open []*hclsyntax.Attribute) bool {
	for _, t := range a.Expr.Variables() {
		if t.RootName() != "local" || len(t) < 2 {
			continue
		}
		member, _ := t[1].(hcl.TraverseAttr)
		for _, other := range open {
			if other.Name == member.Name && d.scope.locals[other.Name] == cty.NilVal {
				return true
			}
		}
	}
	return false
}

func (d *decoder) lan(b *hclsyntax.Block) {
	l := policy.LAN{Name: b.Labels[0], Pos: pos(b.DefRange())}
	d.body(b, fields{
		"interface": d.interfaceName(b, &l.Interface),
		"networks":  d.prefixes(&l.Networks),
	}, "interface")
	d.nested(b, nil)
	d.out.LANs = append(d.out.LANs, l)
}

func (d *decoder) link(b *hclsyntax.Block) {
	l := policy.Link{Name: b.Labels[0], Masquerade: true, Health: policy.DefaultHealth(), Pos: pos(b.DefRange())}
	d.body(b, fields{
		"interface":  d.interfaceName(b, &l.Interface),
		"gateway":    d.gateways(&l.Gateway),
		"table":      d.table(b, &l.Table),
		"mark":       d.number(b, &l.Mark),
		"masquerade": d.boolean(&l.Masquerade),
		"snat":       d.sources(&l.SNAT),
		"on_change":  d.program(&l.OnChange),
		"mss_clamp":  d.clamp(&l.Clamp),
		"flowtable":  d.boolean(&l.Flowtable),
	}, "interface")
	d.nested(b, map[string]func(*hclsyntax.Block){"health": d.health(&l.Health)})
	d.saysFlowtable[l.Name] = b.Body.Attributes["flowtable"] != nil
	if a := b.Body.Attributes["snat"]; a != nil && !l.Masquerade {
		d.fail(a.NameRange, "Contradiction", "snat translates, and masquerade = false says that nothing is translated. Remove one.")
	}
	d.out.Links = append(d.out.Links, l)
}

func (d *decoder) group(b *hclsyntax.Block) {
	g := policy.Group{Name: b.Labels[0], Pos: pos(b.DefRange())}
	flowtable := false
	d.body(b, fields{
		"table":     d.table(b, &g.Table),
		"mark":      d.number(b, &g.Mark),
		"by":        d.balance(&g.By),
		"flows":     d.flows(&g.Flows),
		"flowtable": d.boolean(&flowtable),
	})
	seen := map[string]bool{}
	d.nested(b, map[string]func(*hclsyntax.Block){"member": func(m *hclsyntax.Block) {
		if member, ok := d.member(m, seen); ok {
			g.Members = append(g.Members, member)
			d.bypassing[member.Link] = d.bypassing[member.Link] || flowtable
		}
	}})
	if len(b.Body.Blocks) == 0 {
		d.fail(b.DefRange(), "Group without members", "Say which links it consists of: member \"NAME\" { weight = 1 }.")
	}
	d.out.Groups = append(d.out.Groups, g)
}

func (d *decoder) member(b *hclsyntax.Block, seen map[string]bool) (policy.Member, bool) {
	if len(b.Labels) != 1 {
		d.fail(b.DefRange(), "Name missing", "A member is named after its link: member \"NAME\" { weight = 1 }.")
		return policy.Member{}, false
	}
	m := policy.Member{Link: b.Labels[0], Weight: 1, Tier: 1}
	d.body(b, fields{"weight": d.integer(&m.Weight, 256), "tier": d.integer(&m.Tier, 100)})
	d.nested(b, nil)
	links, _ := d.scope.declared("link")
	if !contains(links, m.Link) {
		d.fail(b.LabelRanges[0], "Unknown name", "No link is called %q.%s", m.Link, hint(m.Link, links))
		return m, false
	}
	if seen[m.Link] {
		d.fail(b.LabelRanges[0], "Declared twice", "Link %q is already a member of this group. Give one member the sum of the weights.", m.Link)
		return m, false
	}
	seen[m.Link] = true
	return m, true
}

func (d *decoder) set(b *hclsyntax.Block) {
	s := policy.Set{Name: b.Labels[0], Pos: pos(b.DefRange())}
	var inline, listed []netipx.IPRange
	d.body(b, fields{"elements": d.ranges(&inline), "file": d.listFile(&listed)})
	d.nested(b, nil)
	if len(b.Body.Attributes) == 0 {
		d.fail(b.DefRange(), "Missing attribute", "A set block needs \"elements\", \"file\", or both.")
	}
	s.Ranges = merged(append(listed, inline...))
	d.out.Sets = append(d.out.Sets, s)
}

func (d *decoder) defaultBlock(b *hclsyntax.Block) {
	d.out.DefaultPos = pos(b.DefRange())
	d.body(b, fields{"via": d.target(&d.out.Default, "link", "group", "main"), "flows": d.flows(&d.out.DefaultFlows)}, "via")
	d.nested(b, nil)
}

func (d *decoder) settings(b *hclsyntax.Block) {
	s := &d.out.Settings
	d.body(b, fields{
		"mark_mask":     d.markMask(&s.MarkMask),
		"rule_priority": d.integer32(&s.RulePriority, 1, 32766-policy.RulePriorities),
		"table_base":    d.integer32(&s.TableBase, 1, 1<<31),
		"protocol":      d.ownerTag(&s.Protocol),
		"forwarding":    d.boolean(&s.Forwarding),
		"rp_filter":     d.boolean(&s.RPFilter),
		"on_change":     d.program(&s.OnChange),
	})
	d.nested(b, nil)
}
