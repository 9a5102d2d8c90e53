// Package console is the emulators' status page: where they listen, what is
// queued, what is stored. It reads through a function that it is given, and
// changes nothing.
//
// # Guarantees
//
//   - It is read-only, needs no script, and loads nothing from elsewhere.
//   - GET /healthz answers 200 "ok" while all servers run, and 503 with the
//     reason otherwise.
//
// The page is served behind package wire's guard, which closes it to other
// origins and foreign Hosts.
package console
