// Package emulator runs the stand-ins for Cloud Tasks, Datastore and memcached
// together, with a console, in this process.
//
// # Guarantees
//
//   - When Start returns, everything answers. When it fails, nothing runs, no
//     port is taken, and the error names what is wrong: for an address, the flag
//     that sets it.
//   - Nothing listens beyond loopback unless Options.AllowRemote says so: the
//     stand-ins ask nobody who they are.
//   - With a data folder, what was acknowledged is there after kill -9 (see
//     package journal for power loss). memcached keeps nothing, as the real one.
//   - All servers go by one clock, which can be frozen and advanced, and meet the
//     faults that Chaos injects: see docs/time-and-chaos.md.
//   - When Close has returned, nothing of the suite runs.
//
// # Failure modes
//
// A server that stops by itself (its listener fails) leaves the others running:
// Done is closed, Err says why, and the console's /healthz answers 503.
package emulator
