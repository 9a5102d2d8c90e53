// Package pipenet is a network in memory, for tests: listeners and connections
// that work inside a testing/synctest bubble, where real sockets don't.
//
// # Guarantees
//
//   - Every wait is durably blocking in a bubble, so fake time moves on while
//     both ends are idle.
//   - Connections are buffered, as TCP's are: a write returns before the other
//     end reads it, up to 256 KiB that nobody has read.
//   - Errors are those of a real network: ECONNREFUSED, EADDRINUSE, EPIPE, io.EOF,
//     net.ErrClosed and os.ErrDeadlineExceeded, inside a *net.OpError.
//   - No goroutine belongs to the network: what tests leave behind is their own.
//
// # Not guaranteed
//
// There is no name resolution: a host is a name, and only localhost and the
// empty host are taken to be 127.0.0.1. A close is always orderly: what was
// written before it can still be read. There is no half-close.
package pipenet
