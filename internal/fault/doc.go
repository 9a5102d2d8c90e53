// Package fault makes calls fail where a test says so: gRPC calls, HTTP requests
// and connections.
//
// A Script holds what shall go wrong: the nth call of a name, from the moment of
// On, meets a Fault. A call can fail before it is sent, or after it took effect
// (its answer is lost), or wait at a Gate or for a time. Nothing is random.
//
// # Guarantees
//
//   - A call that no rule names goes through unchanged.
//   - A rule with a number is used once; Unused tells a test which never were.
//   - Faults that wait end with the call's context, and wait on channels and
//     timers only: they work in a testing/synctest bubble.
package fault
