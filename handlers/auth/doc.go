// Package auth decides who may push: it verifies the caller of a worker's
// endpoint before a byte of the request's body is read. It is closed by
// default: no verifier can be built without an allow-list, and what a verifier
// does not recognise it refuses.
//
// There are three verifiers, each chosen by the operator and never inferred
// from the request:
//
//   - [OIDC], the default: the endpoint is open to the network, and the Google
//     ID token that Cloud Tasks and Cloud Scheduler send is verified here in
//     full, signature included.
//   - [CloudRunIAM]: a Cloud Run service that is not public. Cloud Run has
//     verified the token and may have removed its signature; the claims are
//     checked here.
//   - [AppEngine]: App Engine's own headers, which its front end strips from
//     outside requests.
//
// The X-CloudTasks-* headers are never proof: anybody can send them.
//
// # Guarantees
//
//   - A caller is returned only if issuer, audience, verified email, expiry and
//     (for [OIDC]) the RS256 signature all hold, or if App Engine says so on App
//     Engine. Audience and email come from non-empty allow-lists.
//   - No input panics: the token is parsed strictly before any library sees it,
//     and a panic of a library becomes an error without a stack.
//   - Every size, count and wait is bounded: tokens at 8 KiB, cached callers at
//     1,000, key sets at 1 MiB, and key fetches in rate and in time.
//   - Errors name the rule and the offending claim, never the token.
//
// # Not guaranteed
//
//   - A token is good until it expires, about an hour: withdrawing a service
//     account or a signing key does not end tokens that were verified before.
//   - [CloudRunIAM] is as strong as the service's invoker policy, no stronger:
//     grant run.invoker to the tasks' service account only.
//
// # Failure modes
//
// When the signing keys cannot be fetched, tokens not seen before are refused
// with an error that is [ErrKeysUnavailable]; the queue delivers again later.
package auth
