// Package apiserver is a stand-in for the service bridge of App Engine's bundled
// services, for tests: memcache alone, over HTTP, as the SDK calls it when
// API_HOST and API_PORT point at it (an envelope of remote_api around a protobuf
// request; Get, Set with all policies, Delete, Stats).
//
// It has a clock of its own, which stands still but for Advance. What it does not
// know it answers with the bridge's own errors.
package apiserver
