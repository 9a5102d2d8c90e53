// Package script describes what the differential program sends to its servers:
// a list of requests that may refer to what earlier ones answered.
//
// Guarantees: a script names nothing that only one server knows. Projects,
// transactions, cursors, allocated identifiers, versions and times are
// references (see Ref), which each server's session replaces by its own; so the
// same script runs anywhere, any number of times, and what is left of it after
// steps were taken out runs too. Parse reads back what String writes.
package script
