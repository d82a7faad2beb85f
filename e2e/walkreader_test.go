// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// kernel is what the walk compares: what ip and nft show, in short.
type kernel struct {
	Defaults map[string]string // the default route of each table, "" when it has none but the leak stop
	Stops    []string          // tables with a leak stop
	Rules    []string
	Shares   map[string]int // of the group: how many slots lead to each link
	Nearby   []string       // networks of the links that flows reach without the rules
}

type jsonAddress struct {
	Name      string   `json:"ifname"`
	Flags     []string `json:"flags"`
	Addresses []struct {
		Family string `json:"family"`
		Local  string `json:"local"`
		Length int    `json:"prefixlen"`
	} `json:"addr_info"`
}

type jsonRoute struct {
	Type     string `json:"type"`
	Dest     string `json:"dst"`
	Gateway  string `json:"gateway"`
	Device   string `json:"dev"`
	Table    string `json:"table"`
	Protocol string `json:"protocol"`
	Source   string `json:"prefsrc"`
	Metric   int    `json:"metric"`
	Hops     []struct {
		Gateway string `json:"gateway"`
		Device  string `json:"dev"`
		Weight  int    `json:"weight"`
	} `json:"nexthops"`
}

type jsonRule struct {
	Priority int    `json:"priority"`
	Source   string `json:"src"`
	Mark     string `json:"fwmark"`
	Table    string `json:"table"`
	Protocol string `json:"protocol"`
}

// read runs a program that prints JSON.
func (w *walk) read(into any, program string, args ...string) {
	w.t.Helper()
	out, err := w.Router.Run(program, args...)
	if err != nil {
		w.t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
	if err := json.Unmarshal(out, into); err != nil {
		w.t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
}

// look returns what the policy means in the present world, worked out anew from what `ip -j` shows of it, and what the kernel has.
func (w *walk) look() (want, got kernel) {
	var addresses []jsonAddress
	var routes []jsonRoute
	var rules []jsonRule
	w.read(&addresses, "ip", "-j", "-4", "addr")
	w.read(&routes, "ip", "-j", "-4", "route", "show", "table", "all")
	w.read(&rules, "ip", "-j", "-4", "rule")
	return w.wanted(addresses, routes), w.found(routes, rules)
}

// wanted works out what the kernel should have.
func (w *walk) wanted(addresses []jsonAddress, routes []jsonRoute) kernel {
	k := kernel{Defaults: map[string]string{}, Shares: map[string]int{}}
	var hops []string
	live := map[string]bool{}
	firstLive := ""
	for _, l := range walkLinks {
		at := slices.IndexFunc(addresses, func(a jsonAddress) bool { return a.Name == l.device })
		if at < 0 {
			continue
		}
		device := addresses[at]
		source := ""
		up := slices.Contains(device.Flags, "UP") && slices.Contains(device.Flags, "LOWER_UP")
		for _, a := range device.Addresses {
			if source == "" {
				source = a.Local
			}
			k.Rules = append(k.Rules, fmt.Sprintf("1030 from %s lookup %s", a.Local, l.table))
			if network := netip.MustParsePrefix(fmt.Sprintf("%s/%d", a.Local, a.Length)).Masked().String(); up && !slices.Contains(k.Nearby, network) {
				k.Nearby = append(k.Nearby, network)
			}
		}
		gateway := w.learned(l, routes)
		if up && source != "" && gateway != "" {
			live[l.name] = true
			k.Defaults[l.table] = fmt.Sprintf("via %s dev %s src %s", gateway, l.device, source)
			hops = append(hops, fmt.Sprintf("via %s dev %s", gateway, l.device))
			if firstLive == "" {
				firstLive = l.table
			}
		}
	}
	if len(live) == 0 {
		return kernel{Defaults: map[string]string{}, Shares: map[string]int{}}
	}
	p := w.policy()
	for name, weight := range p.weights {
		if live[name] {
			k.Shares[name] = weight
		}
	}
	k.Defaults["40"] = strings.Join(hops, " ")
	if len(hops) == 1 {
		k.Shares = map[string]int{keyOf(live): 1}
		k.Defaults["40"] = k.Defaults[firstLive]
	}
	k.Stops = []string{"20", "30", "40"}
	usual := ""
	for _, l := range walkLinks {
		k.Rules = append(k.Rules, fmt.Sprintf("1060 mark %s lookup %s", l.mark, l.table))
		if p.defaultLink == l.name && live[l.name] {
			usual = l.table
		}
	}
	if p.defaultGroup {
		usual = "40"
	}
	if usual == "" { // the last resort
		usual = firstLive
	}
	k.Rules = append(k.Rules, "1040 from all lookup "+usual, "33000 from all lookup "+usual)
	slices.Sort(k.Rules)
	slices.Sort(k.Nearby)
	return k
}

func keyOf(m map[string]bool) string {
	for k := range m {
		return k
	}
	return ""
}

// learned is the gateway of a link: main's, unless a lease names another, because main's was set by hand.
func (w *walk) learned(l walkLink, routes []jsonRoute) string {
	main, metric := "", 0
	for _, r := range routes {
		if r.Table == "" && r.Dest == "default" && r.Device == l.device && (main == "" || r.Metric < metric) {
			main, metric = r.Gateway, r.Metric
		}
	}
	if told, ok := w.told[l.device]; ok {
		return told.String()
	}
	return main
}

// found reads what is ours in the kernel.
func (w *walk) found(routes []jsonRoute, rules []jsonRule) kernel {
	k := kernel{Defaults: map[string]string{}, Shares: map[string]int{}}
	for _, r := range routes {
		if r.Protocol != "225" || r.Dest != "default" {
			continue
		}
		switch {
		case r.Type == "unreachable":
			k.Stops = append(k.Stops, r.Table)
		case len(r.Hops) > 0:
			var hops []string
			for _, h := range r.Hops {
				hops = append(hops, fmt.Sprintf("via %s dev %s", h.Gateway, h.Device))
			}
			k.Defaults[r.Table] = strings.Join(hops, " ")
		default:
			k.Defaults[r.Table] = fmt.Sprintf("via %s dev %s src %s", r.Gateway, r.Device, r.Source)
		}
	}
	for _, r := range rules {
		switch {
		case r.Protocol != "225" || r.Priority < 1030 && r.Priority >= 1000:
		case r.Mark != "":
			k.Rules = append(k.Rules, fmt.Sprintf("%d mark %s lookup %s", r.Priority, r.Mark, r.Table))
		default:
			k.Rules = append(k.Rules, fmt.Sprintf("%d from %s lookup %s", r.Priority, r.Source, r.Table))
		}
	}
	slices.Sort(k.Rules)
	slices.Sort(k.Stops)
	w.table(&k)
	return k
}

// table reads the group's slots and the networks nearby.
func (w *walk) table(k *kernel) {
	out, err := w.Router.Run("nft", "-j", "list", "table", "inet", "enlace")
	if err != nil {
		return // there is none, which shows
	}
	var list struct {
		Objects []struct {
			Set struct {
				Name     string            `json:"name"`
				Elements []json.RawMessage `json:"elem"`
			} `json:"set"`
			Rule struct {
				Chain   string `json:"chain"`
				Comment string `json:"comment"`
				Exprs   []struct {
					Goto struct{ Target string } `json:"goto"`
					Vmap struct {
						Data json.RawMessage `json:"data"`
					} `json:"vmap"`
				} `json:"expr"`
			} `json:"rule"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal(out, &list); err != nil {
		w.t.Fatalf("nft -j: %v\n%s", err, out)
	}
	for _, o := range list.Objects {
		if o.Set.Name == "nearby4" {
			for _, e := range o.Set.Elements {
				var p struct {
					Prefix struct {
						Addr string `json:"addr"`
						Len  int    `json:"len"`
					} `json:"prefix"`
				}
				if err := json.Unmarshal(e, &p); err == nil && p.Prefix.Addr != "224.0.0.0" && p.Prefix.Addr != "" {
					k.Nearby = append(k.Nearby, fmt.Sprintf("%s/%d", p.Prefix.Addr, p.Prefix.Len))
				}
			}
		}
		if o.Rule.Chain != "group_balanced" || strings.HasPrefix(o.Rule.Comment, "only while") {
			continue
		}
		for _, e := range o.Rule.Exprs {
			if to, ok := strings.CutPrefix(e.Goto.Target, "to_"); ok {
				k.Shares[to]++
			}
			var data struct {
				Set [][]json.RawMessage `json:"set"`
			}
			_ = json.Unmarshal(e.Vmap.Data, &data) // elsewhere it may be the name of a map
			for _, slot := range data.Set {
				var verdict struct {
					Goto struct{ Target string } `json:"goto"`
				}
				if err := json.Unmarshal(slot[1], &verdict); err == nil {
					k.Shares[strings.TrimPrefix(verdict.Goto.Target, "to_")]++
				}
			}
		}
	}
	slices.Sort(k.Nearby)
}
