// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// channel speaks QEMU's JSON, one message a line: to the monitor, which controls the machine, and to the agent inside it, which runs
// commands (QEMU's qmp-spec and qemu-ga-ref).
type channel struct {
	conn net.Conn
	in   *bufio.Reader
}

// dial connects to a socket of QEMU's.
func dial(socket string) (*channel, error) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	return &channel{conn: c, in: bufio.NewReaderSize(c, 1<<20)}, nil
}

// ask sends a command and decodes what it returns. Events of the monitor are passed over.
func (c *channel) ask(limit time.Duration, command string, arguments, into any) error {
	m := map[string]any{"execute": command}
	if arguments != nil {
		m["arguments"] = arguments
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_ = c.conn.SetDeadline(time.Now().Add(limit))
	if _, err := c.conn.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	for {
		line, err := c.in.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
		var answer struct {
			Return json.RawMessage
			Error  *struct{ Class, Desc string }
		}
		if err := json.Unmarshal(line, &answer); err != nil {
			continue // the rest of an answer to somebody before us
		}
		switch {
		case answer.Error != nil:
			return fmt.Errorf("%s: %s", command, answer.Error.Desc)
		case answer.Return != nil && into != nil:
			return json.Unmarshal(answer.Return, into)
		case answer.Return != nil:
			return nil
		}
	}
}

// awaitAgent waits until the agent answers: the machine has booted far enough to run commands.
func awaitAgent(socket string, limit time.Duration, gone <-chan struct{}) (*channel, error) {
	for n, deadline := 1, time.Now().Add(limit); ; n++ {
		c, err := dial(socket)
		if err == nil {
			// Nobody reads what is written before the agent runs, and it answers all of it later: ours has its own number.
			var got int
			for err = c.ask(2*time.Second, "guest-sync", map[string]int{"id": n}, &got); err == nil && got != n; {
				err = c.read(&got)
			}
			if err == nil {
				return c, nil
			}
			_ = c.conn.Close()
		}
		select {
		case <-gone:
			return nil, errors.New("QEMU ended while the machine booted")
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("the machine has not booted after %s: %w", limit, err)
		}
	}
}

// read takes another answer.
func (c *channel) read(into any) error {
	line, err := c.in.ReadBytes('\n')
	if err != nil {
		return err
	}
	var answer struct{ Return json.RawMessage }
	if json.Unmarshal(line, &answer) == nil && answer.Return != nil {
		return json.Unmarshal(answer.Return, into)
	}
	return nil // not what is waited for
}

// Failed is a command of the machine that ended with another status than 0.
type Failed struct {
	Command string
	Status  int
	Output  string
}

func (f *Failed) Error() string {
	return fmt.Sprintf("%s: exit status %d\n%s", f.Command, f.Status, f.Output)
}

// Sh runs a shell command inside the machine, waits for its end and returns what it printed on either channel.
func (m *Machine) Sh(command string) (string, error) { return m.shell(command, nil) }

// Write makes a file inside the machine.
func (m *Machine) Write(file, content string) error {
	_, err := m.shell(fmt.Sprintf("mkdir -p $(dirname %s) && cat > %s", file, file), []byte(content))
	return err
}

// commandTime is how long a command may take.
const commandTime = 4 * time.Minute

func (m *Machine) shell(command string, input []byte) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.agent == nil {
		return "", errors.New("the machine is off")
	}
	var started struct{ Pid int }
	request := map[string]any{
		"path": "/bin/sh", "arg": []string{"-c", "exec 2>&1; PATH=$PATH:/usr/sbin:/sbin; " + command}, "capture-output": true,
	}
	if input != nil {
		request["input-data"] = input
	}
	if err := m.agent.ask(agentTime, "guest-exec", request, &started); err != nil {
		return "", fmt.Errorf("%s: %w", command, err)
	}
	for deadline := time.Now().Add(commandTime); ; time.Sleep(50 * time.Millisecond) {
		var s struct {
			Exited   bool
			Exitcode int
			Signal   int
			Out      []byte `json:"out-data"`
		}
		if err := m.agent.ask(agentTime, "guest-exec-status", map[string]int{"pid": started.Pid}, &s); err != nil {
			return "", fmt.Errorf("%s: %w", command, err)
		}
		switch {
		case s.Exited && s.Exitcode == 0 && s.Signal == 0:
			return string(s.Out), nil
		case s.Exited:
			return string(s.Out), &Failed{Command: command, Status: s.Exitcode, Output: string(s.Out)}
		case time.Now().After(deadline):
			return "", fmt.Errorf("%s: %w after %s", command, os.ErrDeadlineExceeded, commandTime)
		}
	}
}

// agentTime is how long the agent may take to answer on a busy machine.
const agentTime = time.Minute
