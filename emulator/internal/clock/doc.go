// Package clock is the clock that the emulators share, so that a test can see
// what is due tomorrow: it follows the machine's clock until it is frozen or
// advanced.
//
// What waits for a date follows it: schedules, backoff, rates, the lives of tasks
// and tombstones, memcached's expiry, Datastore's versions and read times. What
// waits for a process doesn't: deadlines of requests and transactions,
// connections, tokens and their keys.
//
// # Guarantees
//
//   - Its time never goes back by anything that this package does. A step of the
//     machine's clock shows in the wall reading, as package time has it; the time
//     between two readings, and timers, follow the monotonic one.
//   - When it is advanced, what fell due meanwhile fires at once, in the order of
//     its times. Nothing fires while it is frozen.
//   - A nil *Clock is the machine's clock, and one that nobody has touched costs
//     two atomic loads a reading.
//   - All methods may be called concurrently, and, when the clock was made in a
//     testing/synctest bubble, in that bubble.
//
// # Not guaranteed
//
// An advance is a jump, as after a suspended machine wakes: what fires sees the
// new time, not the time for which it was set.
package clock
