package auth

import (
	"errors"
	"fmt"
	"net/http"
)

// The ways in which a caller was verified, for [Caller.Mode].
const (
	ModeOIDC        = "oidc"
	ModeCloudRunIAM = "cloud-run-iam"
	ModeAppEngine   = "appengine"
	ModeCron        = "appengine-cron"
)

// ErrKeysUnavailable is wrapped by errors that say nothing about the caller:
// the keys that would tell could not be fetched.
var ErrKeysUnavailable = errors.New("auth: the signing keys are unavailable")

// Caller is who pushes, once verified.
type Caller struct {
	Mode     string // how the caller was verified: one of the Mode constants
	Email    string // the verified service account; empty in App Engine's modes
	Audience string // the audience that the token was made for; empty likewise
	Queue    string // the App Engine queue; set in ModeAppEngine only
}

// Verifier is what the three verifiers have in common. Verify reads headers
// and path only, never the body, and is safe for concurrent use.
type Verifier interface {
	Verify(*http.Request) (Caller, error)
}

// Any returns a verifier that accepts whom one of vs accepts, asked in order:
// an App Engine service that is pushed to both by its own queues and with
// tokens by Cloud Scheduler. Without vs it refuses everybody.
func Any(vs ...Verifier) Verifier { return anyOf(vs) }

type anyOf []Verifier

func (vs anyOf) Verify(r *http.Request) (Caller, error) {
	var errs []error
	for _, v := range vs {
		c, err := v.Verify(r)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return Caller{}, errors.New("auth: no verifier is configured, so nobody is accepted")
	}
	return Caller{}, errors.Join(errs...)
}

// allowList is a validated, non-empty set of exact strings.
type allowList map[string]struct{}

func newAllowList(what string, values []string) (allowList, error) {
	if len(values) == 0 {
		return nil, fmt.Errorf("auth: %s must name at least one value; an empty list would accept nobody or everybody", what)
	}
	list := make(allowList, len(values))
	for i, v := range values {
		if v == "" {
			return nil, fmt.Errorf("auth: %s[%d] is empty", what, i)
		}
		list[v] = struct{}{}
	}
	return list, nil
}

func (l allowList) has(v string) bool {
	_, ok := l[v]
	return ok
}

// clip bounds what an error repeats of a stranger's input.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
