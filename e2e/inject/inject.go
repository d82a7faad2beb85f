// SPDX-License-Identifier: Apache-2.0

// Package inject puts frames into the kernel as if an interface had received them, and tells what each costs. It is apart from the
// lab, which is a part of the program, because it needs a library that the program does not.
package inject

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"enlace/e2e/lab"
)

// Injector puts frames of UDP flows into the stack as if an interface had received them, and tells what they cost. An XDP program
// writes each frame and passes it on (BPF_PROG_TEST_RUN with live frames, Documentation/bpf/bpf_prog_run.rst). All that the
// kernel does with a frame, down to the drop at the other end of the cable, happens in the calling thread, so that its CPU time is
// the router's cost: sockets on the same machine would drown it.
type Injector struct {
	ns      *lab.Namespace
	program *ebpf.Program
	maps    []*ebpf.Map
	index   uint32
}

// UDPFlow is a flow to inject; both ends are IPv4.
type UDPFlow struct{ From, To netip.AddrPort }

// frameSize is that of the smallest Ethernet frame, without its checksum.
const frameSize = 60

// flowRecord is the size of a flow in the program's map: addresses, ports, the IP header's checksum, two bytes unused.
const flowRecord = 16

// New prepares flows for an interface of a namespace. They are sent in turn, over and over; their number is rounded up to a power
// of two by repeating the first ones.
func New(n *lab.Namespace, device string, flows []UDPFlow) (i *Injector, err error) {
	mac, index, err := n.Device(device)
	if err != nil {
		return nil, err
	}
	size := 1
	for size < len(flows) {
		size *= 2
	}
	records := make([]byte, 0, size*flowRecord)
	for i := range size {
		records = flows[i%len(flows)].appendTo(records)
	}
	i = &Injector{ns: n, index: uint32(index)}
	defer func() {
		if err != nil {
			i.Close()
		}
	}()
	table, err := i.singleValue(records)
	if err != nil {
		return i, err
	}
	counter, err := i.singleValue(make([]byte, 8))
	if err != nil {
		return i, err
	}
	i.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: frameWriter(mac, counter, table, size), License: "GPL"})
	if err != nil {
		return i, fmt.Errorf("load the injector: %w", err)
	}
	return i, nil
}

// Close unloads the program.
func (i *Injector) Close() {
	if i.program != nil {
		_ = i.program.Close()
	}
	for _, m := range i.maps {
		_ = m.Close()
	}
}

// Send injects so many frames and returns the CPU time that one took.
func (i *Injector) Send(frames int) (perFrame time.Duration, err error) {
	err = i.ns.Do(func() error {
		if err := stayOnOneCPU(); err != nil {
			return err
		}
		began, err := threadTime()
		if err != nil {
			return err
		}
		_, err = i.program.Run(&ebpf.RunOptions{
			Data: make([]byte, frameSize), Repeat: uint32(frames), Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES, BatchSize: 64,
			Context: struct{ Data, End, Meta, Ingress, Queue, Egress uint32 }{End: frameSize, Ingress: i.index},
		})
		if err != nil {
			return err
		}
		ended, err := threadTime()
		perFrame = (ended - began) / time.Duration(frames)
		return err
	})
	return perFrame, err
}

// stayOnOneCPU binds the thread, which ends with the function that it runs, to the last CPU that it may use.
func stayOnOneCPU() error {
	var allowed, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return err
	}
	for cpu := range 1024 {
		if allowed.IsSet(cpu) {
			one.Zero()
			one.Set(cpu)
		}
	}
	return unix.SchedSetaffinity(0, &one)
}

func threadTime() (time.Duration, error) {
	var t unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return time.Duration(t.Nano()), err
}

// singleValue makes a map of one value, which a program reaches without a call.
func (i *Injector) singleValue(value []byte) (*ebpf.Map, error) {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: uint32(len(value)), MaxEntries: 1})
	if err != nil {
		return nil, fmt.Errorf("make a map of the injector: %w", err)
	}
	i.maps = append(i.maps, m)
	return m, m.Put(uint32(0), value)
}

// appendTo appends the flow's record.
func (f UDPFlow) appendTo(b []byte) []byte {
	from, to := f.From.Addr().As4(), f.To.Addr().As4()
	b = append(append(b, from[:]...), to[:]...)
	b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, f.From.Port()), f.To.Port())
	// RFC 1071 over the header that frameWriter writes: everything but the addresses is constant.
	sum := uint32(0x4500 + ipLength + 0x4000 + 64<<8 + unix.IPPROTO_UDP)
	for _, a := range [][4]byte{from, to} {
		sum += uint32(binary.BigEndian.Uint16(a[:2])) + uint32(binary.BigEndian.Uint16(a[2:]))
	}
	sum = sum&0xffff + sum>>16
	sum = sum&0xffff + sum>>16
	return binary.BigEndian.AppendUint32(b, (^sum&0xffff)<<16)
}

const ipLength = frameSize - 14

// frameWriter is the program: the frame's headers, with the next flow's addresses and ports. Pages come back as the stack left
// them, so everything is written each time.
func frameWriter(mac net.HardwareAddr, counter, table *ebpf.Map, flows int) asm.Instructions {
	host16 := func(v uint16) int64 {
		return int64(int16(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))))
	}
	host32 := func(b []byte) int64 { return int64(int32(binary.NativeEndian.Uint32(b))) }
	const packet, record, scratch = asm.R2, asm.R9, asm.R6
	program := asm.Instructions{
		asm.LoadMem(packet, asm.R1, 0, asm.Word),
		asm.LoadMem(asm.R3, asm.R1, 4, asm.Word),
		asm.Mov.Reg(asm.R4, packet), asm.Add.Imm(asm.R4, frameSize),
		asm.JGT.Reg(asm.R4, asm.R3, "short"),
		asm.LoadMapValue(asm.R5, counter.FD(), 0),
		asm.LoadMem(scratch, asm.R5, 0, asm.DWord),
		asm.Mov.Reg(asm.R7, scratch), asm.Add.Imm(asm.R7, 1), asm.StoreMem(asm.R5, 0, asm.R7, asm.DWord),
		asm.And.Imm(scratch, int32(flows-1)), asm.LSh.Imm(scratch, 4),
		asm.LoadMapValue(record, table.FD(), 0),
		asm.Add.Reg(record, scratch),
		// Ethernet: to the interface, from a locally administered address, IPv4.
		asm.StoreImm(packet, 0, host32(mac[:4]), asm.Word), asm.StoreImm(packet, 4, host16(binary.BigEndian.Uint16(mac[4:])), asm.Half),
		asm.StoreImm(packet, 6, host32([]byte{2, 0, 0, 0}), asm.Word), asm.StoreImm(packet, 10, host16(1), asm.Half),
		asm.StoreImm(packet, 12, host16(unix.ETH_P_IP), asm.Half),
		// IPv4: no options, not to be fragmented, 64 hops, UDP.
		asm.StoreImm(packet, 14, host16(0x4500), asm.Half), asm.StoreImm(packet, 16, host16(ipLength), asm.Half),
		asm.StoreImm(packet, 18, host16(0), asm.Half), asm.StoreImm(packet, 20, host16(0x4000), asm.Half),
		asm.StoreImm(packet, 22, host16(64<<8|unix.IPPROTO_UDP), asm.Half),
		asm.LoadMem(asm.R7, record, 12, asm.Half), asm.StoreMem(packet, 24, asm.R7, asm.Half),
	}
	for _, at := range []int16{0, 4, 8} { // both addresses, both ports
		program = append(program, asm.LoadMem(asm.R7, record, at, asm.Word), asm.StoreMem(packet, 26+at, asm.R7, asm.Word))
	}
	return append(program,
		asm.StoreImm(packet, 38, host16(ipLength-20), asm.Half), asm.StoreImm(packet, 40, host16(0), asm.Half), // UDP over IPv4 may go without a checksum
		asm.Mov.Imm(asm.R0, xdpPass), asm.Return(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("short"), asm.Return(),
	)
}

// xdpPass is XDP_PASS of linux/bpf.h.
const xdpPass = 2
