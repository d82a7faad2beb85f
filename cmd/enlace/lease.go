// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"enlace/watch"
	"enlace/watch/lease"
)

func leaseCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "lease", Short: "tell enlace a gateway that a DHCP client learned",
		Long: "For the hooks of DHCP clients that keep no lease file which enlace reads, and for whatever else learns gateways. A running\n" +
			"enlace watch acts on it at once.",
	}
	device := ""
	cmd.PersistentFlags().StringVar(&device, "interface", "", "interface of the link")
	_ = cmd.MarkPersistentFlagRequired("interface")
	cmd.AddCommand(leaseSet(o, &device), &cobra.Command{
		Use: "clear", Short: "the lease is over", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return watch.FilesBelow(o.root).Leases.Clear(device) },
	})
	return cmd
}

func leaseSet(o *options, device *string) *cobra.Command {
	gateway, address, lifetime := "", "", time.Duration(0)
	cmd := &cobra.Command{
		Use: "set", Short: "the interface has a lease", Args: cobra.NoArgs,
		Example: "  enlace lease set --interface eth1 --gateway 189.1.0.1 --address 189.1.0.2 --lifetime 3600s",
		RunE: func(*cobra.Command, []string) error {
			r := lease.Record{}
			r.Interface = *device
			for _, text := range strings.FieldsFunc(gateway, func(c rune) bool { return c == ' ' || c == ',' }) {
				g, err := netip.ParseAddr(text)
				if err != nil || g.IsUnspecified() || g.IsMulticast() {
					return fmt.Errorf("--gateway: %q is no address of a gateway", text)
				}
				r.Gateways = append(r.Gateways, g)
			}
			if len(r.Gateways) == 0 {
				return errors.New("--gateway: name the gateway, or several, the best first; without one there is nothing to tell")
			}
			if address != "" {
				own, _, _ := strings.Cut(address, "/")
				a, err := netip.ParseAddr(own)
				if err != nil {
					return fmt.Errorf("--address: %q is no address", address)
				}
				r.Address = a
			}
			if lifetime < 0 {
				return fmt.Errorf("--lifetime: %s is over already", lifetime)
			}
			if lifetime > 0 {
				r.Ends = time.Now().Add(lifetime).Round(0)
			}
			return watch.FilesBelow(o.root).Leases.Set(r)
		},
	}
	cmd.Flags().StringVar(&gateway, "gateway", "", "the gateway; several with commas, the best first")
	cmd.Flags().StringVar(&address, "address", "", "address that the lease is for: when the interface has another one, the lease does not count")
	cmd.Flags().DurationVar(&lifetime, "lifetime", 0, "for how long it holds, such as 3600s; for ever if it is left out")
	return cmd
}
