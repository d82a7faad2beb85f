// SPDX-License-Identifier: Apache-2.0

// Package lab builds an office with internet links out of network namespaces: hosts inside, a router, providers that drop
// what does not come from their own addresses, and an internet of many servers. Traffic is real, and every packet of a stream
// is watched. It needs nothing but the kernel, and root or a user namespace; no packet leaves the namespaces.
package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/jsimonetti/rtnetlink/v2/driver"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Namespace is a network namespace without a name in the file system: it is gone when its last file descriptor is.
type Namespace struct {
	Name string
	file *os.File
	rt   *rtnetlink.Conn
}

// NewNamespace makes a namespace with loopback up. The name is for messages only.
func NewNamespace(name string) (*Namespace, error) {
	n := &Namespace{Name: name}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make network namespace: %w", err)
		}
		var err error
		if n.file, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		n.rt, err = rtnetlink.Dial(&netlink.Config{Strict: true})
		return err
	})
	if err != nil {
		return nil, err
	}
	// Addresses are usable at once: nobody else has them.
	return n, errors.Join(n.Sysctl("ipv6/conf/default/accept_dad", "0"), n.Up("lo"))
}

// Close gives the namespace up.
func (n *Namespace) Close() error { return errors.Join(n.rt.Close(), n.file.Close()) }

// Do runs a function in the namespace. Sockets that it opens, and programs that it starts, stay there.
func (n *Namespace) Do(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter namespace %s: %w", n.Name, err)
		}
		return f()
	})
}

// onThread runs a function on a thread of its own, which ends with it: nobody else ever runs in the wrong namespace.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

// Run runs a program in the namespace and returns what it printed.
func (n *Namespace) Run(name string, args ...string) ([]byte, error) {
	var out []byte
	err := n.Do(func() error {
		var err error
		out, err = exec.Command(name, args...).CombinedOutput()
		return err
	})
	return out, err
}

// index is the number of an interface.
func (n *Namespace) index(name string) (uint32, error) {
	links, err := n.rt.Link.List()
	if err != nil {
		return 0, err
	}
	for _, l := range links {
		if l.Attributes.Name == name {
			return l.Index, nil
		}
	}
	return 0, fmt.Errorf("namespace %s has no interface %s", n.Name, name)
}

// Device is the Ethernet address and the number of an interface.
func (n *Namespace) Device(name string) (mac net.HardwareAddr, index int, err error) {
	err = n.Do(func() error {
		i, err := net.InterfaceByName(name)
		if err == nil {
			mac, index = i.HardwareAddr, i.Index
		}
		return err
	})
	return mac, index, err
}

// Up switches an interface on.
func (n *Namespace) Up(name string) error { return n.setFlags(name, unix.IFF_UP) }

// Down switches an interface off.
func (n *Namespace) Down(name string) error { return n.setFlags(name, 0) }

func (n *Namespace) setFlags(name string, flags uint32) error {
	index, err := n.index(name)
	if err != nil {
		return err
	}
	return n.rt.Link.Set(&rtnetlink.LinkMessage{Index: index, Flags: flags, Change: unix.IFF_UP})
}

// Remove deletes an interface.
func (n *Namespace) Remove(name string) error {
	index, err := n.index(name)
	if err != nil {
		return err
	}
	return n.rt.Link.Delete(index)
}

// Connect lays a cable from an interface of this namespace to one of another.
func (n *Namespace) Connect(name string, other *Namespace, otherName string) error {
	err := n.rt.Link.New(&rtnetlink.LinkMessage{Attributes: &rtnetlink.LinkAttributes{
		Name: name,
		Info: &rtnetlink.LinkInfo{Kind: "veth", Data: &driver.Veth{PeerInfo: &rtnetlink.LinkMessage{
			Attributes: &rtnetlink.LinkAttributes{Name: otherName, NetNS: rtnetlink.NetNSForFD(uint32(other.file.Fd()))},
		}}},
	}})
	if err != nil {
		return fmt.Errorf("connect %s of %s to %s: %w", name, n.Name, other.Name, err)
	}
	return errors.Join(n.Up(name), other.Up(otherName))
}

// AddAddress gives an interface an address with its network; IPv6 without duplicate address detection.
func (n *Namespace) AddAddress(name string, p netip.Prefix) error {
	m, err := n.address(name, p)
	if err != nil {
		return err
	}
	if err := n.rt.Address.New(m); err != nil {
		return fmt.Errorf("add %s to %s of %s: %w", p, name, n.Name, err)
	}
	return nil
}

// RemoveAddress takes an address away.
func (n *Namespace) RemoveAddress(name string, p netip.Prefix) error {
	m, err := n.address(name, p)
	if err != nil {
		return err
	}
	return n.rt.Address.Delete(m)
}

func (n *Namespace) address(name string, p netip.Prefix) (*rtnetlink.AddressMessage, error) {
	index, err := n.index(name)
	if err != nil {
		return nil, err
	}
	m := &rtnetlink.AddressMessage{Family: family(p.Addr()), PrefixLength: uint8(p.Bits()), Index: index, Attributes: &rtnetlink.AddressAttributes{
		Address: p.Addr().AsSlice(), Local: p.Addr().AsSlice(),
	}}
	if p.Addr().Is6() {
		m.Attributes.Flags = unix.IFA_F_NODAD
	}
	return m, nil
}

// AddRoute adds a route of the main table, via a gateway or, when that is not valid, directly by an interface.
func (n *Namespace) AddRoute(dest netip.Prefix, gateway netip.Addr, name string) error {
	m, err := n.route(dest, gateway, name)
	if err != nil {
		return err
	}
	if err := n.rt.Route.Replace(m); err != nil {
		return fmt.Errorf("add route to %s in %s: %w", dest, n.Name, err)
	}
	return nil
}

func (n *Namespace) route(dest netip.Prefix, gateway netip.Addr, name string) (*rtnetlink.RouteMessage, error) {
	index, err := n.index(name)
	if err != nil {
		return nil, err
	}
	m := &rtnetlink.RouteMessage{
		Family: family(dest.Addr()), DstLength: uint8(dest.Bits()), Table: unix.RT_TABLE_MAIN, Protocol: unix.RTPROT_BOOT, Type: unix.RTN_UNICAST,
		Attributes: rtnetlink.RouteAttributes{OutIface: index},
	}
	if dest.Bits() > 0 {
		m.Attributes.Dst = net.IP(dest.Addr().AsSlice())
	}
	if gateway.IsValid() {
		m.Attributes.Gateway = gateway.AsSlice()
	} else if dest.Addr().Is4() {
		m.Scope = unix.RT_SCOPE_LINK
	}
	return m, nil
}

// Sysctl sets a kernel setting by its path below /proc/sys/net.
func (n *Namespace) Sysctl(name, value string) error {
	return n.Do(func() error { return os.WriteFile(filepath.Join("/proc/sys/net", name), []byte(value), 0) })
}

func family(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// settle waits until the kernel has given its link-local addresses to so many interfaces, which it does a moment after they
// come up: until then the world is still changing.
func (n *Namespace) settle(interfaces int) error {
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		list, err := n.rt.Address.List()
		if err != nil {
			return err
		}
		ready := 0
		for _, m := range list {
			if m.Attributes != nil && m.Attributes.Address.IsLinkLocalUnicast() && m.Attributes.Flags&unix.IFA_F_TENTATIVE == 0 {
				ready++
			}
		}
		if ready >= interfaces {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("namespace %s: its interfaces have no link-local addresses", n.Name)
}

// addLocal makes every address of a network the namespace's own (an AnyIP route: type local, on loopback, table local).
func (n *Namespace) addLocal(p netip.Prefix) error {
	index, err := n.index("lo")
	if err != nil {
		return err
	}
	return n.rt.Route.Add(&rtnetlink.RouteMessage{
		Family: family(p.Addr()), DstLength: uint8(p.Bits()), Table: unix.RT_TABLE_LOCAL, Protocol: unix.RTPROT_BOOT,
		Type: unix.RTN_LOCAL, Scope: unix.RT_SCOPE_HOST, Attributes: rtnetlink.RouteAttributes{OutIface: index, Dst: p.Addr().AsSlice()},
	})
}
