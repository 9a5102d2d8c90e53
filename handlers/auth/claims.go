package auth

import (
	"cmp"
	"fmt"
	"time"
)

// issuer is who signs Google's ID tokens, the emulated ones included.
const issuer = "https://accounts.google.com"

// leeway is how far ahead of ours the issuer's clock may run. It widens iat
// and nbf only: an expired token is expired, since a queue that delivers again
// sends a new one.
const leeway = time.Minute

// claims are what the token says, and what policy asks about.
type claims struct {
	issuer, audience, email string
	emailVerified           bool
	expires, issued         int64 // Unix seconds
	notBefore               int64 // Unix seconds; 0 when absent
}

func parseClaims(payload object) (c claims, err error) {
	err = cmp.Or(
		payload.str("iss", &c.issuer),
		payload.str("aud", &c.audience),
		payload.str("email", &c.email),
		payload.get("email_verified", "boolean", &c.emailVerified),
		payload.num("exp", &c.expires),
		payload.num("iat", &c.issued),
	)
	if err == nil && payload.has("nbf") {
		err = payload.num("nbf", &c.notBefore)
	}
	return c, err
}

// policy is what the operator allows: both lists are non-empty.
type policy struct {
	audiences, emails allowList
}

func newPolicy(audiences, emails []string) (p policy, err error) {
	if p.audiences, err = newAllowList("Audiences", audiences); err != nil {
		return policy{}, err
	}
	if p.emails, err = newAllowList("Emails", emails); err != nil {
		return policy{}, err
	}
	return p, nil
}

// check applies the rules in the order in which a misconfigured deployment
// wants to hear about them.
func (p policy) check(c claims, now time.Time) error {
	latest := now.Add(leeway).Unix()
	switch {
	case c.issuer != issuer:
		return fmt.Errorf("auth: the token's issuer is %q; it must be %q", clip(c.issuer), issuer)
	case !p.audiences.has(c.audience):
		return fmt.Errorf("auth: the token's audience %q is not in the allow-list", clip(c.audience))
	case !p.emails.has(c.email):
		return fmt.Errorf("auth: the token's email %q is not in the allow-list", clip(c.email))
	case !c.emailVerified:
		return fmt.Errorf("auth: the token's email %q is not verified", clip(c.email))
	case c.expires <= now.Unix():
		return fmt.Errorf("auth: the token expired at %d; it is %d", c.expires, now.Unix())
	case c.issued > latest:
		return fmt.Errorf("auth: the token was issued in the future, at %d; it is %d", c.issued, now.Unix())
	case c.notBefore > latest:
		return fmt.Errorf("auth: the token is not valid before %d; it is %d", c.notBefore, now.Unix())
	}
	return nil
}
