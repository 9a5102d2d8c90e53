// Package gaelock keeps the locks of package memlock in the memcache that App
// Engine bundles (google.golang.org/appengine/v2/memcache), in a module of its
// own so that nobody else links the bundled services.
//
//	store, err := gaelock.New(nil)
//	// …
//	locker := memlock.New(store, nil)
//	http.HandleFunc("/task", func(w http.ResponseWriter, r *http.Request) {
//		err := locker.TryWithLock(appengine.NewContext(r), "shard-17", id, work)
//		// …
//	})
//	appengine.Main()
//
// app.yaml needs app_engine_apis: true. The context must come from the request:
// it carries the ticket with which App Engine lets calls through, and perhaps a
// namespace (appengine.Namespace), which the lock is then in.
//
// # What it costs
//
// Taking a fresh lock is one call of the service (Set with the policy ADD);
// finding it busy two; taking one that was released a moment ago three. A refresh
// and a release are two calls each (Get, Set with the policy CAS). The shared
// memcache costs nothing else; the dedicated one is paid by the gigabyte-hour.
//
// # Guarantees
//
//   - What memlock.Store promises, as far as memcache keeps what it acknowledged.
//     The stored value is the owner, or empty for a lock that was released less
//     than a second ago. Only ADD and CAS write: memcache has no conditional
//     delete, and an unconditional one could take another's lock away.
//   - An answer that was lost is recovered: the lock that is there is known by
//     its owner. What may have been taken for a caller who is gone is released,
//     as long as App Engine lets the request's calls through.
//   - Each call returns when its context ends, although the SDK looks at its
//     deadline only before it sends; what goes on in the background is bounded in
//     number and time.
//
// # Not guaranteed
//
// Mutual exclusion: the shared memcache evicts at any time. Time: memcache counts
// whole seconds, so that a lock lives up to 2 s longer than its TTL.
//
// # Failure modes
//
//   - memcache is down, or is called outside of App Engine or without the
//     request's context: errors that memlock reports as ErrUnavailable.
//   - It is flushed, or evicts: holders learn it with the next refresh.
package gaelock
