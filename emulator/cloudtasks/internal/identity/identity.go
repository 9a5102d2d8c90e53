package identity

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

const (
	// Issuer is the iss claim, Google's.
	Issuer = "https://accounts.google.com"

	lifetime  = time.Hour
	reuse     = 50 * time.Minute // a signature costs more than a delivery
	maxCached = 4096
	maxKept   = 8 << 10 // bytes of a token; an audience may be as long as a task
	keyBits   = 2048
	keyFile   = "oidc-key.pem"
)

// Tokens issues tokens; New makes it.
type Tokens struct {
	dir string

	mu     sync.Mutex // guards what follows, and the making of the key
	key    *rsa.PrivateKey
	keyID  string
	cached map[subject]token
}

type subject struct{ email, audience string }

type token struct {
	text  string
	until time.Time
}

// New returns an issuer whose key lives in the folder dir, or in memory when dir
// is "".
func New(dir string) *Tokens {
	return &Tokens{dir: dir, cached: make(map[subject]token)}
}

// OIDC returns an identity token of the service account for the audience.
func (t *Tokens) OIDC(email, audience string) (string, error) {
	now := time.Now()
	who := subject{email, audience}
	t.mu.Lock()
	defer t.mu.Unlock()
	if c, ok := t.cached[who]; ok && now.Before(c.until) {
		return c.text, nil
	}
	text, err := t.sign(email, audience, now)
	if err != nil {
		return "", err
	}
	if len(text) > maxKept {
		return text, nil
	}
	if len(t.cached) >= maxCached {
		for other, c := range t.cached {
			if !now.Before(c.until) {
				delete(t.cached, other)
			}
		}
		if len(t.cached) >= maxCached {
			clear(t.cached)
		}
	}
	t.cached[who] = token{text, now.Add(reuse)}
	return text, nil
}

// sign makes a token. The caller holds the lock.
func (t *Tokens) sign(email, audience string, now time.Time) (string, error) {
	if err := t.needKey(); err != nil {
		return "", err
	}
	id := accountID(email)
	header, err := json.Marshal(map[string]string{"alg": "RS256", "kid": t.keyID, "typ": "JWT"})
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(map[string]any{
		"iss": Issuer, "aud": audience, "azp": id, "sub": id,
		"email": email, "email_verified": true,
		"iat": now.Unix(), "exp": now.Add(lifetime).Unix(),
	})
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(claims)
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(nil, t.key, crypto.SHA256, digest[:])
	if err != nil {
		return "", fmt.Errorf("signing an identity token: %w", err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// accountID stands in for the numeric id of a service account: always the same
// for one email.
func accountID(email string) string {
	sum := sha256.Sum256([]byte(email))
	return "1" + fmt.Sprintf("%020d", binary.BigEndian.Uint64(sum[:]))
}

// OAuth returns an access token of the service account for the scope.
func (t *Tokens) OAuth(email, scope string) string {
	sum := sha256.Sum256([]byte(email + "\n" + scope))
	return "ya29.emulator." + hex.EncodeToString(sum[:])
}

// needKey reads or makes the key. The caller holds the lock.
func (t *Tokens) needKey() error {
	if t.key != nil {
		return nil
	}
	key, err := t.loadKey()
	if err != nil {
		return fmt.Errorf("the key for identity tokens: %w", err)
	}
	sum := sha256.Sum256(x509.MarshalPKCS1PublicKey(&key.PublicKey))
	t.key, t.keyID = key, hex.EncodeToString(sum[:20])
	return nil
}

func (t *Tokens) loadKey() (*rsa.PrivateKey, error) {
	path := filepath.Join(t.dir, keyFile)
	if t.dir != "" {
		text, err := os.ReadFile(path)
		if err == nil {
			return parseKey(path, text)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil || t.dir == "" {
		return key, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	// A crash must not leave half a key behind: the name appears with the whole.
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return nil, err
	}
	return key, os.Rename(path+".new", path)
}

func parseKey(path string, text []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s: not a PEM file; remove it to get a new key", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; remove it to get a new key", path, err)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s: holds a %T, must be an RSA key; remove it to get a new key", path, parsed)
	}
	return key, nil
}

// Handler serves the discovery document, the JSON Web Key Set and the
// certificates by key id, at Google's paths.
func (t *Tokens) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		answer(w, map[string]any{
			"issuer":                                Issuer,
			"jwks_uri":                              "http://" + r.Host + "/oauth2/v3/certs",
			"response_types_supported":              []string{"id_token"},
			"subject_types_supported":               []string{"public"},
			"id_token_signing_alg_values_supported": []string{"RS256"},
		})
	})
	mux.HandleFunc("GET /oauth2/v3/certs", t.withKey(func(key *rsa.PrivateKey, id string) (any, error) {
		return map[string]any{"keys": []map[string]string{{
			"kty": "RSA", "use": "sig", "alg": "RS256", "kid": id,
			"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
			"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
		}}}, nil
	}))
	mux.HandleFunc("GET /oauth2/v1/certs", t.withKey(func(key *rsa.PrivateKey, id string) (any, error) {
		text, err := certificate(key)
		return map[string]string{id: text}, err
	}))
	return mux
}

// withKey answers with what f makes of the key.
func (t *Tokens) withKey(f func(key *rsa.PrivateKey, id string) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		t.mu.Lock()
		err := t.needKey()
		key, id := t.key, t.keyID
		t.mu.Unlock()
		var body any
		if err == nil {
			body, err = f(key, id)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		answer(w, body)
	}
}

// certificate holds the public key in the older form, for libraries that look
// for a certificate by key id.
func certificate(key *rsa.PrivateKey) (string, error) {
	der, err := x509.CreateCertificate(nil, &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "federated-signon.emulator"},
		NotBefore:    time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}, &x509.Certificate{Subject: pkix.Name{CommonName: "federated-signon.emulator"}}, &key.PublicKey, key)
	if err != nil {
		return "", fmt.Errorf("the certificate of the key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), nil
}

func answer(w http.ResponseWriter, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.Header().Set("Cache-Control", "public, max-age=3600")
	_, _ = w.Write(text)
}
