// Datastore measures Latchwork's Datastore emulator beside Google's two, with
// Google's own Go client, all in one run:
//
//	go run ./datastore            # in the folder bench; about ten minutes
//	go run ./datastore -for 1s -only get,count
//
// Each server is a process of its own. Every measurement is repeated, the
// servers taking turns, and the median counts, so that what else the machine
// does falls on all of them alike. "CPU" is the server process's own processor
// time per operation, the figure that other load disturbs least.
//
// The claims are the ratios. The absolute figures are those of one machine, and
// client and server share it.
//
// Google's emulators come with the Google Cloud CLI (components
// cloud-firestore-emulator and cloud-datastore-emulator) and need Java; without
// them the run says so and measures Latchwork alone.
package main
