// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Stream is a flow that goes on until it is stopped, every packet of it watched.
type Stream struct {
	Flow   Flow
	office *Office
	conn   net.Conn
	stop   chan struct{}
	sender sync.WaitGroup // what sends, or asks for chunks
	reader sync.WaitGroup

	mu       sync.Mutex
	sent     int
	answered map[int]bool
	links    map[string]int
	err      error
}

// Result is what became of a stream.
type Result struct {
	Sent, Lost int            // packets; for TCP, chunks
	Missing    []int          // numbers of the lost ones, the first is 0
	Links      map[string]int // packets by the link that they left through
	Err        error          // what ended it early
}

// StreamUDP starts a flow of so many packets a second. Each is answered by the server with the address it was seen from.
func (o *Office) StreamUDP(n *Namespace, f Flow, perSecond int) (*Stream, error) {
	f.Network = "udp"
	s, err := o.stream(n, f)
	if err != nil {
		return nil, err
	}
	s.sender.Add(1)
	s.reader.Add(1)
	go s.sendUDP(time.Second / time.Duration(perSecond))
	go s.receiveUDP()
	return s, nil
}

// StreamTCP starts a download that goes on and on, in chunks of 64 KiB.
func (o *Office) StreamTCP(n *Namespace, f Flow) (*Stream, error) {
	f.Network = "tcp"
	s, err := o.stream(n, f)
	if err != nil {
		return nil, err
	}
	s.sender.Add(1)
	go s.download()
	return s, nil
}

func (o *Office) stream(n *Namespace, f Flow) (*Stream, error) {
	s := &Stream{Flow: f, office: o, stop: make(chan struct{}), answered: map[int]bool{}, links: map[string]int{}}
	err := n.Do(func() (err error) {
		s.conn, err = f.dial()
		return err
	})
	return s, err
}

func (s *Stream) sendUDP(every time.Duration) {
	defer s.sender.Done()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		s.mu.Lock()
		_, err := s.conn.Write([]byte(strconv.Itoa(s.sent)))
		s.sent++
		if err != nil && s.err == nil {
			s.err = err // an ICMP error of an earlier packet, which counts as lost
		}
		s.mu.Unlock()
	}
}

func (s *Stream) receiveUDP() {
	defer s.reader.Done()
	buf := make([]byte, 2048)
	for {
		n, err := s.conn.Read(buf)
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return
			}
			select {
			case <-s.stop:
				return
			default:
				continue
			}
		}
		addr, number, _ := strings.Cut(string(buf[:n]), " ")
		seq, err := strconv.Atoi(number)
		if err != nil {
			continue
		}
		s.mu.Lock()
		s.answered[seq] = true
		s.mu.Unlock()
		s.saw(addr)
	}
}

// saw notes by which link a packet left.
func (s *Stream) saw(addr string) {
	link := "unknown"
	if a, err := seenIn(addr); err == nil {
		link = s.office.LinkOf(a)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links[link]++
}

// standstill is for how long nothing may come of a download before it counts as broken: TCP gets over what a busy machine does.
const standstill = 10 * time.Second

func (s *Stream) download() {
	defer s.sender.Done()
	r := bufio.NewReaderSize(s.conn, 64<<10)
	fail := func(err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.err = err
	}
	line, err := r.ReadString('\n')
	if err != nil {
		fail(err)
		return
	}
	s.saw(strings.TrimSpace(line))
	const chunk = 64 << 10
	for seq := 0; ; seq++ {
		select {
		case <-s.stop:
			return
		default:
		}
		_ = s.conn.SetDeadline(time.Now().Add(standstill))
		s.mu.Lock()
		s.sent++
		s.mu.Unlock()
		if _, err := fmt.Fprintln(s.conn, chunk); err != nil {
			fail(err)
			return
		}
		if _, err := io.CopyN(io.Discard, r, chunk); err != nil {
			fail(err)
			return
		}
		s.mu.Lock()
		s.answered[seq] = true
		s.mu.Unlock()
		time.Sleep(5 * time.Millisecond) // a download that leaves the machine to the others
	}
}

// Await waits until n more packets are answered, or patience ends.
func (s *Stream) Await(n int) {
	count := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.answered)
	}
	for from, deadline := count(), time.Now().Add(patience); count() < from+n && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}

// AwaitVia waits until n packets of the stream were answered that left by a link.
func (s *Stream) AwaitVia(link string, n int) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		s.mu.Lock()
		enough := s.links[link] >= n
		s.mu.Unlock()
		if enough {
			return
		}
	}
}

// On tells whether the stream left through a link so far, and no other.
func (s *Stream) On(link string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.links) == 1 && s.links[link] > 0
}

// AwaitSent waits until n packets have been sent, answered or not.
func (s *Stream) AwaitSent(n int) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		s.mu.Lock()
		enough := s.sent >= n
		s.mu.Unlock()
		if enough {
			return
		}
	}
}

// Stop ends the stream and says what became of it. It waits for answers that are still on their way.
func (s *Stream) Stop() Result {
	close(s.stop)
	s.sender.Wait()
	for range 50 { // up to half a second, and no longer than needed
		s.mu.Lock()
		all := len(s.answered) == s.sent
		s.mu.Unlock()
		if all {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	_ = s.conn.SetReadDeadline(time.Now())
	s.reader.Wait()
	_ = s.conn.Close()
	r := Result{Sent: s.sent, Links: s.links, Err: s.err}
	for n := range s.sent {
		if !s.answered[n] {
			r.Missing = append(r.Missing, n)
		}
	}
	r.Lost = len(r.Missing)
	return r
}
