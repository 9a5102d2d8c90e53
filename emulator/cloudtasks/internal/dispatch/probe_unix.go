//go:build unix

package dispatch

import (
	"errors"
	"net"
	"syscall"
)

const canProbe = true

// A probe looks at an idle connection.
type probe struct {
	raw  syscall.RawConn
	look func(fd uintptr) bool
	buf  [1]byte
	err  error
}

// newProbe returns nil for a connection that can't be looked at.
func newProbe(c net.Conn) *probe {
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	p := &probe{raw: raw}
	p.look = func(fd uintptr) bool {
		_, p.err = syscall.Read(int(fd), p.buf[:]) // which doesn't wait
		return true
	}
	return p
}

// silent reports whether nothing has arrived, neither an end nor an answer that
// nobody has asked for.
func (p *probe) silent() bool {
	p.err = nil
	return p.raw.Read(p.look) == nil && (errors.Is(p.err, syscall.EAGAIN) || errors.Is(p.err, syscall.EINTR))
}
