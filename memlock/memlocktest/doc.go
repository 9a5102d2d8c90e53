// Package memlocktest tests users and implementations of memlock: Store keeps
// locks in memory and plays outages, thefts and evictions; TestStore holds an
// implementation of memlock.Store to its contract.
package memlocktest
