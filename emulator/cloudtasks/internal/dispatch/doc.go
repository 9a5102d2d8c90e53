// Package dispatch turns one attempt of a task into one HTTP request and the
// answer into a result.
//
// # Guarantees
//
//   - The request carries exactly the headers that the real service sends, in
//     its spelling, over what the task and, above it, its queue asked for.
//   - One request a delivery: redirects are failures and are not followed. The
//     service's documentation says that those of HTTP targets "may be followed";
//     what has been recorded of it is a 302 that counted as a failure.
//   - Whatever the target does (refuse, hang, reset, stream forever, answer
//     nonsense), a delivery ends by its deadline and holds a bounded amount of
//     memory.
//   - An App Engine task goes to the address of its instance, else of its
//     version, else of its service, else to the default one. The queue's routing
//     wins over the task's, and dispatch rules count where neither names a
//     service.
//
// # Not guaranteed
//
// A target whose connection breaks may have acted on the request.
package dispatch
