// Package conformance holds the Datastore emulator to what others have written
// down about production. It has tests only, and nothing of what they read is in
// this repository: it comes with the module cloud.google.com/go/datastore.
//
//   - The integration tests of Google's Go client, which are written for
//     production, run against the emulator under both ways of concurrency, in
//     the default database and in a named one.
//   - The traffic that they had with production in 2019, recorded in the same
//     module, is sent to the emulator again, and every answer compared.
//
// # Guarantees
//
// A test of the client that is new, missing, failing or skipped fails ours, and
// so does an exchange that differs from the recorded one: what may differ is
// listed with its reason, and a reason that no longer applies fails as well.
//
// # Not guaranteed
//
// Where the client's tests can't be compiled, for lack of a network to fetch
// the modules that they need, they are skipped, and the test's log says so.
package conformance
