// Package generate makes random scripts for the differential program.
//
// Guarantees: a seed and a number always give the same script. A script lives in
// a small world (few kinds, names, properties and values), so that its requests
// meet each other. Where Google's emulators are known to keep requests waiting
// for locks, only interleaved scripts go there.
package generate
