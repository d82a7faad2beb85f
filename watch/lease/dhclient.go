// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// ParseDhclient reads a lease file of ISC dhclient, see dhclient.leases(5). New leases are appended, so the last one of an interface
// is the one that holds; a file may have leases of several interfaces, and of IPv6, which name no gateway.
func ParseDhclient(text []byte, name string) []Record {
	var order []string
	last := map[string]Record{}
	p := &statements{rest: string(text)}
	for {
		words, opens, ok := p.next()
		if !ok {
			break
		}
		if !opens {
			continue
		}
		if len(words) != 1 || words[0] != "lease" {
			p.skip()
			continue
		}
		r, whole := dhclientLease(p)
		if !whole || r.Interface == "" {
			continue
		}
		if _, known := last[r.Interface]; !known {
			order = append(order, r.Interface)
		}
		r.Source = "dhclient, " + name
		last[r.Interface] = r
	}
	out := make([]Record, 0, len(order))
	for _, i := range order {
		out = append(out, last[i])
	}
	return out
}

// dhclientLease reads a lease up to its closing brace. It is not whole when the file ends before: it is being written.
func dhclientLease(p *statements) (r Record, whole bool) {
	for {
		words, opens, ok := p.next()
		switch {
		case !ok:
			return r, false
		case opens:
			p.skip()
		case len(words) == 0:
			return r, true
		default:
			r.dhclient(words)
		}
	}
}

// dhclient takes one statement of a lease.
func (r *Record) dhclient(words []string) {
	arg := strings.Join(words[1:], " ")
	switch words[0] {
	case "interface":
		r.Interface = strings.Trim(arg, `"`)
	case "fixed-address":
		r.Address = first(arg)
	case "expire":
		r.Ends = dhclientTime(words[1:])
	case "option":
		if option, value, _ := strings.Cut(arg, " "); option == "routers" && len(r.Gateways) == 0 {
			r.Gateways = addresses(value)
		} else if strings.HasSuffix(option, "classless-static-routes") {
			// A client that gets these does not look at routers (RFC 3442).
			if via := classless(value); via.IsValid() {
				r.Gateways = []netip.Addr{via}
			}
		}
	}
}

// classless finds the default route among classless static routes, as dhclient writes them: the length of a prefix, as many bytes of
// it as that needs, and the gateway, all separated by commas.
func classless(value string) netip.Addr {
	var bytes []byte
	for _, f := range strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' || r == '.' }) {
		n, err := strconv.ParseUint(f, 10, 8)
		if err != nil {
			return netip.Addr{}
		}
		bytes = append(bytes, byte(n))
	}
	for len(bytes) >= 5 {
		length := int(bytes[0])
		significant := (length + 7) / 8
		if length > 32 || len(bytes) < 1+significant+4 {
			break
		}
		if length == 0 {
			return first(netip.AddrFrom4([4]byte(bytes[1:5])).String())
		}
		bytes = bytes[1+significant+4:]
	}
	return netip.Addr{}
}

// dhclientTime reads a date: a day of the week, the day and the time in UTC; "epoch" and seconds; or "never".
func dhclientTime(words []string) time.Time {
	if len(words) >= 2 && words[0] == "epoch" {
		if n, err := strconv.ParseInt(words[1], 10, 64); err == nil {
			return time.Unix(n, 0)
		}
	}
	if len(words) >= 3 {
		if t, err := time.Parse("2006/01/02 15:04:05", words[1]+" "+words[2]); err == nil {
			return t
		}
	}
	return time.Time{}
}

// statements cuts text into statements that end in ";", and blocks in braces. Strings are in quotes, comments begin with "#".
type statements struct{ rest string }

// next returns the words before the next ";", "{" or "}". A closing brace alone gives no words.
func (s *statements) next() (words []string, opens, ok bool) {
	for {
		s.rest = strings.TrimLeft(s.rest, " \t\r\n")
		if s.rest == "" {
			return nil, false, false
		}
		c := s.rest[0]
		switch c {
		case '#':
			_, s.rest, _ = strings.Cut(s.rest, "\n")
		case ';', '{', '}':
			s.rest = s.rest[1:]
			if c == ';' && len(words) == 0 {
				continue
			}
			return words, c == '{', true
		case '"':
			end := quoteEnd(s.rest)
			words, s.rest = append(words, s.rest[:end]), s.rest[end:]
		default:
			end := strings.IndexAny(s.rest, " \t\r\n;{}\"#")
			if end < 0 {
				end = len(s.rest)
			}
			words, s.rest = append(words, s.rest[:end]), s.rest[end:]
		}
	}
}

// quoteEnd is where a string in quotes ends; a backslash takes the next character with it.
func quoteEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(s)
}

// skip goes behind the brace that closes the block just opened.
func (s *statements) skip() {
	for depth := 1; depth > 0; {
		words, opens, ok := s.next()
		switch {
		case !ok:
			return
		case opens:
			depth++
		case len(words) == 0:
			depth--
		}
	}
}
