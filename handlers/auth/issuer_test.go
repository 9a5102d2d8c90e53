package auth

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	audience = "https://worker.example"
	email    = "tasks@project.iam.gserviceaccount.com"
	jwksURL  = "http://emulator.example/oauth2/v3/certs"

	signatureRemoved = "SIGNATURE_REMOVED_BY_GOOGLE" // Cloud Run's own words
)

// testKeys are made once: an RSA key takes a noticeable part of a second.
var testKeys = sync.OnceValue(func() (keys [2]*rsa.PrivateKey) {
	for i := range keys {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		keys[i] = key
	}
	return keys
})

// testIssuer signs tokens and serves its keys as an http.RoundTripper.
type testIssuer struct {
	mu      sync.Mutex
	keys    map[string]*rsa.PrivateKey
	fetches int
	answer  func() *http.Response // nil = the key set
}

func newIssuer() *testIssuer {
	return &testIssuer{keys: map[string]*rsa.PrivateKey{"k1": testKeys()[0]}}
}

func (i *testIssuer) client() *http.Client { return &http.Client{Transport: i} }

func (i *testIssuer) RoundTrip(*http.Request) (*http.Response, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fetches++
	if i.answer != nil {
		resp := i.answer()
		if resp == nil {
			return nil, errors.New("network is unreachable")
		}
		return resp, nil
	}
	return response(200, i.keySet()), nil
}

func (i *testIssuer) keySet() string {
	var keys []map[string]string
	for kid, key := range i.keys {
		keys = append(keys, map[string]string{
			"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid,
			"n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes()),
		})
	}
	text, _ := json.Marshal(map[string]any{"keys": keys})
	return string(text)
}

func response(status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status),
		Header: http.Header{"Cache-Control": {"public, max-age=3600"}},
		Body:   io.NopCloser(strings.NewReader(body)),
	}
}

func (i *testIssuer) fetched() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// sign signs header and payload, which are JSON texts, with the key called kid.
func (i *testIssuer) sign(kid, header, payload string) string {
	signed := b64([]byte(header)) + "." + b64([]byte(payload))
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(nil, i.keys[kid], crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return signed + "." + b64(signature)
}

const goodHeader = `{"alg":"RS256","kid":"k1","typ":"JWT"}`

// payload returns Google's claims as of now, changed by with; a nil value
// takes the claim away.
func payload(with map[string]any) string {
	now := time.Now()
	claims := map[string]any{
		"iss": issuer, "aud": audience, "azp": "1234567890", "sub": "1234567890",
		"email": email, "email_verified": true,
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	maps.Copy(claims, with)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	text, _ := json.Marshal(claims)
	return string(text)
}

func (i *testIssuer) good() string { return i.sign("k1", goodHeader, payload(nil)) }

// request carries the token and a body that nobody may touch.
func request(t testing.TB, token string) *http.Request {
	r := httptest.NewRequest("POST", "/_latchwork/tasks/x", forbiddenBody{t})
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

type forbiddenBody struct{ t testing.TB }

func (b forbiddenBody) Read([]byte) (int, error) {
	b.t.Error("the body was read before the caller was verified")
	return 0, io.EOF
}

// env is an environment of one variable.
func env(name, value string) func(string) string {
	return func(asked string) string {
		if asked == name {
			return value
		}
		return ""
	}
}

// verifiers are the two ways of checking signatures, to be tested alike.
func verifiers(t testing.TB, i *testIssuer) map[string]*OIDC {
	t.Helper()
	google, err := NewOIDC(&OIDCOptions{Audiences: []string{audience}, Emails: []string{email}, HTTPClient: i.client()})
	if err != nil {
		t.Fatal(err)
	}
	local, err := NewOIDC(&OIDCOptions{
		Audiences: []string{audience}, Emails: []string{email}, HTTPClient: i.client(),
		JWKSURL: jwksURL, Getenv: env("", ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*OIDC{"google": google, "jwks": local}
}
