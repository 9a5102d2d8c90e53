// Package rehearsal lets a process believe that it runs on Google Cloud: for tests
// of the worker as it is deployed, with the environment of its runtime and without
// any variable that names an emulator.
//
// # Guarantees
//
//   - The process's own clients call Google's host names over TLS and with
//     credentials of the metadata server, and reach the emulators: Cloud Tasks and
//     Datastore by gRPC, the certificates of Google's tokens by HTTP.
//   - Nothing leaves the machine: every other host is refused, and counted.
//
// # Not guaranteed
//
// That Google checks what the emulators don't: IAM above all. The credentials are
// never looked at.
package rehearsal
