package memcached_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/latchwork/latchwork/emulator/memcached"
)

// serverProcess makes the test binary a server on the given address instead of
// running tests, so that a benchmark can have ours in a process of its own.
const serverProcess = "LATCHWORK_MEMCACHED_BENCH_ADDR"

func TestMain(m *testing.M) {
	if addr := os.Getenv(serverProcess); addr != "" {
		if err := serveAlone(addr, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func serveAlone(addr string, stdout io.Writer) error {
	s, err := memcached.New(nil)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, "listening")
	return s.Serve(l)
}

// startProcess runs ours in another process until the benchmark ends.
func startProcess(b *testing.B) process {
	b.Helper()
	addr := freePort(b)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serverProcess+"="+addr)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := stdout.Read(make([]byte, len("listening"))); err != nil {
		b.Fatal(err)
	}
	return process{addr: addr, pid: cmd.Process.Pid}
}

// cpu returns the processor time that p has used, or 0 where the system doesn't
// tell. It counts in steps of 10 ms.
func (p process) cpu() time.Duration {
	if p.pid == 0 {
		return 0
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		return 0
	}
	// After the name in brackets: state is field 3, user and system time are
	// 14 and 15, in hundredths of a second.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, _ := strconv.Atoi(fields[14-3])
	system, _ := strconv.Atoi(fields[15-3])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// BenchmarkThroughGomemcache compares ours, in the client's process and in one
// of its own, with the real memcached, in one run: the ratios are what counts,
// of the time and of the server's processor time (srv).
// Each operation is run by one caller and by 32.
func BenchmarkThroughGomemcache(b *testing.B) {
	const callers = 32
	value := []byte(strings.Repeat("v", 100))
	operations := []struct {
		name string
		run  func(c *memcache.Client, key string) error
	}{
		{"get", func(c *memcache.Client, _ string) error {
			_, err := c.Get("hit")
			return err
		}},
		{"set", func(c *memcache.Client, key string) error {
			return c.Set(&memcache.Item{Key: key, Value: value, Expiration: 16})
		}},
		{"add+delete", func(c *memcache.Client, key string) error {
			err := c.Add(&memcache.Item{Key: key, Value: value, Expiration: 16})
			return errors.Join(err, c.Delete(key))
		}},
	}
	servers := []struct {
		name  string
		start func(b *testing.B) process
	}{
		{"real", func(b *testing.B) process { b.Helper(); return startReal(b) }},
		{"ours", startProcess},
		{"ours-embedded", func(b *testing.B) process { b.Helper(); return process{addr: serveTCP(b, nil)} }},
	}
	for _, op := range operations {
		for _, parallel := range []int{1, callers} {
			for _, server := range servers {
				b.Run(fmt.Sprintf("%s/callers=%d/%s", op.name, parallel, server.name), func(b *testing.B) {
					p := server.start(b)
					c := memcache.New(p.addr)
					c.MaxIdleConns = callers
					c.Timeout = patience // a machine at work is no failure
					defer c.Close()
					if err := c.Set(&memcache.Item{Key: "hit", Value: value}); err != nil {
						b.Fatal(err)
					}
					before := p.cpu()
					defer func() {
						if used := p.cpu() - before; used > 0 {
							b.ReportMetric(float64(used.Microseconds())/float64(b.N), "srv-µs/op")
						}
					}()
					if parallel == 1 {
						for b.Loop() {
							if err := op.run(c, "key"); err != nil {
								b.Fatal(err)
							}
						}
						return
					}
					var id atomic.Int64
					b.SetParallelism(max(1, callers/runtime.GOMAXPROCS(0)))
					b.RunParallel(func(pb *testing.PB) {
						key := fmt.Sprintf("key-%d", id.Add(1))
						for pb.Next() {
							if err := op.run(c, key); err != nil {
								b.Error(err)
								return
							}
						}
					})
				})
			}
		}
	}
}

// BenchmarkPipelined sends a hundred commands at once over one connection, to
// the real server and to ours in a process of its own: the cost of a command
// without that of a round trip.
func BenchmarkPipelined(b *testing.B) {
	const batch = 100
	value := strings.Repeat("v", 100)
	for _, op := range []struct{ name, command, answer string }{
		{"get", "get hit\r\n", "VALUE hit 0 100\r\n" + value + "\r\nEND\r\n"},
		{"mg", "mg hit v\r\n", "VA 100\r\n" + value + "\r\n"},
		{"mg-flags", "mg hit s t f k O1 T0\r\n", "HD s100 t-1 f0 khit O1\r\n"},
		{"set", "set k 0 0 100\r\n" + value + "\r\n", "STORED\r\n"},
		{"ms", "ms k 100 T60\r\n" + value + "\r\n", "HD\r\n"},
		{"ma", "ma n v\r\n", ""},
	} {
		for _, server := range []struct {
			name  string
			start func(b *testing.B) process
		}{
			{"real", func(b *testing.B) process { b.Helper(); return startReal(b) }},
			{"ours", startProcess},
		} {
			b.Run(op.name+"/"+server.name, func(b *testing.B) {
				p := server.start(b)
				nc := p.dial(b)
				defer nc.Close()
				if _, err := io.WriteString(nc, "set hit 0 0 100\r\n"+value+"\r\nset n 0 0 10\r\n1000000000\r\n"); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(nc, make([]byte, len("STORED\r\nSTORED\r\n"))); err != nil {
					b.Fatal(err)
				}
				request := []byte(strings.Repeat(op.command, batch))
				size := len(op.answer)
				if op.answer == "" {
					size = len("VA 10\r\n1000000001\r\n")
				}
				answer := make([]byte, batch*size)
				for b.Loop() {
					if _, err := nc.Write(request); err != nil {
						b.Fatal(err)
					}
					if _, err := io.ReadFull(nc, answer); err != nil {
						b.Fatal(err)
					}
				}
				if want := strings.Repeat(op.answer, batch); op.answer != "" && string(answer) != want {
					b.Fatalf("answer %.300q", answer)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/command")
			})
		}
	}
}
