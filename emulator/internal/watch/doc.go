// Package watch reads a configuration file and notices when it changes: by a look
// at its size and time each second, which costs nothing, needs no library and
// works on every file system.
//
// # Guarantees
//
//   - A file that can't be read or isn't accepted at the start is an error; later
//     that is logged, once, and what was accepted last stays.
//   - Changes are taken over one at a time, within a second or two.
//   - A file that is deleted stays what it was; when it comes back it is read.
package watch
