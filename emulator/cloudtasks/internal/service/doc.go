// Package service is Google Cloud Tasks behind the versions of its API: the
// rules and texts, what each call does to the engine, and what becomes of it. The
// adapters of the versions turn their messages into those of this package and
// back.
//
// A Queue and a Task are messages of google.cloud.tasks.v2, with what that
// version doesn't know beside them: nothing that one version stores is lost when
// another one changes it.
//
// # Guarantees
//
//   - Bad input is refused with the service's own code and text where they are
//     known, quotes at most 200 bytes of it, and changes nothing.
//   - A page token is good for two hours, for the list that it was made for.
//   - A batch that is repeated with its request id gets the first answer, also
//     after a restart with a data folder.
//
// # Not guaranteed
//
// Access isn't controlled: IAM policies are kept, and ask nothing of anybody.
package service
