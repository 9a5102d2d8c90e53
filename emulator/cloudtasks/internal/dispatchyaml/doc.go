// Package dispatchyaml reads App Engine's dispatch.yaml: which service gets
// which requests.
//
// A rule is a pattern of a host and a path, and a service. The host may begin
// with *, the path may end with *, each for anything. The first rule that fits
// counts, as on App Engine.
package dispatchyaml
