package auth

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestVerifyAcceptsGoogleTokens(t *testing.T) {
	i := newIssuer()
	good := i.good()
	want := Caller{Mode: ModeOIDC, Email: email, Audience: audience}
	headers := map[string]string{
		"Bearer": "Bearer " + good, "lower case": "bearer " + good, "upper case": "BEARER " + good,
		"two spaces": "Bearer  " + good,
	}
	for mode, v := range verifiers(t, i) {
		for name, header := range headers {
			r := request(t, "")
			r.Header.Set("Authorization", header)
			if c, err := v.Verify(r); err != nil || c != want {
				t.Errorf("%s, %s: %+v, %v", mode, name, c, err)
			}
		}
		ahead := i.sign("k1", goodHeader, payload(map[string]any{"iat": time.Now().Add(30 * time.Second).Unix()}))
		if _, err := v.Verify(request(t, ahead)); err != nil {
			t.Errorf("%s: a clock 30 s ahead: %v", mode, err)
		}
	}
}

func TestClosedByDefault(t *testing.T) {
	lists := func(a, e []string) *OIDCOptions { return &OIDCOptions{Audiences: a, Emails: e} }
	some := []string{"x"}
	override := func(url string, getenv func(string) string) *OIDCOptions {
		return &OIDCOptions{Audiences: some, Emails: some, JWKSURL: url, Getenv: getenv}
	}
	for name, test := range map[string]struct {
		o    *OIDCOptions
		want string
	}{
		"nil options":              {nil, "Audiences"},
		"empty audience config":    {lists(nil, some), "Audiences"},
		"an empty audience":        {lists([]string{"x", ""}, some), "Audiences[1]"},
		"no emails":                {lists(some, nil), "Emails"},
		"an empty email":           {lists(some, []string{""}), "Emails[0]"},
		"override on Cloud Run":    {override(jwksURL, env("K_SERVICE", "worker")), `K_SERVICE="worker"`},
		"override on App Engine":   {override(jwksURL, env("GAE_ENV", "standard")), `GAE_ENV="standard"`},
		"override in a function":   {override(jwksURL, env("FUNCTION_TARGET", "Worker")), `FUNCTION_TARGET="Worker"`},
		"override without getenv":  {override(jwksURL, nil), "Getenv"},
		"override is a path":       {override("/certs", env("", "")), "absolute"},
		"override is a file":       {override("file:///certs", env("", "")), "absolute"},
		"override is not a URL":    {override("http://[::1", env("", "")), "absolute"},
		"override without a host":  {override("http:///certs", env("", "")), "absolute"},
		"override with other URLs": {override("gopher://x/", env("", "")), "absolute"},
	} {
		if v, err := NewOIDC(test.o); err == nil || v != nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, %v; the error must contain %q", name, v, err, test.want)
		}
	}
}

func TestVerifiedTokenIsCachedUntilItExpires(t *testing.T) {
	testKeys()
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		for mode, v := range verifiers(t, i) {
			checks := 0
			v.signatures = counting{v.signatures, &checks}
			token := i.good()
			for range 3 {
				if _, err := v.Verify(request(t, token)); err != nil {
					t.Fatalf("%s: %v", mode, err)
				}
			}
			if checks != 1 {
				t.Errorf("%s: the signature was checked %d times for one token", mode, checks)
			}
			time.Sleep(time.Hour)
			if _, err := v.Verify(request(t, token)); err == nil || !strings.Contains(err.Error(), "expired") {
				t.Errorf("%s: an hour later: %v", mode, err)
			}
		}
	})
}

type counting struct {
	signatures
	checks *int
}

func (c counting) check(ctx context.Context, text string, t *token) error {
	*c.checks++
	return c.signatures.check(ctx, text, t)
}

func TestCacheIsBounded(t *testing.T) {
	var c cache
	now := time.Unix(1000, 0)
	key := func(n int) (k [32]byte) { copy(k[:], fmt.Sprint(n)); return k }
	for n := range maxCached {
		c.put(key(n), cached{Caller{Email: "old"}, 2000}, now)
	}
	c.put(key(maxCached), cached{Caller{Email: "new"}, 3000}, now)
	if len(c.entries) != maxCached {
		t.Errorf("%d entries; at most %d are kept", len(c.entries), maxCached)
	}
	if _, ok := c.get(key(maxCached), now); !ok {
		t.Error("the newest entry was not kept")
	}
	c.put(key(maxCached+1), cached{Caller{Email: "new"}, 3000}, time.Unix(2000, 0))
	if len(c.entries) != 2 {
		t.Errorf("%d entries; what expired must make room first", len(c.entries))
	}
}

func TestPanicOfTheLibraryIsAnError(t *testing.T) {
	i := newIssuer()
	for mode, v := range verifiers(t, i) {
		inOrder := v.signatures
		v.signatures = panicking{}
		_, err := v.Verify(request(t, i.good()))
		if err == nil || !strings.Contains(err.Error(), "panicked") || strings.Contains(err.Error(), "goroutine") {
			t.Errorf("%s: %v", mode, err)
		}
		v.signatures = inOrder
		if _, err := v.Verify(request(t, i.good())); err != nil {
			t.Errorf("%s: after the panic: %v", mode, err)
		}
	}
}

type panicking struct{}

func (panicking) check(context.Context, string, *token) error { panic("index out of range") }

func TestConcurrentFirstTokensShareOneFetch(t *testing.T) {
	i := newIssuer()
	for mode, v := range verifiers(t, i) {
		before := i.fetched()
		var wg sync.WaitGroup
		for n := range 32 {
			token := i.sign("k1", goodHeader, payload(map[string]any{"sub": fmt.Sprint(n)}))
			wg.Go(func() {
				if _, err := v.Verify(request(t, token)); err != nil {
					t.Errorf("%s: %v", mode, err)
				}
			})
		}
		wg.Wait()
		if n := i.fetched() - before; n != 1 {
			t.Errorf("%s: %d fetches; one was enough", mode, n)
		}
	}
}

func TestWaitingForTheKeysEndsWithTheRequest(t *testing.T) {
	for mode, v := range verifiers(t, newIssuer()) {
		v.turn <- struct{}{}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := v.Verify(request(t, newIssuer().good()).WithContext(ctx))
		if !errors.Is(err, ErrKeysUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", mode, err)
		}
	}
}

func TestKeysUnavailable(t *testing.T) {
	testKeys()
	answers := map[string]func() *http.Response{
		"network down": func() *http.Response { return nil },
		"500":          func() *http.Response { return response(500, "{}") },
		"redirect": func() *http.Response {
			r := response(302, "")
			r.Header.Set("Location", "http://evil.example/certs")
			return r
		},
		"endless": func() *http.Response { return response(200, strings.Repeat("x", maxKeySet+1)) },
	}
	for name, answer := range answers {
		synctest.Test(t, func(t *testing.T) {
			i := newIssuer()
			i.answer = answer
			for mode, v := range verifiers(t, i) {
				before := i.fetched()
				for range 2 * fetchBurst {
					if _, err := v.Verify(request(t, i.good())); !errors.Is(err, ErrKeysUnavailable) {
						t.Errorf("%s, %s: %v", mode, name, err)
					}
				}
				if n := i.fetched() - before; n > fetchBurst {
					t.Errorf("%s, %s: %d fetches at once; at most %d", mode, name, n, fetchBurst)
				}
			}
			i.answer = nil
			time.Sleep(fetchEvery)
			for mode, v := range verifiers(t, i) {
				if _, err := v.Verify(request(t, i.good())); err != nil {
					t.Errorf("%s, %s: after the recovery: %v", mode, name, err)
				}
			}
		})
	}
}

func TestJWKSFollowsARotatedKey(t *testing.T) {
	i := newIssuer()
	v := verifiers(t, i)["jwks"]
	old := i.good()
	if _, err := v.Verify(request(t, old)); err != nil {
		t.Fatal(err)
	}
	i.mu.Lock()
	i.keys = map[string]*rsa.PrivateKey{"k2": testKeys()[1]}
	i.mu.Unlock()
	fresh := i.sign("k2", `{"alg":"RS256","kid":"k2"}`, payload(nil))
	if _, err := v.Verify(request(t, fresh)); err != nil {
		t.Errorf("the new key: %v", err)
	}
	if n := i.fetched(); n != 2 {
		t.Errorf("%d fetches; want 2", n)
	}
}

func TestParseKeys(t *testing.T) {
	i := newIssuer()
	n := b64(i.keys["k1"].N.Bytes())
	key := func(members string) string { return `{"keys":[{` + members + `}]}` }
	for name, test := range map[string]struct {
		text string
		keys int
		want string // part of the error
	}{
		"ours":                {i.keySet(), 1, ""},
		"no keys":             {`{}`, 0, ""},
		"elliptic keys":       {key(`"kty":"EC","kid":"a","crv":"P-256","x":"AA","y":"AA"`), 0, ""},
		"encryption keys":     {key(`"kty":"RSA","use":"enc","kid":"a","n":"` + n + `","e":"AQAB"`), 0, ""},
		"another algorithm":   {key(`"kty":"RSA","alg":"PS256","kid":"a","n":"` + n + `","e":"AQAB"`), 0, ""},
		"without kid":         {key(`"kty":"RSA","n":"` + n + `","e":"AQAB"`), 0, ""},
		"plain":               {key(`"kty":"RSA","kid":"a","n":"` + n + `","e":"AQAB"`), 1, ""},
		"not JSON":            {`<html>`, 0, "JSON"},
		"a list":              {`[]`, 0, "JSON"},
		"short modulus":       {key(`"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"`), 0, "bits"},
		"garbage modulus":     {key(`"kty":"RSA","kid":"a","n":"!","e":"AQAB"`), 0, "n:"},
		"empty modulus":       {key(`"kty":"RSA","kid":"a","e":"AQAB"`), 0, "bits"},
		"huge modulus":        {key(`"kty":"RSA","kid":"a","n":"` + strings.Repeat("_", 2000) + `","e":"AQAB"`), 0, "bits"},
		"even exponent":       {key(`"kty":"RSA","kid":"a","n":"` + n + `","e":"AQAA"`), 0, "exponent"},
		"exponent one":        {key(`"kty":"RSA","kid":"a","n":"` + n + `","e":"AQ"`), 0, "exponent"},
		"huge exponent":       {key(`"kty":"RSA","kid":"a","n":"` + n + `","e":"AQAAAAAAAAAB"`), 0, "exponent"},
		"garbage exponent":    {key(`"kty":"RSA","kid":"a","n":"` + n + `","e":"="`), 0, "e:"},
		"more keys than sane": {`{"keys":[` + strings.Repeat(`{},`, maxKeys) + `{}]}`, 0, "at most"},
	} {
		keys, err := parseKeys([]byte(test.text))
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: the error is %v; want %q in it", name, err, test.want)
		}
		if len(keys) != test.keys {
			t.Errorf("%s: %d keys; want %d", name, len(keys), test.keys)
		}
	}
}

func FuzzVerify(f *testing.F) {
	i := newIssuer()
	good := i.good()
	f.Add("Bearer " + good)
	for _, h := range hostileTokens(i) {
		f.Add("Bearer " + h.token)
	}
	local := verifiers(f, i)["jwks"]
	behind := cloudRun(f)
	f.Fuzz(func(t *testing.T, header string) {
		r := request(t, "")
		r.Header.Set("Authorization", header)
		_, err := local.Verify(r)
		if accepted := err == nil; accepted && !strings.HasSuffix(header, " "+good) {
			t.Errorf("accepted a token that the issuer did not sign: %q", header)
		}
		if c, err := behind.Verify(r); err == nil && (c.Email != email || c.Audience != audience) {
			t.Errorf("accepted %+v from %q", c, header)
		}
	})
}

func BenchmarkVerifyCached(b *testing.B) {
	i := newIssuer()
	v := verifiers(b, i)["jwks"]
	r := request(b, i.good())
	if _, err := v.Verify(r); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyNew(b *testing.B) {
	i := newIssuer()
	v := verifiers(b, i)["jwks"]
	r := request(b, i.good())
	b.ReportAllocs()
	for b.Loop() {
		v.verified = cache{}
		if _, err := v.Verify(r); err != nil {
			b.Fatal(err)
		}
	}
}
