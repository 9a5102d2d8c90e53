// Package taskstest helps to test programs that enqueue: a queue that only
// remembers.
package taskstest
