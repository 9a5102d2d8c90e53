package auth

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"time"

	"cloud.google.com/go/auth/credentials/idtoken"
	"golang.org/x/time/rate"
)

// Bounds on fetching keys. The burst lets a worker that starts before its
// emulator, or sees a key change, try again at once.
const (
	fetchTimeout = 10 * time.Second
	fetchEvery   = 5 * time.Second
	fetchBurst   = 5
	maxKeySet    = 1 << 20
	maxKeys      = 64
)

// signatures checks that a token, parsed and with acceptable claims, was
// signed by its issuer. It is called by one goroutine at a time.
type signatures interface {
	check(ctx context.Context, text string, t *token) error
}

// google checks against Google's published certificates, which the library
// fetches and keeps as long as their answer allows.
type google struct{ validator *idtoken.Validator }

func newGoogle(client *http.Client) (google, error) {
	v, err := idtoken.NewValidator(&idtoken.ValidatorOptions{Client: keyClient(client)})
	return google{v}, err
}

func (g google) check(ctx context.Context, text string, t *token) error {
	_, err := g.validator.Validate(ctx, text, t.claims.audience)
	if err == nil {
		return nil
	}
	if errors.Is(err, rsa.ErrVerification) {
		return errSignature
	}
	if _, fetching := errors.AsType[*url.Error](err); fetching {
		return fmt.Errorf("%w: %w", ErrKeysUnavailable, err)
	}
	return fmt.Errorf("auth: the token is not valid: %w", err)
}

var errSignature = errors.New("auth: the token's signature does not match its issuer's key")

// jwks checks against a key set at another address: an emulator's. The set is
// fetched when a token names a key that it doesn't have.
type jwks struct {
	url    string
	client *http.Client
	keys   map[string]*rsa.PublicKey
}

func newJWKS(url string, client *http.Client) *jwks {
	return &jwks{url: url, client: keyClient(client)}
}

func (j *jwks) check(ctx context.Context, _ string, t *token) error {
	if j.keys[t.keyID] == nil {
		keys, err := j.fetch(ctx)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrKeysUnavailable, err)
		}
		j.keys = keys
	}
	key := j.keys[t.keyID]
	if key == nil {
		return fmt.Errorf("auth: the token's key %q is not in the key set of %s", clip(t.keyID), j.url)
	}
	sum := sha256.Sum256([]byte(t.signed))
	if rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], t.signature) != nil {
		return errSignature
	}
	return nil
}

func (j *jwks) fetch(ctx context.Context) (map[string]*rsa.PublicKey, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, j.url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := j.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return parseKeys(text)
}

// parseKeys reads the RSA signing keys of a JSON Web Key Set (RFC 7517) and
// skips keys of other kinds.
func parseKeys(text []byte) (map[string]*rsa.PublicKey, error) {
	var set struct {
		Keys []struct{ Kty, Kid, Use, Alg, N, E string }
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("the key set is not a JSON Web Key Set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the key set has %d keys; at most %d are accepted", len(set.Keys), maxKeys)
	}
	keys := make(map[string]*rsa.PublicKey)
	for _, k := range set.Keys {
		if k.Kty != "RSA" || k.Kid == "" || cmp.Or(k.Use, "sig") != "sig" || cmp.Or(k.Alg, "RS256") != "RS256" {
			continue
		}
		key, err := rsaKey(k.N, k.E)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", clip(k.Kid), err)
		}
		keys[k.Kid] = key
	}
	return keys, nil
}

func rsaKey(n, e string) (*rsa.PublicKey, error) {
	modulus, err := decodeSegment(n)
	if err != nil {
		return nil, fmt.Errorf("n: %w", err)
	}
	exponent, err := decodeSegment(e)
	if err != nil {
		return nil, fmt.Errorf("e: %w", err)
	}
	N, E := new(big.Int).SetBytes(modulus), new(big.Int).SetBytes(exponent)
	if bits := N.BitLen(); bits < 2048 || bits > 8192 {
		return nil, fmt.Errorf("the modulus has %d bits; 2048 to 8192 are accepted", bits)
	}
	if E.BitLen() > 31 || E.Int64() < 3 || E.Bit(0) == 0 {
		return nil, fmt.Errorf("the exponent %.20s is not odd and from 3 to 2^31-1", E)
	}
	return &rsa.PublicKey{N: N, E: int(E.Int64())}, nil
}

// keyClient returns a copy of client (nil = the default one) that only fetches
// keys: seldom, and little.
func keyClient(client *http.Client) *http.Client {
	if client == nil {
		client = http.DefaultClient
	}
	bounded := *client
	if bounded.Transport == nil {
		bounded.Transport = http.DefaultTransport
	}
	bounded.Transport = &keyTransport{
		next:  bounded.Transport,
		limit: rate.NewLimiter(rate.Every(fetchEvery), fetchBurst),
	}
	return &bounded
}

// keyTransport brings complete key sets or errors, so that whatever is wrong
// with a fetch reaches the caller as the client's *url.Error.
type keyTransport struct {
	next  http.RoundTripper
	limit *rate.Limiter
}

func (t *keyTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if !t.limit.Allow() {
		return nil, fmt.Errorf("keys are fetched at most every %v", fetchEvery)
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %q; only 200 brings keys", resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySet+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxKeySet {
		return nil, fmt.Errorf("the key set has over %d bytes", maxKeySet)
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	return resp, nil
}
