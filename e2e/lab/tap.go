// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Tap makes an interface whose other end is a file: a virtual machine's network card is plugged into it. It is there as long as the
// file is open somewhere.
func (n *Namespace) Tap(name string) (f *os.File, err error) {
	err = n.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		request, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
			_ = unix.Close(fd)
			return err
		}
		f = os.NewFile(uintptr(fd), "tap "+name)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("make tap %s in %s: %w", name, n.Name, err)
	}
	return f, n.Up(name)
}

// NewOfficeAround builds an office whose router is a machine of its own: its interfaces are files, by their names, which it is to be
// plugged into. The providers leave its side alone, and Office.Router is nil.
func NewOfficeAround(hosts []int, links ...Uplink) (*Office, error) {
	for i := range links {
		links[i] = links[i].ByDHCP()
	}
	return newOffice(&Office{Taps: map[string]*os.File{}}, hosts, links)
}

// cable connects an interface of the router to one of another namespace.
func (o *Office) cable(router string, n *Namespace, name string) error {
	if o.Taps == nil {
		return o.Router.Connect(router, n, name)
	}
	f, err := n.Tap(name)
	o.Taps[router] = f
	return err
}
