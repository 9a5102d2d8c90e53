// Package wire serves every dialect of one emulator on one port: the first bytes
// of a connection tell HTTP/2 with prior knowledge (native gRPC) from HTTP/1.1.
//
// # Guarantees
//
//   - HTTP/1.1 is closed to web pages: requests that a page of another origin
//     made are refused, and so are Hosts that are neither loopback names nor IP
//     literals nor allowed, which keeps out DNS rebinding. Browsers can't speak
//     HTTP/2 with prior knowledge, so gRPC needs no such check.
//   - Connections, messages, request bodies and the wait for a first byte are
//     bounded; a panic in a handler ends its own request only.
//   - After Close has returned nil, nothing of the server runs.
//
// # Failure modes
//
// Close gives running requests a second to finish, then cancels them, and returns
// an error when a handler ignores that for another five.
package wire
