// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestPowerCut cuts the power at random moments of an apply and of an upgrade of the package, ten times. The machine comes up right each time: nothing
// leaves untranslated, and the policy is one of the two.
func TestPowerCut(t *testing.T) {
	if !wanted(t) {
		return
	}
	t.Parallel()
	o := newOffice(t, Trixie)
	o.install(networkd)
	o.sh("sync")
	must(t, o.Reboot())
	must(t, o.Booted())
	o.await("virtua", "")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for n := range 10 {
		what, command := "apply", "i=0; while :; do i=$((i+1)); sed -i \"s/weight = [0-9]*/weight = $((i%9+1))/\" /etc/enlace/policy.hcl; enlace apply; done"
		if n%2 == 1 {
			what, command = "upgrade", fmt.Sprintf("while :; do dpkg -i %s; dpkg -i %s; done", deb(newVersion), deb(oldVersion))
		}
		go func() { _, _ = o.Sh(command) }()
		after := time.Duration(1000+random.IntN(7000)) * time.Millisecond
		time.Sleep(after)
		must(t, o.PowerCut())
		k := o.knock()
		must(t, o.Boot())
		o.await("virtua", "")
		o.await("embratel", "")
		k.end()
		if failed := strings.TrimSpace(o.sh("systemctl list-units --failed --no-legend --plain")); failed != "" {
			t.Errorf("after a cut during %s: units have failed: %s", what, failed)
		}
		o.sh("enlace check && enlace plan")
		if got := o.shares(pinned, 3); got["embratel"] != 3 {
			t.Errorf("flows of the pinned host: %v, want embratel only", got)
		}
		o.sh("dpkg --configure -a && dpkg -i " + deb(oldVersion)) // what an administrator does then
		o.unspoilt()
		o.step(fmt.Sprintf("cut %s after the start of an %s", after, what))
	}
}
