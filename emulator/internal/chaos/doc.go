// Package chaos decides which faults the emulators inject, for people who test
// that their work is idempotent: deliveries that come twice, late, in another
// order, or whose answer comes too late; commits that are aborted; entries that
// are evicted; calls that find the service out of order, or carry on without
// their answer.
//
// # Guarantees
//
//   - A fault strikes with its probability, chosen by a hash of the seed, the
//     fault and the names of what it would strike: the same names and the same
//     seed give the same choice, whatever happens beside it. What comes
//     again, such as the next attempt or another commit of a key, is another
//     choice.
//   - Each injected fault is counted, and logged at INFO with its names.
//   - The settings can be changed at any time, and hold from the next choice on.
//   - A nil *Chaos injects nothing, and one whose probabilities are 0 costs an
//     atomic load.
//
// # Not guaranteed
//
// That counting of names is bounded: names whose hashes meet share a count, so
// which of their later appearances is struck may depend on each other.
package chaos
