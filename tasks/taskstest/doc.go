// Package taskstest helps to test programs that enqueue: a queue that only
// remembers, in place of Cloud Tasks.
//
// # Guarantees
//
// The queue refuses what Cloud Tasks would call a duplicate, as it does: a name
// that was used before.
//
// # Not guaranteed
//
// That anything runs. Package emulatortest runs tasks, in fake time, too.
package taskstest
