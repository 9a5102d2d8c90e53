package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// OIDCOptions configure [NewOIDC]. Audiences and Emails have no default.
type OIDCOptions struct {
	// Audiences are the accepted values of the token's aud: what the queue's
	// tasks and the scheduler's jobs name as their audience.
	Audiences []string
	// Emails are the service accounts whose tokens are accepted.
	Emails []string

	// JWKSURL fetches the signing keys from there instead of Google: an
	// emulator's /oauth2/v3/certs. It is for development only, and refused
	// where Getenv shows one of Google's runtimes. "" = Google's certificates.
	JWKSURL string
	// Getenv reads the environment; os.Getenv in programs. It is required
	// with JWKSURL, and not read otherwise.
	Getenv func(string) string
	// HTTPClient fetches the keys. nil = one with the default transport.
	HTTPClient *http.Client
}

// OIDC accepts requests that carry a Google ID token of an allowed service
// account for an allowed audience.
type OIDC struct {
	policy     policy
	signatures signatures
	turn       chan struct{} // held while signatures is in use
	verified   cache
}

// NewOIDC returns the verifier of an endpoint that the whole network can
// reach. It makes no request.
func NewOIDC(o *OIDCOptions) (*OIDC, error) {
	if o == nil {
		o = &OIDCOptions{}
	}
	p, err := newPolicy(o.Audiences, o.Emails)
	if err != nil {
		return nil, err
	}
	v := &OIDC{policy: p, turn: make(chan struct{}, 1)}
	if o.JWKSURL == "" {
		v.signatures, err = newGoogle(o.HTTPClient)
		return v, err
	}
	if err := checkOverride(o.JWKSURL, o.Getenv); err != nil {
		return nil, err
	}
	v.signatures = newJWKS(o.JWKSURL, o.HTTPClient)
	return v, nil
}

// checkOverride keeps a development setting from opening a deployed worker:
// whoever serves the keys decides who may push.
func checkOverride(jwksURL string, getenv func(string) string) error {
	u, err := url.Parse(jwksURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("auth: JWKSURL %q is not an absolute http or https URL", clip(jwksURL))
	}
	if getenv == nil {
		return errors.New("auth: JWKSURL needs Getenv, to see that this is not one of Google's runtimes")
	}
	for _, name := range []string{"K_SERVICE", "GAE_ENV", "FUNCTION_TARGET"} {
		if value := getenv(name); value != "" {
			return fmt.Errorf("auth: JWKSURL %q replaces Google's certificates and is for development only, but %s=%q says that this is deployed",
				clip(jwksURL), name, clip(value))
		}
	}
	return nil
}

// Verify returns the caller that the request's bearer token proves. A token
// that was verified before is looked up by its hash.
func (v *OIDC) Verify(r *http.Request) (Caller, error) {
	text, err := bearer(r)
	if err != nil {
		return Caller{}, err
	}
	now, key := time.Now(), sha256.Sum256([]byte(text))
	if caller, ok := v.verified.get(key, now); ok {
		return caller, nil
	}
	t, err := parse(text)
	if err != nil {
		return Caller{}, err
	}
	// The claims come first: a stranger's token costs no key fetch.
	if err := v.policy.check(t.claims, now); err != nil {
		return Caller{}, err
	}
	if err := v.checkSignature(r.Context(), text, t); err != nil {
		return Caller{}, err
	}
	caller := Caller{Mode: ModeOIDC, Email: t.claims.email, Audience: t.claims.audience}
	v.verified.put(key, cached{caller, t.claims.expires}, now)
	return caller, nil
}

// checkSignature lets one token at a time through. Tokens are checked once an
// hour each, and those that arrive together at the start share one key fetch.
func (v *OIDC) checkSignature(ctx context.Context, text string, t *token) (err error) {
	select {
	case v.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrKeysUnavailable, context.Cause(ctx))
	}
	defer func() { <-v.turn }()
	defer func() {
		// The token library panics on some tokens. parse lets none of the
		// known ones through; the next one is an error, not an outage.
		if recover() != nil {
			err = errors.New("auth: the token could not be checked: its verification panicked")
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	return v.signatures.check(ctx, text, t)
}
