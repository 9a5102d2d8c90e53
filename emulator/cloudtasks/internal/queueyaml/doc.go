// Package queueyaml reads App Engine's queue.yaml and makes the queues of an
// emulator what the file says, as a deploy of it does.
//
//	rate                    max_dispatches_per_second, at most 500; needed; 0 pauses the queue
//	bucket_size             max_burst_size, at most 500; 5
//	max_concurrent_requests max_concurrent_dispatches, brought into 1 to 5000; 1000
//	task_retry_limit        max_attempts, one more; -1
//	task_age_limit          max_retry_duration; 0 s
//	min_backoff_seconds     min_backoff; 0.1 s
//	max_backoff_seconds     max_backoff; 1 h
//	max_doublings           max_doublings; 16
//	target                  app_engine_routing_override; none
//
// Of the two backoffs one that is left out becomes equal to the other where the
// default would contradict it. Queues that the file creates keep tasks for ten
// years and their names for nine days. acl, application and total_storage_limit
// are checked and mean nothing here.
//
// # Guarantees
//
//   - What the Google Cloud CLI refuses to deploy is refused, in its words where
//     it has some, with the line.
//   - A bucket size and a concurrency of 0 count as left out, as in a deploy.
//     Other zeros are meant: a deploy by the CLI takes max_doublings 0 for 16,
//     and this doesn't.
package queueyaml
