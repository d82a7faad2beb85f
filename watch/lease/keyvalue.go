// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"bufio"
	"bytes"
	"strings"
)

// values reads lines of the form key=value, by section and key ("dhcp4/routers"; lines before any section have none).
func values(text []byte) map[string]string {
	out := map[string]string{}
	section := ""
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			section = line[1:len(line)-1] + "/"
			continue
		}
		if key, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			out[section+strings.TrimSpace(key)] = strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return out
}

// ParseNetworkd reads a lease of systemd-networkd. networkd removes the file when the lease ends.
func ParseNetworkd(text []byte, device, name string) []Record {
	return keyed(values(text), "ADDRESS", "ROUTER", device, "systemd-networkd, "+name)
}

// ParseNetworkManager reads the state of a device, to which NetworkManager writes the options of DHCP.
func ParseNetworkManager(text []byte, device, name string) []Record {
	return keyed(values(text), "dhcp4/ip_address", "dhcp4/routers", device, "NetworkManager, "+name)
}

func keyed(v map[string]string, address, routers, device, source string) []Record {
	if device == "" || v[routers] == "" {
		return nil
	}
	r := Record{}
	r.Interface, r.Source = device, source
	r.Address, r.Gateways = first(v[address]), addresses(v[routers])
	return []Record{r}
}
