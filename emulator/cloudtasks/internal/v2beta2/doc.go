// Package v2beta2 serves google.cloud.tasks.v2beta2: the version with pull
// queues, whose tasks are leased and acknowledged. It has no batches, and tasks
// have no deadlines and retry rules of their own in it; those that other versions
// set stay.
package v2beta2
