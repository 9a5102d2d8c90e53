package auth

import (
	"errors"
	"net/http"
	"time"
)

// CloudRunIAMOptions configure [NewCloudRunIAM]. All are required.
type CloudRunIAMOptions struct {
	Audiences []string            // as in OIDCOptions
	Emails    []string            // as in OIDCOptions
	Getenv    func(string) string // os.Getenv in programs; K_SERVICE must be set
}

// CloudRunIAM accepts requests that Cloud Run let through to a service that is
// not public: the platform has verified the token, we check what it says.
type CloudRunIAM struct{ policy policy }

// NewCloudRunIAM returns the verifier of a Cloud Run service whose invoker
// policy names the tasks' service account only. On a public service it would
// believe anybody, which the code cannot see: the operator chooses it.
func NewCloudRunIAM(o *CloudRunIAMOptions) (*CloudRunIAM, error) {
	if o == nil {
		o = &CloudRunIAMOptions{}
	}
	p, err := newPolicy(o.Audiences, o.Emails)
	if err != nil {
		return nil, err
	}
	if o.Getenv == nil || o.Getenv("K_SERVICE") == "" {
		return nil, errors.New("auth: the cloud-run-iam mode relies on Cloud Run to verify tokens, but K_SERVICE is not set: this is not Cloud Run")
	}
	return &CloudRunIAM{p}, nil
}

// Verify returns the caller that the token names. Its signature is the
// platform's matter: Cloud Run may have put SIGNATURE_REMOVED_BY_GOOGLE in its
// place, which happens to be base64url.
func (v *CloudRunIAM) Verify(r *http.Request) (Caller, error) {
	// With this header present Cloud Run verifies it and passes Authorization
	// on unseen. Cloud Tasks and Cloud Scheduler never send it.
	if len(r.Header.Values("X-Serverless-Authorization")) > 0 {
		return Caller{}, errors.New("auth: a request with X-Serverless-Authorization is refused: its Authorization was verified by nobody")
	}
	text, err := bearer(r)
	if err != nil {
		return Caller{}, err
	}
	t, err := parse(text)
	if err != nil {
		return Caller{}, err
	}
	if err := v.policy.check(t.claims, time.Now()); err != nil {
		return Caller{}, err
	}
	return Caller{Mode: ModeCloudRunIAM, Email: t.claims.email, Audience: t.claims.audience}, nil
}
