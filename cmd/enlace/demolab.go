// SPDX-License-Identifier: Apache-2.0

//go:build !386 && !arm && !mips && !mipsle

package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"enlace/e2e/lab"
	"enlace/policy"
	"enlace/policy/lang"
	"enlace/watch"
)

// demonstrate runs the demo, in a user namespace if need be.
func demonstrate(w io.Writer) error {
	state, err := lab.EnterUserNamespace()
	if err != nil {
		return err
	}
	if state != lab.Here {
		return ended(state)
	}
	return runDemo(w)
}

// ended passes the exit status of another process on.
func ended(s int) error {
	if s == 0 {
		return nil
	}
	return status(s)
}

// demo is a demonstration in progress.
type demo struct {
	w      io.Writer
	office *lab.Office
	kernel *watch.Kernel
	policy policy.Policy
	wrong  int // how many checks failed
}

func runDemo(w io.Writer) (err error) {
	began := time.Now()
	dir, err := os.MkdirTemp("", "enlace-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d := &demo{w: w}
	if err := d.build(dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.kernel.Close(), d.office.Close()) }()
	for _, step := range []func() error{d.apply, d.balance, d.forward, d.router, d.renumber, d.down, d.strangers} {
		if err := step(); err != nil {
			return err
		}
	}
	if d.wrong > 0 {
		return fmt.Errorf("demo: %s failed", plural(d.wrong, "check"))
	}
	_, err = fmt.Fprintf(w, "\nAll right, in %.1f s. The policy: enlace demo --print-policy\n", time.Since(began).Seconds())
	return err
}

// build makes the office and connects to its router's kernel.
func (d *demo) build(dir string) (err error) {
	d.title("An office with two providers, in network namespaces")
	p, report := lang.Parse(lang.Source{Name: "demo.hcl", Text: []byte(demoPolicy)})
	if report.HasErrors() {
		return report.Diagnostics
	}
	d.policy = p
	if d.office, err = lab.NewOffice([]int{20, 50, 100, 257}, lab.Virtua.OnlyV4(), lab.Embratel.OnlyV4()); err != nil {
		return err
	}
	if err := errors.Join(d.office.Serve(25, 80, 443), d.office.ServeIn(d.office.LAN, 80), d.office.ServeIn(d.office.Router, 8080)); err != nil {
		return errors.Join(err, d.office.Close())
	}
	d.text("LAN 10.1.0.0/16 -- eth0 router eth1 -- virtua   189.1.0.2    (by DHCP) -- internet")
	d.text("                               eth2 -- embratel 200.252.10.2 (fixed)   -- internet")
	d.text("Each provider drops and counts packets whose source is not one of its addresses.")
	err = d.office.Router.Do(func() (err error) {
		d.kernel, err = watch.Open(watch.FilesBelow(dir))
		return err
	})
	if err != nil {
		return errors.Join(err, d.office.Close())
	}
	return nil
}

// pass applies the policy and returns what was done, and how long it took.
func (d *demo) pass() (pass *watch.Pass, took time.Duration, err error) {
	err = d.office.Router.Do(func() error {
		began := time.Now()
		pass, err = d.kernel.Apply(d.policy)
		took = time.Since(began)
		return err
	})
	return pass, took, err
}

func (d *demo) apply() error {
	d.title("enlace apply")
	pass, took, err := d.pass()
	if err != nil {
		return err
	}
	d.check(len(pass.Problems) == 0 && !pass.Empty(), "first apply", "%s in %.1f ms %v", plural(pass.Len(), "change"), ms(took), pass.Problems)
	before := d.kernel.Writes()
	if pass, took, err = d.pass(); err != nil {
		return err
	}
	d.check(pass.Empty() && d.kernel.Writes() == before, "again", "%s and %s in %.1f ms", plural(pass.Len(), "change"), plural(d.kernel.Writes()-before, "write"), ms(took))
	for _, l := range d.tables() {
		d.text("%s", l)
	}
	return nil
}

// tables are the default routes of the policy's tables.
func (d *demo) tables() []string {
	var out []string
	_ = d.office.Router.Do(func() error {
		pass, err := d.kernel.Compare(d.policy)
		if err != nil {
			return err
		}
		for _, l := range pass.Plan.Links {
			path := l.Paths[policy.V4]
			out = append(out, fmt.Sprintf("table %d %-9s default via %s dev %s src %s", l.Table, l.Name, path.Gateway, l.Interface, path.Address))
		}
		for _, g := range pass.Plan.Groups {
			s := fmt.Sprintf("table %d %-9s default", g.Table, g.Name)
			for _, m := range g.Live[policy.V4] {
				s += fmt.Sprintf(" via %s weight %d", pass.Plan.Links[m.Link].Name, m.Weight)
			}
			out = append(out, s)
		}
		return nil
	})
	return out
}

// balance opens flows from the LAN and counts the links that they left through.
func (d *demo) balance() error {
	d.title("Flows from the LAN: TCP, the servers say where they saw them come from")
	for _, c := range []struct {
		what string
		host int
		port uint16
		to   func(n int) netip.Addr
		n    int
		want map[string]int
	}{
		{"10.1.0.100, weights 2:1", 100, 443, remote, 300, map[string]int{"virtua": 200, "embratel": 100}},
		{"10.1.1.1, of the subnet", 257, 443, remote, 300, map[string]int{"virtua": 200, "embratel": 100}},
		{"10.1.0.50, by default", 50, 443, remote, 60, map[string]int{"embratel": 60}},
		{"10.1.0.100, mail", 100, 25, remote, 60, map[string]int{"embratel": 60}},
		{"10.1.0.100, the bank", 100, 443, bank, 60, map[string]int{"embratel": 60}},
	} {
		got, err := d.shares(c.host, c.port, c.n, c.to)
		if err != nil {
			return err
		}
		d.check(equal(got, c.want), c.what, "virtua %3d   embratel %3d", got["virtua"], got["embratel"])
	}
	return nil
}

func remote(n int) netip.Addr { return lab.Remote(n%250+1, false) }

func bank(n int) netip.Addr {
	a := lab.Bank.Addr().As4()
	a[3] = byte(n%250 + 1)
	return netip.AddrFrom4(a)
}

func (d *demo) shares(host int, port uint16, n int, to func(int) netip.Addr) (map[string]int, error) {
	var flows []lab.Flow
	for i := range n {
		flows = append(flows, lab.Flow{Network: "tcp", From: lab.Host(host, false), To: netip.AddrPortFrom(to(i), port)})
	}
	seen, err := d.office.LAN.AskAll(flows)
	counts := map[string]int{}
	for _, a := range seen {
		counts[d.office.LinkOf(a)]++
	}
	return counts, err
}

func equal(a, b map[string]int) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (d *demo) title(s string) { fmt.Fprintf(d.w, "\n%s\n", s) }

func (d *demo) text(format string, args ...any) { fmt.Fprintf(d.w, "  "+format+"\n", args...) }

// check prints one result, and remembers when it was wrong.
func (d *demo) check(right bool, what, format string, args ...any) {
	verdict := "right"
	if !right {
		verdict = "WRONG"
		d.wrong++
	}
	fmt.Fprintf(d.w, "  %s  %-28s %s\n", verdict, what, strings.TrimRight(fmt.Sprintf(format, args...), " []"))
}
