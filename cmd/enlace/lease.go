// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"enlace/watch"
	"enlace/watch/lease"
)

func leaseCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "lease", Short: "tell enlace a gateway that a DHCP client learned", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("lease wants set or clear: see enlace lease --help")
		},
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
	gateway, address, lifetime := "", "", ""
	cmd := &cobra.Command{
		Use: "set", Short: "the interface has a lease", Args: cobra.NoArgs,
		Example: "  enlace lease set --interface eth1 --gateway 189.1.0.1 --address 189.1.0.2 --lifetime 3600s",
		RunE: func(cmd *cobra.Command, _ []string) error {
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
			if lifetime != "" {
				d, err := duration(lifetime)
				if err != nil {
					return err
				}
				r.Ends = time.Now().Add(d).Round(0)
			}
			if err := watch.FilesBelow(o.root).Leases.Set(r); err != nil {
				return err
			}
			if _, err := net.InterfaceByName(*device); err != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "note: there is no interface %s at the moment; the lease counts when there is\n", *device)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&gateway, "gateway", "", "the gateway; several with commas, the best first")
	cmd.Flags().StringVar(&address, "address", "", "address that the lease is for: when the interface has another one, the lease does not count")
	cmd.Flags().StringVar(&lifetime, "lifetime", "", "for how long it holds, in seconds or such as 2h; for ever if it is left out")
	return cmd
}

// duration reads seconds, as DHCP counts, or a number with a unit.
func duration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if _, notSeconds := strconv.Atoi(text); notSeconds == nil {
		d, err = time.ParseDuration(text + "s")
	}
	if err != nil {
		return 0, fmt.Errorf("--lifetime: %q is no time: write seconds, or 90m, or 2h", text)
	}
	if d <= 0 {
		return 0, fmt.Errorf("--lifetime: %s is over already", text)
	}
	return d, nil
}
