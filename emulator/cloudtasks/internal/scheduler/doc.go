// Package scheduler is Google Cloud Scheduler: the API google.cloud.scheduler.v1
// over jobs that are due by their schedules, and their deliveries to HTTP, App
// Engine and Pub/Sub targets. The jobs of a cron.yaml are among them.
//
// # Guarantees
//
//   - An execution begins when the job's schedule says so, in its time zone, and
//     is attempted until an attempt succeeds, the retry rule ends it or the next
//     one is due. Two executions of a job never overlap, but for what RunJob adds:
//     one that falls due meanwhile begins when the other has ended.
//   - Requests carry the headers of the real service; the schedule time is the
//     same for all attempts of an execution.
//   - A job that was acknowledged is kept, with its state, until it is deleted;
//     with a data folder that holds across kill -9, and so do executions: one that
//     was in flight is attempted again.
//   - Errors have the real service's texts where these are published or known.
//   - Goroutines are spent on attempts; one timer waits for all jobs.
//
// # Not guaranteed
//
// That a job runs only once. Times that pass while nothing runs, or that the
// clock jumps over, are not made up for: of several that have passed one run is
// left.
//
// # Failure modes
//
// A target may refuse, hang, or answer without end: the attempt fails by its
// deadline. An App Engine target needs an address, and a Pub/Sub target the
// address of an emulator: without one each attempt fails and says so. When the
// journal refuses a record, calls fail and change nothing, an attempt that is due
// waits a second, and a result is kept in memory only.
//
// Jobs of a cron.yaml can be run, paused and resumed by the API, and nothing else:
// the file is where they are changed.
package scheduler
