package cloudtasks_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
)

// verify checks a token as a stranger would, with what discovery leads to.
func (e *env) verify(token string) (claims map[string]any) {
	t := e.t
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: e.net.DialContext, DisableKeepAlives: true}}
	fetch := func(url string, into any) {
		t.Helper()
		response, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != 200 {
			t.Fatal(response.Status, string(text), err)
		}
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	var discovery struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	fetch("http://"+address+"/.well-known/openid-configuration", &discovery)
	var set struct {
		Keys []struct{ Kty, Alg, Kid, N, E string }
	}
	fetch(discovery.Keys, &set)
	decode := func(s string) []byte {
		t.Helper()
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("token %q", token)
	}
	var header struct{ Alg, Kid, Typ string }
	if err := json.Unmarshal(decode(parts[0]), &header); err != nil {
		t.Fatal(err)
	}
	if header.Alg != "RS256" || len(set.Keys) != 1 || set.Keys[0].Kid != header.Kid || set.Keys[0].Kty != "RSA" {
		t.Fatalf("header %+v, keys %+v", header, set)
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(decode(set.Keys[0].N)), E: int(new(big.Int).SetBytes(decode(set.Keys[0].E)).Int64())}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], decode(parts[2])); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(decode(parts[1]), &claims); err != nil {
		t.Fatal(err)
	}
	if claims["iss"] != discovery.Issuer {
		t.Errorf("iss %v, discovery says %v", claims["iss"], discovery.Issuer)
	}
	return claims
}

func withToken(audience string) *cloudtaskspb.Task {
	task := post("")
	task.GetHttpRequest().Headers = map[string]string{"authorization": "Basic ignored"}
	task.GetHttpRequest().AuthorizationHeader = &cloudtaskspb.HttpRequest_OidcToken{
		OidcToken: &cloudtaskspb.OidcToken{ServiceAccountEmail: "pusher@p.iam.gserviceaccount.com", Audience: audience},
	}
	return task
}

func TestIdentityTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		worker := &recorder{}
		dir := t.TempDir()
		e := start(t, &cloudtasks.Options{Dir: dir}, worker)
		e.queue(nil)
		began := time.Now()
		e.create(withToken("https://audience.example"))
		synctest.Wait()
		time.Sleep(49 * time.Minute)
		e.create(withToken("https://audience.example"))
		synctest.Wait()
		time.Sleep(time.Minute)
		e.create(withToken("https://audience.example"))
		synctest.Wait()
		e.create(withToken(""))
		synctest.Wait()

		var tokens []string
		for _, h := range worker.headers() {
			if len(h.Values("Authorization")) != 1 {
				t.Errorf("Authorization: %q", h.Values("Authorization"))
			}
			token, ok := strings.CutPrefix(h.Get("Authorization"), "Bearer ")
			if !ok {
				t.Fatalf("Authorization: %q", h.Get("Authorization"))
			}
			tokens = append(tokens, token)
		}
		if len(tokens) != 4 {
			t.Fatalf("%d deliveries, want 4", len(tokens))
		}
		if tokens[0] != tokens[1] {
			t.Error("the token isn't used again within 50 minutes")
		}
		if tokens[1] == tokens[2] {
			t.Error("the token is used for longer than 50 minutes")
		}
		claims := e.verify(tokens[0])
		for claim, want := range map[string]any{
			"iss": "https://accounts.google.com", "aud": "https://audience.example",
			"email": "pusher@p.iam.gserviceaccount.com", "email_verified": true,
			"iat": float64(began.Unix()), "exp": float64(began.Add(time.Hour).Unix()),
			"azp": claims["sub"],
		} {
			if claims[claim] != want {
				t.Errorf("claim %s is %v, want %v", claim, claims[claim], want)
			}
		}
		if aud := e.verify(tokens[3])["aud"]; aud != target {
			t.Errorf("audience %v, want the URL of the target", aud)
		}

		// The key lives in the data folder.
		if err := e.server.Close(); err != nil {
			t.Fatal(err)
		}
		e.open(&cloudtasks.Options{Dir: dir, Transport: &http.Transport{DialContext: e.net.DialContext}})
		e.verify(tokens[0])
	})
}

func TestAccessTokensAreOpaque(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		worker := &recorder{}
		e := start(t, nil, worker)
		e.queue(nil)
		for _, scope := range []string{"", "https://www.googleapis.com/auth/cloud-platform", "other"} {
			task := post("")
			task.GetHttpRequest().AuthorizationHeader = &cloudtaskspb.HttpRequest_OauthToken{
				OauthToken: &cloudtaskspb.OAuthToken{ServiceAccountEmail: "a@b", Scope: scope},
			}
			e.create(task)
			synctest.Wait()
		}
		var got []string
		for _, h := range worker.headers() {
			got = append(got, h.Get("Authorization"))
		}
		if len(got) != 3 || got[0] != got[1] || got[1] == got[2] || !strings.HasPrefix(got[0], "Bearer ya29.") {
			t.Errorf("tokens %q", got)
		}
	})
}
