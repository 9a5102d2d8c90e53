// Package cronyaml reads App Engine's cron.yaml as the Cloud Scheduler jobs that
// a deploy of it creates: GET requests to the app's URLs.
//
// # Guarantees
//
//   - What the Google Cloud CLI or the service refuses to deploy is refused, with
//     the line and the rule: unknown fields, schedules, time zones, retry limits.
//   - Jobs have names that depend on their URL alone, with a number added where
//     several have the same: cron-_latchwork-sweep, cron-_latchwork-sweep-2.
//   - Where a job has retry parameters, those it leaves out are what a deploy
//     makes of them: 5 retries, backoff from 0.1 s to 1 h, 16 doublings, no age
//     limit. Without retry parameters nothing is retried.
package cronyaml
