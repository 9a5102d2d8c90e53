// Package operation runs the operations of the lock stores below memlock, whose
// clients may go on when a context has ended, or owe their service a call then.
//
// # Guarantees
//
//   - Run returns when its context ends, whatever the client does. What goes on in
//     the background is bounded in number, and what it undoes in time.
//   - What was taken, and could not be told, is undone: the caller left before the
//     answer came, or the answer is that nobody knows.
//   - A bad request is refused before anybody is asked, with an error that states
//     the rule and the value.
//
// # Not guaranteed
//
// That undoing succeeds: the lock's TTL does the rest.
package operation
