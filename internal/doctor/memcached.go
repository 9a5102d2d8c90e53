package doctor

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// A server is what a memcached says of itself.
type server struct {
	version   string
	evictions uint64
}

// interrogate talks to one server, over a connection of its own: the client that
// the worker uses doesn't tell which server answers, nor anything of its state.
func (s *session) interrogate(ctx context.Context, addr string) (server, error) {
	conn, err := s.Dial(ctx, "tcp", addr)
	if err != nil {
		return server{}, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })() // ends what waits
	seen, err := talk(conn, "latchwork-doctor-"+rand.Text())
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return seen, err
}

// Bounds of an answer.
const (
	maxLine  = 1024
	maxStats = 1000 // lines
)

// talk goes through a server's answers. key is one that nobody else has.
func talk(conn io.ReadWriter, key string) (seen server, err error) {
	c := &conversation{w: conn, r: bufio.NewReaderSize(conn, maxLine)}
	version := c.say("version")
	if c.err == nil && !strings.HasPrefix(version, "VERSION ") {
		return seen, fmt.Errorf("it answers %q to version: is that memcached?", version)
	}
	seen.version = strings.TrimPrefix(version, "VERSION ")
	c.expect("STORED", "set "+key+" 0 10 2\r\nok")
	c.expect("VALUE "+key+" 0 2", "get "+key)
	c.expectLine("ok")
	c.expectLine("END")
	c.expect("DELETED", "delete "+key)
	line := c.say("stats")
	for n := 0; c.err == nil && line != "END"; n++ {
		if n == maxStats {
			return seen, fmt.Errorf("its stats have over %d lines", maxStats)
		}
		if text, ok := strings.CutPrefix(line, "STAT evictions "); ok {
			if seen.evictions, err = strconv.ParseUint(text, 10, 64); err != nil {
				return seen, fmt.Errorf("its stats: evictions are %q", text)
			}
		}
		line = c.line()
	}
	return seen, c.err
}

// A conversation with a server; after an error it says nothing any more.
type conversation struct {
	w   io.Writer
	r   *bufio.Reader
	err error
}

// say sends a command and returns the first line of the answer.
func (c *conversation) say(command string) string {
	if c.err == nil {
		_, c.err = io.WriteString(c.w, command+"\r\n")
	}
	return c.line()
}

func (c *conversation) expect(want, command string) {
	if got := c.say(command); c.err == nil && got != want {
		word, _, _ := strings.Cut(command, " ")
		c.err = fmt.Errorf("it answers %q to %s, want %s", got, word, want)
	}
}

func (c *conversation) expectLine(want string) {
	if got := c.line(); c.err == nil && got != want {
		c.err = fmt.Errorf("it answers %q, want %s", got, want)
	}
}

func (c *conversation) line() string {
	if c.err != nil {
		return ""
	}
	b, err := c.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		err = fmt.Errorf("a line of its answer is longer than %d bytes", maxLine)
	}
	c.err = err
	return strings.TrimRight(string(b), "\r\n")
}

// ncWords is an address as nc wants it.
func ncWords(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return quote(addr)
	}
	return quote(host) + " " + quote(port)
}
