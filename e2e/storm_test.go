// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"enlace/watch"
)

// TestStorm: ten thousand address events in about a second, with the usual event buffer and with one that holds next to nothing: the
// end state is right, the passes are at most about a hundred a second, and memory does not grow.
func TestStorm(t *testing.T) {
	for _, buffer := range []int{watch.EventBuffer, 2048} {
		t.Run(fmt.Sprintf("buffer=%d", buffer), func(t *testing.T) {
			r := newRouter(t)
			d := r.watchFile(r.write(links, balanced, `default { via = group.balanced }`), fmt.Sprintf("--event-buffer=%d", buffer))
			r.storm(1000) // what the first one takes is not growth
			d.awaitIdle()
			before, memory := d.status().Counters.Passes, d.memory()
			began := time.Now()
			r.storm(10_000)
			took := time.Since(began)
			must(t, r.Renumber("virtua", netipPrefixes("189.88.0.0/24", "2001:db8:1888::/64")...))
			d.link("virtua", "up", "189.88.0.1")
			d.awaitIdle()
			passes := d.status().Counters.Passes - before
			grown := d.memory() - memory
			t.Logf("10,000 events in %v: %d passes, %d resyncs, %+d KB", took.Round(time.Millisecond), passes, d.status().Counters.Resyncs, grown)
			if limit := int(110*time.Since(began).Seconds()) + 10; passes > limit {
				t.Errorf("%d passes in %v, want at most %d", passes, took, limit)
			}
			if buffer < 10_000 && d.status().Counters.Resyncs == 0 {
				t.Error("no event was lost: the buffer is not small enough for this test")
			}
			if grown > 4<<10 {
				t.Errorf("memory grew by %d KB", grown)
			}
			if counts := r.shares(50, 12, false); counts["virtua"] != 8 {
				t.Errorf("shares after the storm: %v, want 8:4", counts)
			}
			r.unchanged()
		})
	}
}

// storm makes n address events on an interface of the inside.
func (r *router) storm(n int) {
	r.t.Helper()
	p := netip.MustParsePrefix("10.77.0.1/32")
	for range n / 2 {
		must(r.t, r.Router.AddAddress("eth0", p))
		must(r.t, r.Router.RemoveAddress("eth0", p))
	}
}

// memory is the daemon's resident memory in KB.
func (d *daemon) memory() int {
	d.t.Helper()
	return d.proc("status", "VmRSS:")
}

// proc reads a number of the daemon's from a line of a file below /proc.
func (d *daemon) proc(file, line string) int { return int(d.procNumber(file, line, 10)) }

// procHex does that with one that is written in hexadecimal.
func (d *daemon) procHex(file, line string) uint64 { return d.procNumber(file, line, 16) }

func (d *daemon) procNumber(file, line string, base int) uint64 {
	d.t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(d.cmd.Process.Pid), file))
	must(d.t, err)
	for l := range strings.Lines(string(text)) {
		if words := strings.Fields(l); len(words) > 1 && words[0] == line {
			n, err := strconv.ParseUint(words[1], base, 64)
			must(d.t, err)
			return n
		}
	}
	d.t.Fatalf("no %s in /proc/.../%s", line, file)
	return 0
}

// TestIdle: a minute in which nothing happens costs no write, less than 0.1 % of a processor without probes, and less than 25 MB.
func TestIdle(t *testing.T) {
	t.Parallel()
	idle(t, strings.ReplaceAll(links, `hold = "0s"`, "enabled = false"), 0.1)
}

// TestPain12_ProbesAreCheap: the same with probes as they are when nobody says anything, of two links with both families: eight a second.
func TestPain12_ProbesAreCheap(t *testing.T) {
	t.Parallel()
	idle(t, strings.ReplaceAll(links, `  health { hold = "0s" }`+"\n", ""), 1)
}

func idle(t *testing.T, links string, most float64) {
	const minute = 60 * time.Second
	r := newRouter(t)
	d := r.fresh(links, balanced, `rule "bank" {
  to  = "186.202.0.0/24"
  via = link.embratel
}
default { via = group.balanced }`)
	d.awaitIdle()
	time.Sleep(time.Second) // start-up is not idle
	w := r.watchWrites()
	writes, used := d.status().Counters.Writes, d.cpu()
	time.Sleep(minute)
	spent, memory := d.cpu()-used, d.memory()
	share := 100 * spent.Seconds() / minute.Seconds()
	t.Logf("an idle minute: %v of processor time (%.3f %%), %d KB", spent, share, memory)
	if n := w.stop(); n != 0 || d.status().Counters.Writes != writes {
		t.Errorf("%d notifications and %d writes, want none", n, d.status().Counters.Writes-writes)
	}
	if share > most {
		t.Errorf("%.3f %% of a processor, want at most %.1f %%", share, most)
	}
	if memory > 25<<10 {
		t.Errorf("%d KB of memory, want at most 25 MB", memory)
	}
}

// cpu is the processor time that the daemon has used. The kernel counts it in nanoseconds (schedstat of all its threads).
func (d *daemon) cpu() time.Duration {
	d.t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", d.cmd.Process.Pid))
	must(d.t, err)
	sum := time.Duration(0)
	for _, f := range files {
		text, err := os.ReadFile(f)
		must(d.t, err)
		n, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		must(d.t, err)
		sum += time.Duration(n)
	}
	return sum
}
