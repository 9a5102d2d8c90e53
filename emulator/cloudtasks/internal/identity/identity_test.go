package identity

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestKeyFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, keyFile)
	if _, err := New(dir).OIDC("a@b", "aud"); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key's permissions are %v", info.Mode().Perm())
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing":       "",
		"half":          string(whole[:len(whole)/2]),
		"another block": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(dir).OIDC("a@b", "aud"); err == nil || !strings.Contains(err.Error(), "remove it to get a new key") {
			t.Errorf("%s: %v", name, err)
		}
		answer := httptest.NewRecorder()
		New(dir).Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/oauth2/v3/certs", nil))
		if answer.Code != 500 {
			t.Errorf("%s: the key set answers %d", name, answer.Code)
		}
	}
	if _, err := New(filepath.Join(dir, "missing")).OIDC("a@b", "aud"); err == nil {
		t.Error("a key is kept in a folder that doesn't exist")
	}
}

func TestCacheIsBounded(t *testing.T) {
	tokens := New("")
	for i := range maxCached {
		tokens.cached[subject{"a@b", strings.Repeat("x", i)}] = token{"t", time.Now().Add(time.Hour)}
	}
	if _, err := tokens.OIDC("a@b", "one more"); err != nil {
		t.Fatal(err)
	}
	if n := len(tokens.cached); n > maxCached {
		t.Errorf("%d tokens are cached", n)
	}
	if _, ok := tokens.cached[subject{"a@b", "one more"}]; !ok {
		t.Error("the newest token isn't among them")
	}
}

// TestLongTokensAreNotKept: an audience may be as long as a task.
func TestLongTokensAreNotKept(t *testing.T) {
	tokens := New("")
	for _, audience := range []string{"https://worker.example/", strings.Repeat("x", 1<<20)} {
		if _, err := tokens.OIDC("a@example.com", audience); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(tokens.cached); n != 1 {
		t.Errorf("%d tokens are kept, want the short one", n)
	}
}

// The certificate by key id holds the key that the key set has and that signs.
func TestCertificates(t *testing.T) {
	tokens := New(t.TempDir())
	text, err := tokens.OIDC("a@example.com", "aud")
	if err != nil {
		t.Fatal(err)
	}
	var certs map[string]string
	rec := httptest.NewRecorder()
	tokens.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/oauth2/v1/certs", nil))
	if err := json.Unmarshal(rec.Body.Bytes(), &certs); err != nil || len(certs) != 1 {
		t.Fatalf("%s: %v", rec.Body, err)
	}
	block, _ := pem.Decode([]byte(certs[tokens.keyID]))
	if block == nil {
		t.Fatalf("%v has no certificate of the key %s", certs, tokens.keyID)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	signed, signature, _ := cutLast(text, ".")
	raw, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil {
		t.Fatal(err)
	}
	if err := cert.CheckSignature(x509.SHA256WithRSA, []byte(signed), raw); err != nil {
		t.Errorf("a token isn't signed with the certificate's key: %v", err)
	}
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
