package memcached_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"os/user"
	"strings"
	"syscall"
	"testing"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/latchwork/latchwork/emulator/memcached"
	"github.com/latchwork/latchwork/internal/pipenet"
)

// A dialer opens connections to some memcached.
type dialer func(t testing.TB) net.Conn

// startOurs serves a new server in memory until the test ends.
func startOurs(t testing.TB, o *memcached.Options) (*memcached.Server, dialer) {
	t.Helper()
	s, err := memcached.New(o)
	if err != nil {
		t.Fatal(err)
	}
	network := pipenet.New()
	l, err := network.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s, func(t testing.TB) net.Conn {
		t.Helper()
		nc, err := network.DialContext(context.Background(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return nc
	}
}

// serveTCP serves a new server on a loopback port until the test ends and
// returns the address.
func serveTCP(t testing.TB, o *memcached.Options) string {
	t.Helper()
	s, err := memcached.New(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

// A process is a server outside this one.
type process struct {
	addr    string
	pid     int
	version string
}

// dial opens a connection to it.
func (p process) dial(t testing.TB) net.Conn {
	t.Helper()
	return dialTCP(p.addr)(t)
}

// asOurs gives an answer of the real server our version.
func (p process) asOurs(answer string) string {
	return strings.ReplaceAll(answer, "VERSION "+p.version+"\r\n", "VERSION "+memcached.Version+"\r\n")
}

// asTheirs is the inverse of asOurs.
func (p process) asTheirs(answer string) string {
	return strings.ReplaceAll(answer, "VERSION "+memcached.Version+"\r\n", "VERSION "+p.version+"\r\n")
}

// look finds a program. Where there is none the test is skipped, and fails in CI.
func look(t testing.TB, name, remedy string) (program string) {
	t.Helper()
	program, err := exec.LookPath(name)
	if err != nil {
		text := name + " is missing; install it with: " + remedy
		if os.Getenv("CI") == "true" {
			t.Fatal(text)
		}
		t.Skip("SKIPPED, NOTHING COMPARED: " + text)
	}
	return program
}

// startReal starts the real memcached on a free loopback port until the test
// ends.
func startReal(t testing.TB, flags ...string) process {
	t.Helper()
	program := look(t, "memcached", "apt-get install memcached")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	const attempts = 5 // somebody else may take the port that was free
	for range attempts {
		addr := freePort(t)
		_, port, _ := net.SplitHostPort(addr)
		// It says so when it listens, at the price of logging every command:
		// verbosity is turned off afterwards.
		args := append([]string{"-vv", "-u", me.Username, "-l", "127.0.0.1", "-p", port, "-U", "0"}, flags...)
		cmd := exec.Command(program, args...)
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(stderr)
		listening := false
		for !listening && lines.Scan() {
			listening = strings.Contains(lines.Text(), "server listening")
		}
		if !listening {
			_ = cmd.Wait()
			continue
		}
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			for lines.Scan() {
			}
		}()
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			<-drained
			_ = cmd.Wait()
		})
		p := process{addr: addr, pid: cmd.Process.Pid}
		exchange(t, p.dial(t), "verbosity 0\r\nquit\r\n")
		answer := exchange(t, p.dial(t), "version\r\nquit\r\n")
		p.version = strings.TrimSpace(strings.TrimPrefix(answer, "VERSION "))
		t.Logf("compared with memcached %s", p.version)
		return p
	}
	t.Fatalf("memcached did not listen in %d attempts", attempts)
	return process{}
}

// withoutEngine are flags that make the real server like ours: nothing to watch
// or to dump, and no threads that hold items for moments in which decr
// doesn't pad its result.
func withoutEngine() []string {
	return []string{"-W", "-X", "-o", "no_lru_crawler,no_lru_maintainer,no_slab_reassign"}
}

// mustBeOurs skips a test where the real server isn't of the version that ours
// reproduces: meta commands differ from one to the next.
func (p process) mustBeOurs(t *testing.T) {
	t.Helper()
	if p.version != memcached.Version {
		t.Skipf("SKIPPED, NOTHING COMPARED: memcached is %s, and ours reproduces %s", p.version, memcached.Version)
	}
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func dialTCP(addr string) dialer {
	return func(t testing.TB) net.Conn {
		t.Helper()
		nc, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		return nc
	}
}

// newClient returns a gomemcache client over dial.
func newClient(t testing.TB, dial dialer) *memcache.Client {
	t.Helper()
	c := memcache.New("127.0.0.1:11211") // dial decides where it goes
	c.MaxIdleConns = 64
	c.DialContext = func(context.Context, string, string) (net.Conn, error) { return dial(t), nil }
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// isReset reports whether the other end closed with data unread.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// errShortage is what accept answers when the process is out of files.
var errShortage = &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
