package memcached_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata/*.txt")

// A block of a transcript is what is sent, a line of dashes, and the answer;
// blank lines separate blocks, and lines that start with # are comments.
//
//	@conn NAME      goes on with another connection
//	@advance SPAN   lets time pass; such transcripts need a clock of their own
//	"..."           is sent as it stands, unquoted, without a line end
//
// In answers, lines that are empty, have unprintable bytes or end with a space
// are quoted.
type block struct {
	comment, input, answer []string
}

const dashes = "----"

func readTranscript(t testing.TB, name string) []block {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []block
	for part := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
		var b block
		answering := false
		for line := range strings.SplitSeq(strings.Trim(part, "\n"), "\n") {
			switch {
			case !answering && strings.HasPrefix(line, "#"):
				b.comment = append(b.comment, line)
			case !answering && line == dashes:
				answering = true
			case answering:
				b.answer = append(b.answer, line)
			default:
				b.input = append(b.input, line)
			}
		}
		if !answering && !*update && len(b.input) > 0 {
			t.Fatalf("%s: block without %s:\n%s", name, dashes, part)
		}
		blocks = append(blocks, b)
	}
	return blocks
}

func writeTranscript(t *testing.T, name string, blocks []block) {
	t.Helper()
	var parts []string
	for _, b := range blocks {
		lines := append(append([]string{}, b.comment...), b.input...)
		if len(b.input) > 0 {
			lines = append(append(lines, dashes), b.answer...)
		}
		parts = append(parts, strings.Join(lines, "\n"))
	}
	if err := os.WriteFile(name, []byte(strings.Join(parts, "\n\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// data turns a line of input into the bytes to send.
func data(t testing.TB, line string) string {
	t.Helper()
	if !strings.HasPrefix(line, `"`) {
		return line + "\r\n"
	}
	s, err := strconv.Unquote(line)
	if err != nil {
		t.Fatalf("bad quoted line %s: %v", line, err)
	}
	return s
}

// render turns an answer into lines; closed says that the connection ended.
func render(answer string, closed bool) []string {
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSuffix(answer, "\r\n"), "\r\n") {
		if line != strings.TrimSpace(line) || line == "" || strconv.Quote(line) != `"`+line+`"` {
			line = strconv.Quote(line)
		}
		lines = append(lines, line)
	}
	if answer == "" {
		lines = nil
	}
	if closed {
		lines = append(lines, "(closed)")
	}
	return lines
}

// pid is the one figure that differs from run to run.
var pid = regexp.MustCompile(`STAT pid \d+`)

func TestTranscripts(t *testing.T) {
	for _, name := range transcripts(t) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			blocks := readTranscript(t, name)
			synctest.Test(t, func(t *testing.T) {
				_, dial := startOurs(t, nil)
				play(t, blocks, dial)
			})
			if *update {
				writeTranscript(t, name, blocks)
			}
		})
	}
}

// play runs blocks in a bubble, where an answer is complete when all is idle.
func play(t *testing.T, blocks []block, dial dialer) {
	conns := map[string]*collector{}
	t.Cleanup(func() {
		for _, c := range conns {
			c.Close()
		}
	})
	use := func(name string) *collector {
		if conns[name] == nil {
			conns[name] = collect(dial(t))
		}
		return conns[name]
	}
	c := use("main")
	for i, b := range blocks {
		for _, line := range b.input {
			if name, ok := strings.CutPrefix(line, "@conn "); ok {
				c = use(name)
				continue
			}
			if span, ok := strings.CutPrefix(line, "@advance "); ok {
				d, err := time.ParseDuration(span)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(d)
				continue
			}
			if _, err := io.WriteString(c, data(t, line)); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Logf("sending %q: %v", line, err)
			}
		}
		synctest.Wait()
		answer, closed := c.take()
		got := render(pid.ReplaceAllString(answer, "STAT pid PID"), closed)
		if *update {
			blocks[i].answer = got
			continue
		}
		if diff := cmp.Diff(b.answer, got); diff != "" {
			t.Errorf("after %q (-want +got):\n%s", b.input, diff)
		}
	}
}

// TestTranscriptsOnReal holds the transcripts themselves to the truth: the
// real memcached gives the same answers, cas ids included. It leaves out the
// ones that let time pass or show what is ours, named local-*.
func TestTranscriptsOnReal(t *testing.T) {
	for _, name := range transcripts(t) {
		blocks := readTranscript(t, name)
		if strings.HasPrefix(filepath.Base(name), "local-") || *update {
			continue
		}
		t.Run(filepath.Base(name), func(t *testing.T) {
			oracle := startReal(t, withoutEngine()...)
			if strings.HasPrefix(filepath.Base(name), "meta-") {
				oracle.mustBeOurs(t)
			}
			replay(t, blocks, oracle)
		})
	}
}

// replay sends blocks to the real server and reads as many bytes as the
// transcript tells.
func replay(t *testing.T, blocks []block, oracle process) {
	conns := map[string]net.Conn{}
	use := func(name string) net.Conn {
		if conns[name] == nil {
			conns[name] = oracle.dial(t)
			t.Cleanup(func() { _ = conns[name].Close() })
		}
		return conns[name]
	}
	nc := use("main")
	for _, b := range blocks {
		var send strings.Builder
		for _, line := range b.input {
			if name, ok := strings.CutPrefix(line, "@conn "); ok {
				nc = use(name)
				continue
			}
			if strings.HasPrefix(line, "@") {
				t.Fatalf("a transcript with %q must be named local-*", line)
			}
			send.WriteString(data(t, line))
		}
		want, closed := unrender(t, b.answer)
		got, gotClosed := ask(t, nc, send.String(), len(oracle.asTheirs(want)), closed)
		if diff := cmp.Diff(b.answer, render(oracle.asOurs(got), gotClosed), evenTimes); diff != "" {
			t.Errorf("after %q (-transcript +real):\n%s", b.input, diff)
			return
		}
	}
}

// evenTimes compares lines as if no second had passed since they were written
// down. (Spans in transcripts keep their number of digits for a while.)
var evenTimes = cmp.Transformer("evenTimes", func(lines []string) string {
	return withoutTimes(strings.Join(lines, "\n"))
})

func unrender(t *testing.T, answer []string) (text string, closed bool) {
	t.Helper()
	var s strings.Builder
	for _, line := range answer {
		switch {
		case line == "(closed)":
			return s.String(), true
		case strings.HasPrefix(line, `"`):
			raw, err := strconv.Unquote(line)
			if err != nil {
				t.Fatalf("bad quoted line %s: %v", line, err)
			}
			s.WriteString(raw + "\r\n")
		default:
			s.WriteString(line + "\r\n")
		}
	}
	return s.String(), false
}

// patience is how long the real server may take for an answer; it is never
// waited for where the answer is right.
const patience = 30 * time.Second

// ask sends text and reads n bytes, or until the connection ends.
func ask(t *testing.T, nc net.Conn, text string, n int, untilEnd bool) (answer string, closed bool) {
	t.Helper()
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(nc, text); err != nil {
		t.Fatal(err)
	}
	if untilEnd {
		all, err := io.ReadAll(nc)
		return string(all), err == nil || isReset(err)
	}
	buf := make([]byte, n)
	k, err := io.ReadFull(nc, buf)
	return string(buf[:k]), errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func transcripts(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatalf("no transcripts in testdata: %v", err)
	}
	return names
}

// A collector gathers what a server sends, for tests in a bubble.
type collector struct {
	net.Conn
	mu    sync.Mutex
	got   bytes.Buffer
	ended bool
	done  chan struct{}
}

func collect(nc net.Conn) *collector {
	c := &collector{Conn: nc, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		buf := make([]byte, 64<<10)
		for {
			n, err := nc.Read(buf)
			c.mu.Lock()
			c.got.Write(buf[:n])
			c.ended = err != nil
			c.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return c
}

// take returns what came since the last call; call synctest.Wait before.
func (c *collector) take() (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.got.String()
	c.got.Reset()
	return s, c.ended
}

func (c *collector) Close() {
	_ = c.Conn.Close()
	<-c.done
}

// exchange sends text, which ends with quit, and returns all that comes back.
func exchange(t testing.TB, nc net.Conn, text string) string {
	t.Helper()
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(nc, text)
		sent <- err
	}()
	all, err := io.ReadAll(nc)
	if err != nil && !isReset(err) {
		t.Fatalf("reading the answer to %.200q: %v", text, err)
	}
	if err := <-sent; err != nil && !isReset(err) {
		t.Fatal(fmt.Errorf("sending %.200q: %w", text, err))
	}
	return string(all)
}
