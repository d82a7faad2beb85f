// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// What systemd is told, see sd_notify(3). Without systemd all of this does nothing.
const systemdReady = daemon.SdNotifyReady

// systemdReloading names the time, too: systemd takes a READY=1 of before for the answer otherwise.
func systemdReloading() string {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/1000)
}

func (l *Loop) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		l.Log.Debug("systemd could not be told", "error", err)
	}
}

// notifyStatus puts one line into `systemctl status`.
func (l *Loop) notifyStatus() {
	if line := l.status.Load().Line(); line != l.line {
		l.line = line
		l.notify("STATUS=" + line)
	}
}

// pulse tells systemd's watchdog that the loop is alive, as often as it wants, by making the loop say so.
func (l *Loop) pulse(ctx context.Context) <-chan time.Time {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		return nil
	}
	t := time.NewTicker(every / 2)
	context.AfterFunc(ctx, t.Stop)
	return t.C
}
