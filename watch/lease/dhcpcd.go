// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"net/netip"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// ParseDhcpcd reads a lease of dhcpcd, which is the server's answer as it came over the wire. The file is named after the interface,
// in a wireless network also after that; its time is when the lease began.
func ParseDhcpcd(packet []byte, base string, began time.Time, name string) []Record {
	device, ok := strings.CutSuffix(base, ".lease")
	if !ok {
		return nil
	}
	device = strings.TrimPrefix(device, "dhcpcd-") // before dhcpcd 9
	answer, err := dhcpv4.FromBytes(packet)
	if err != nil {
		return nil
	}
	r := Record{}
	r.Interface, r.Source = device, "dhcpcd, "+name
	r.Address, _ = netip.AddrFromSlice(answer.YourIPAddr.To4())
	for _, g := range answer.Router() {
		if a, ok := netip.AddrFromSlice(g.To4()); ok && !a.IsUnspecified() {
			r.Gateways = append(r.Gateways, a)
		}
	}
	for _, route := range answer.ClasslessStaticRoute() {
		if route.Dest == nil {
			continue
		}
		if ones, _ := route.Dest.Mask.Size(); ones == 0 {
			if a, ok := netip.AddrFromSlice(route.Router.To4()); ok {
				r.Gateways = []netip.Addr{a} // RFC 3442: routers are not looked at then
			}
		}
	}
	// 2^32-1 seconds mean for ever (RFC 2131, 3.3).
	if t := answer.IPAddressLeaseTime(0); t > 0 && t < (1<<32-1)*time.Second {
		r.Ends = began.Add(t)
	}
	return []Record{r}
}
