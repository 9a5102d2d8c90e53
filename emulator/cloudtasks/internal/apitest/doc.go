// Package apitest makes messages of the API for tests: with every field set, so
// that a field that is forgotten on its way is missed.
package apitest
