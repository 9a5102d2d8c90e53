package memlock_test

import (
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A script decides what becomes of the commands on the connections of a client.
type script struct {
	mu  sync.Mutex
	did []string // the verbs sent
	on  func(verb, key string) act
}

// An act is what happens to one command; the zero value lets it pass.
type act struct {
	before func()   // runs before the command is sent
	cut    bool     // the connection ends before the command is sent
	lose   bool     // the command takes effect, then the connection ends
	hold   chan any // the answer waits until this is closed
	answer string   // instead of the server's; the command is not sent
}

// set gives the commands from now on to f; nil lets all of them pass.
func (s *script) set(f func(verb, key string) act) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = f
}

// once lets all commands pass except the nth from now (from 1) with this verb.
func (s *script) once(verb string, n int, a act) {
	s.set(func(v, _ string) act {
		if v != verb {
			return act{}
		}
		if n--; n == 0 {
			return a
		}
		return act{}
	})
}

// verbs are the commands sent since the last call.
func (s *script) verbs() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	did := strings.Join(s.did, " ")
	s.did = nil
	return did
}

func (s *script) next(command []byte) act {
	verb, rest, _ := strings.Cut(string(command), " ")
	key, _, _ := strings.Cut(rest, " ")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.did = append(s.did, verb)
	if s.on == nil {
		return act{}
	}
	return s.on(verb, strings.TrimSpace(key))
}

// A scriptedConn is one connection of the client, which sends each command in
// one write.
type scriptedConn struct {
	net.Conn
	script   *script
	deadline time.Time
	now      act // of the command under way
}

func (c *scriptedConn) SetDeadline(t time.Time) error {
	c.deadline = t
	return c.Conn.SetDeadline(t)
}

func (c *scriptedConn) Write(b []byte) (int, error) {
	c.now = c.script.next(b)
	if c.now.before != nil {
		c.now.before()
	}
	switch {
	case c.now.cut:
		c.Conn.Close()
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.ECONNRESET)}
	case c.now.answer != "":
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *scriptedConn) Read(b []byte) (int, error) {
	if c.now.answer != "" {
		n := copy(b, c.now.answer)
		c.now.answer = c.now.answer[n:]
		return n, nil
	}
	if c.now.hold != nil {
		select {
		case <-c.now.hold:
			c.now.hold = nil
		case <-time.After(time.Until(c.deadline)):
			return 0, &net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}
		}
	}
	n, err := c.Conn.Read(b)
	if c.now.lose && err == nil { // the server has answered, so it has acted
		c.Conn.Close()
		return 0, io.EOF
	}
	return n, err
}

func TestScriptLosesAnswersNotEffects(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEmbedded(t)
		e.script.once("set", 1, act{lose: true})
		if err := e.client.Set(item("k", "v")); err != io.EOF {
			t.Errorf("Set = %v, want EOF", err)
		}
		if v, _ := e.value("k"); v != "v" {
			t.Errorf("the server has %q, want v", v)
		}
	})
}
