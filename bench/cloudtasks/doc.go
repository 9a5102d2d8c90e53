// Cloudtasks measures Latchwork's Cloud Tasks emulator, in memory and with its
// journal on disk, beside servers that do nothing, with Google's own Go client,
// all in one run:
//
//	go run ./cloudtasks            # in the folder bench; about five minutes
//	go run ./cloudtasks -for 1s -only create,latency
//
// Each server is a process of its own; the handlers that tasks are delivered to
// run in this one, beside the client. Every measurement is repeated, the servers
// taking turns, and the median counts, so that what else the machine does falls
// on all of them alike. "CPU" is the server process's own processor time per
// operation, the figure that other load disturbs least.
//
// "Bare" is the floor: a gRPC method that answers at once, an HTTP handler that
// does, or one call of each after the other where a task takes both ways. The
// last column quotes what has been recorded of the best-known other emulator on
// a machine of two cores: other machines, other figures.
package main
