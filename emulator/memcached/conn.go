package memcached

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"sync/atomic"
)

const (
	// readBufferBytes is the read buffer of a connection, and thereby the
	// longest line beside a multiget.
	readBufferBytes = 16 << 10
	// writeBufferBytes is the write buffer; larger values bypass it.
	writeBufferBytes = 4 << 10

	// pendingLineBytes is how much of a line may have come without its end;
	// beyond it only get and gets may go on, up to multigetLineBytes.
	pendingLineBytes  = 2 << 10
	multigetLineBytes = 4 << 20

	// freeValueBytes is the size up to which the memory for a value is
	// allocated when it is announced; larger ones grow as they come in.
	freeValueBytes = 4 << 10

	// maxTokens bounds the words of a command that aren't keys of a get; the
	// real server's limit.
	maxTokens = 23
)

var (
	// errQuit ends a connection after what it was told has been written.
	errQuit = errors.New("quit")
	// errDrop ends a connection at once.
	errDrop = errors.New("dropped")
	// errNoBudget says that a value can't be taken in.
	errNoBudget = errors.New("out of memory")
)

// A conn is one client's connection: a read buffer, a write buffer, and the
// command that is being run.
type conn struct {
	s    *Server
	nc   net.Conn
	used atomic.Int64 // second of the last bytes that came

	buf  []byte // buf[r:w] has been received and not yet consumed
	r, w int
	out  *bufio.Writer

	words   [maxTokens][]byte
	args    []([]byte) // the words of the command, its name first; valid until the next read
	noreply bool
	key     [maxKeyBytes]byte // of the command whose value is being read
	meta    metaCommand
	scratch [metaLineBytes]byte // for the answer to a meta command
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{s: s, nc: nc, buf: make([]byte, readBufferBytes)}
	c.used.Store(s.cache.clock.now())
	c.out = bufio.NewWriterSize(counted{c}, writeBufferBytes)
	return c
}

// serve runs commands until the connection ends.
func (c *conn) serve() {
	defer c.shrink()
	first, err := c.peek()
	if err != nil || first == 0x80 { // the binary protocol, which we don't speak
		return
	}
	for err == nil {
		var line []byte
		if line, err = c.line(); err == nil {
			err = c.run(line)
		}
	}
	if errors.Is(err, errQuit) {
		_ = c.out.Flush()
	}
}

// peek returns the next byte without consuming it.
func (c *conn) peek() (byte, error) {
	for c.r == c.w {
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	return c.buf[c.r], nil
}

// line returns the next line without its end, valid until the next read. A
// line ends with LF or CRLF; what follows a NUL in it is ignored.
func (c *conn) line() ([]byte, error) {
	if len(c.buf) > readBufferBytes && c.w-c.r <= readBufferBytes {
		c.shrink()
	}
	for scanned := 0; ; {
		if i := bytes.IndexByte(c.buf[c.r+scanned:c.w], '\n'); i >= 0 {
			line := c.buf[c.r : c.r+scanned+i]
			c.r += scanned + i + 1
			if len(line) > 1 && line[len(line)-1] == '\r' {
				line = line[:len(line)-1]
			}
			if i := bytes.IndexByte(line, 0); i >= 0 {
				line = line[:i]
			}
			return line, nil
		}
		scanned = c.w - c.r
		if scanned > pendingLineBytes && !isMultiget(c.buf[c.r:c.w]) {
			return nil, errDrop
		}
		if scanned == len(c.buf) && !c.grow() {
			c.noreply = false
			c.reply("SERVER_ERROR out of memory reading request")
			return nil, errQuit
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// isMultiget reports whether a line whose end hasn't come may be a get of many
// keys, by the real server's rule.
func isMultiget(line []byte) bool {
	command := bytes.TrimLeft(line, " ")
	return len(line)-len(command) <= 100 &&
		(bytes.HasPrefix(command, []byte("get ")) || bytes.HasPrefix(command, []byte("gets ")))
}

// fill reads once into the buffer, which has room. Whatever the client is owed
// goes out first, since the read may wait.
func (c *conn) fill() error {
	if c.out.Buffered() > 0 {
		if err := c.out.Flush(); err != nil {
			return err
		}
	}
	if c.r > 0 {
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	}
	n, err := c.read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	return err
}

func (c *conn) read(p []byte) (int, error) {
	n, err := c.nc.Read(p)
	c.s.bytesRead.Add(uint64(n))
	c.used.Store(c.s.cache.clock.now())
	return n, err
}

// grow doubles the buffer, within the limit and the budget.
func (c *conn) grow() bool {
	n := len(c.buf)
	if 2*n > multigetLineBytes || !c.s.budget.take(n) {
		return false
	}
	c.buf = append(c.buf, make([]byte, n)...)[:2*n]
	return true
}

// shrink returns a grown buffer; the caller knows that what is left in it
// fits.
func (c *conn) shrink() {
	if len(c.buf) == readBufferBytes {
		return
	}
	c.s.budget.give(len(c.buf) - readBufferBytes)
	small := make([]byte, readBufferBytes)
	c.w = copy(small, c.buf[c.r:c.w])
	c.r = 0
	c.buf = small
}

// value reads the next n bytes into memory of their own. Where memory for them
// can't be had it consumes them and returns errNoBudget.
func (c *conn) value(n int) ([]byte, error) {
	size := n
	if c.w-c.r < n {
		size = min(n, freeValueBytes)
	}
	taken := 0
	defer func() { c.s.budget.give(taken) }()
	v := make([]byte, 0, size)
	for {
		k := copy(v[len(v):cap(v)], c.buf[c.r:c.w])
		v, c.r = v[:len(v)+k], c.r+k
		switch {
		case len(v) == n:
			return v, nil
		case len(v) == cap(v):
			size = min(n, 2*size)
			more := size - len(v)
			if !c.s.budget.take(more) {
				if err := c.swallow(n - len(v)); err != nil {
					return nil, err
				}
				return nil, errNoBudget
			}
			taken += more
			v = append(make([]byte, 0, size), v...)
		case size == n && cap(v)-len(v) >= len(c.buf):
			// The rest is large: spare it the way through the buffer.
			if err := c.out.Flush(); err != nil {
				return nil, err
			}
			k, err := c.read(v[len(v):cap(v)])
			v = v[:len(v)+k]
			if k == 0 && err != nil {
				return nil, err
			}
		default:
			if err := c.fill(); err != nil {
				return nil, err
			}
		}
	}
}

// swallow consumes and forgets the next n bytes.
func (c *conn) swallow(n int) error {
	for {
		k := min(n, c.w-c.r)
		c.r += k
		if n -= k; n == 0 {
			return nil
		}
		if err := c.fill(); err != nil {
			return err
		}
	}
}

// reply answers with one line, unless the client asked for none.
func (c *conn) reply(line string) {
	if c.noreply {
		return
	}
	_, _ = c.out.WriteString(line) // a write error stays in c.out and ends the next fill
	_, _ = c.out.WriteString("\r\n")
}

// counted writes to the connection and counts the bytes.
type counted struct{ c *conn }

func (w counted) Write(p []byte) (int, error) {
	n, err := w.c.nc.Write(p)
	w.c.s.bytesWritten.Add(uint64(n))
	return n, err
}
