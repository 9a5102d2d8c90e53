// Package v2beta3 serves google.cloud.tasks.v2beta3: v2 and, of a queue, its
// type, the times to live, the burst and statistics; of a task, pull messages.
package v2beta3
