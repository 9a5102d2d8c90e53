// Package cli is the command line of latchwork: it parses flags and environment,
// wires the worker and the stand-ins together, and runs one command.
//
// A command returns an error or nil; Run maps nothing to an exit status but what
// [ExitStatus] says. The environment, the streams and the context are handed in,
// so that the whole program can be tested as it is.
package cli
