// Package dispatch turns one attempt of a task into one HTTP request and the
// answer into a result.
//
// # Guarantees
//
//   - The request carries exactly the headers that the real service sends, in
//     its spelling, over what the task asked for.
//   - One request a delivery: redirects are failures and are not followed.
//   - Whatever the target does (refuse, hang, reset, stream forever, answer
//     nonsense), a delivery ends by its deadline and holds a bounded amount of
//     memory.
//
// # Not guaranteed
//
// A target whose connection breaks may have acted on the request.
package dispatch
