// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// The daemon answers on a unix socket, in HTTP: everybody who may open the socket, which are root and the group, may look; only root
// may change something.
//
//	GET  /v1/status   Status
//	GET  /v1/events   Event, one a line, for as long as the connection lasts
//	POST /v1/apply    Outcome; the body is the path of the policy
//	POST /v1/drain    Outcome; the body is the name of a link, with ?now its flows are moved, too
//	POST /v1/undrain  Outcome; the body is the name of a link
//	POST /v1/down     Outcome

// Group is the group whose members may ask for the status.
const Group = "enlace"

// ErrRunning says that there is a daemon already.
var ErrRunning = errors.New("enlace watch runs already")

// lookedAt is for how long somebody who only looks whether there is a daemon may hold its lock.
const lookedAt = 200 * time.Millisecond

// Alone makes sure that there is one daemon only, until the returned file is closed.
func Alone(files Files) (io.Closer, error) {
	if err := os.MkdirAll(filepath.Dir(files.Alone), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(files.Alone, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(lookedAt); ; time.Sleep(lookedAt / 20) {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		pid, _ := io.ReadAll(f)
		return nil, errors.Join(fmt.Errorf("%w, as process %s (%s)", ErrRunning, bytes.TrimSpace(pid), files.Alone), f.Close())
	}
	err = errors.Join(f.Truncate(0), func() error { _, err := fmt.Fprintln(f, os.Getpid()); return err }())
	return f, err
}

// Serve answers until the context ends, and then what was asked before. It returns a function that waits for that.
func (l *Loop) Serve(ctx context.Context) (wait func(), err error) {
	name := l.kernel.files.Socket
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a daemon that was killed
		return nil, err
	}
	listener, err := net.Listen("unix", name)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	if err := admit(name); err != nil {
		l.Log.Warn("the socket is for root alone", "error", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, l.status.Load().current()) })
	mux.HandleFunc("POST /v1/apply", func(w http.ResponseWriter, r *http.Request) {
		path, _ := io.ReadAll(io.LimitReader(r.Body, 4096))
		l.ask(w, r, order{kind: applyNow, why: "enlace apply", path: string(path)})
	})
	mux.HandleFunc("GET /v1/events", l.serveEvents)
	for what, kind := range map[string]orderKind{"drain": drainLink, "undrain": undrainLink} {
		mux.HandleFunc("POST /v1/"+what, func(w http.ResponseWriter, r *http.Request) {
			link, _ := io.ReadAll(io.LimitReader(r.Body, 4096))
			l.ask(w, r, order{kind: kind, why: "enlace " + what, link: string(link), now: r.URL.Query().Has("now")})
		})
	}
	mux.HandleFunc("POST /v1/down", func(w http.ResponseWriter, r *http.Request) { l.ask(w, r, order{kind: goDown}) })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 5 * time.Second, ConnContext: peer, BaseContext: func(net.Listener) context.Context { return ctx }}
	ended := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(ended)
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = server.Shutdown(end)
	})
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			l.Log.Error("the socket does not answer any more", "error", err)
		}
	}()
	return func() { <-ended }, nil
}

// admit lets the group in, where there is one.
func admit(socket string) error {
	if err := os.Chmod(socket, 0o660); err != nil {
		return err
	}
	g, err := user.LookupGroup(Group)
	if err != nil {
		return nil //nolint:nilerr // then it is for root alone
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return err
	}
	return os.Chown(socket, -1, gid)
}

type peerKey struct{}

// peer notes who is at the other end of a connection.
func peer(ctx context.Context, c net.Conn) context.Context {
	uid := -1
	if u, ok := c.(*net.UnixConn); ok {
		if raw, err := u.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) {
				if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
					uid = int(cred.Uid)
				}
			})
		}
	}
	return context.WithValue(ctx, peerKey{}, uid)
}

// ask hands an order of root's to the loop, and waits for what becomes of it.
func (l *Loop) ask(w http.ResponseWriter, r *http.Request, o order) {
	if uid, _ := r.Context().Value(peerKey{}).(int); uid != os.Geteuid() && uid != 0 {
		http.Error(w, "only root may do that", http.StatusForbidden)
		return
	}
	o.done = make(chan Outcome, 1)
	select {
	case l.orders <- o:
	case <-r.Context().Done():
		return
	}
	select {
	case out := <-o.done:
		answer(w, out)
	case <-r.Context().Done():
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// Reload reads the policy anew, as SIGHUP asks.
func (l *Loop) Reload(ctx context.Context) {
	select {
	case l.orders <- order{kind: reload, why: "SIGHUP"}:
	case <-ctx.Done():
	}
}
