// Package house holds the rules of this repository as tests: which room may
// import which, that each package says once what it promises, what the library
// packages must never link, and that documents point at things that exist.
//
// The package has no code outside its tests. A rule that fails says what was
// broken, where, and why the rule is there.
package house
