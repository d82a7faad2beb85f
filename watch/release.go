// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"net"
	"net/netip"

	"enlace/policy"
	"enlace/rtnl"
)

// releases are the flows that the kernel is to forget after the change: those whose mark means another link now, or none; when the
// table is new, those that went out untranslated before; and those of addresses that are gone. No others.
func (p *Pass) releases(now func() *policy.Plan) []task {
	var out []task
	mask := p.Plan.Settings.MarkMask
	for _, mark := range p.table.Freed {
		out = append(out, task{fmt.Sprintf("flows with mark 0x%08x", mark), func() error { return rtnl.Release(mark, mask) }})
	}
	out = append(out, p.abandoned(now)...)
	if p.table.New {
		out = append(out, p.untranslated()...)
	}
	for _, r := range p.routes.DelRules {
		a := r.From.Addr()
		if !r.From.IsSingleIP() || p.Facts.Has(a) {
			continue
		}
		for _, l := range p.Plan.Links {
			for _, mark := range l.Marks {
				if l.Table != r.Table || mark == 0 {
					continue
				}
				out = append(out, task{"flows of " + a.String(), func() error {
					if isOurs(a) { // again
						return nil
					}
					return rtnl.ReleaseAddress(a, mark, mask)
				}})
			}
		}
	}
	return out
}

// abandoned are the flows that leave their link since the last plan, because it is dead, or because they go home. When only some guests may go
// home, all are asked: those whose home is still dead come back; their TCP is left where it is until all may go.
func (p *Pass) abandoned(now func() *policy.Plan) []task {
	var out []task
	mask := p.Plan.Settings.MarkMask
	for i, l := range p.Plan.Links {
		for t, mark := range l.Marks {
			tenure := policy.Tenure(t)
			for _, f := range policy.Families {
				switch {
				case mark == 0 || p.table.New:
				case p.Plan.Leaves(l, tenure, f) && !p.left(i, tenure, f):
					out = append(out, task{fmt.Sprintf("flows of %s on link %s", f, l.Name), func() error {
						if plan := now(); i < len(plan.Links) && plan.Links[i].Marks[t] == mark && !plan.Leaves(plan.Links[i], tenure, f) {
							return nil // it has come back meanwhile
						}
						return rtnl.Abandon(f, mark, mask)
					}})
				case tenure == policy.Guest && p.earlier != nil && p.Plan.Returns(*p.earlier, f):
					out = append(out, task{fmt.Sprintf("guests of %s on link %s", f, l.Name), func() error { return rtnl.Abandon(f, mark, mask) }})
				}
			}
		}
	}
	return out
}

// left tells whether flows of a link were leaving it in the earlier plan already.
func (p *Pass) left(link int, t policy.Tenure, f policy.Family) bool {
	if p.earlier == nil || link >= len(p.earlier.Links) || p.earlier.Links[link].Name != p.Plan.Links[link].Name {
		return false
	}
	return p.earlier.Leaves(p.earlier.Links[link], t, f)
}

// untranslated releases the flows that nobody translates although their link does; where all links do, in one call.
func (p *Pass) untranslated() []task {
	mask := p.Plan.Settings.MarkMask
	marks, all := []uint32{0}, true
	for _, l := range p.Plan.Links {
		all = all && l.Masquerade
		for _, mark := range l.Marks {
			if l.Masquerade && mark != 0 {
				marks = append(marks, mark)
			}
		}
	}
	if all {
		return []task{{"untranslated flows", func() error { return rtnl.ReleaseUntranslated(0, 0) }}}
	}
	var out []task
	for _, mark := range marks {
		out = append(out, task{fmt.Sprintf("untranslated flows with mark 0x%08x", mark), func() error { return rtnl.ReleaseUntranslated(mark, mask) }})
	}
	return out
}

// isOurs tells whether the host has an address at the moment.
func isOurs(a netip.Addr) bool {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, own := range list {
		if p, err := netip.ParsePrefix(own.String()); err == nil && p.Addr().Unmap() == a {
			return true
		}
	}
	return false
}
