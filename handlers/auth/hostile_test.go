package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// hostile are requests that must be refused, by name, with a part of the
// error. Those with signed set differ from an accepted token by their signature
// alone, which Cloud Run's mode doesn't see.
type hostile struct {
	name   string
	token  string
	want   string
	signed bool
}

func hostileTokens(i *testIssuer) []hostile {
	signed := func(header string) string { return i.sign("k1", header, payload(nil)) }
	claim := func(name string, value any) string {
		return i.sign("k1", goodHeader, payload(map[string]any{name: value}))
	}
	raw := func(header, payload, signature string) string {
		return b64([]byte(header)) + "." + b64([]byte(payload)) + "." + signature
	}
	now := time.Now()
	good := i.good()
	head, rest, _ := strings.Cut(good, ".")
	body, signature, _ := strings.Cut(rest, ".")
	padded := base64.URLEncoding.EncodeToString([]byte(goodHeader))

	return []hostile{
		{name: "alg none", token: raw(`{"alg":"none","kid":"k1"}`, payload(nil), ""), want: `algorithm is "none"`},
		{name: "alg none with a signature", token: signed(`{"alg":"none","kid":"k1"}`), want: `algorithm is "none"`},
		{name: "alg in lower case", token: signed(`{"alg":"rs256","kid":"k1"}`), want: `algorithm is "rs256"`},
		{name: "alg missing", token: signed(`{"kid":"k1"}`), want: `no "alg"`},
		{name: "alg null", token: signed(`{"alg":null,"kid":"k1"}`), want: `"alg"`},
		{name: "alg a number", token: signed(`{"alg":256,"kid":"k1"}`), want: `"alg"`},
		{name: "HS256 with the public key", token: hs256(i), want: `algorithm is "HS256"`},
		{name: "ES256 with a short signature", token: raw(`{"alg":"ES256","kid":"k1"}`, payload(nil), "AAAA"), want: `algorithm is "ES256"`},
		{name: "two algs", token: raw(`{"alg":"RS256","kid":"k1","alg":"ES256"}`, payload(nil), "AAAA"), want: "both"},
		{name: "two algs that differ in case", token: raw(`{"alg":"RS256","kid":"k1","aLg":"ES256"}`, payload(nil), "AAAA"), want: "both"},
		{name: "two kids by Unicode folding", token: signed(`{"alg":"RS256","kid":"k1","\u212aid":"k2"}`), want: "both"},
		{name: "critical extension", token: signed(`{"alg":"RS256","kid":"k1","crit":["b64"],"b64":false}`), want: "crit"},
		{name: "an access token's type", token: signed(`{"alg":"RS256","kid":"k1","typ":"at+jwt"}`), want: "type"},

		{name: "null header", token: raw(`null`, payload(nil), signature), want: "header"},
		{name: "null payload", token: raw(goodHeader, `null`, signature), want: "payload"},
		{name: "array header", token: raw(`["RS256"]`, payload(nil), signature), want: "header"},
		{name: "string payload", token: raw(goodHeader, `"hello"`, signature), want: "payload"},
		{name: "empty header", token: "." + body + "." + signature, want: "header"},
		{name: "empty payload", token: head + ".." + signature, want: "payload"},
		{name: "empty objects", token: raw(`{}`, `{}`, signature), want: `no "alg"`},
		{name: "header cut off", token: raw(`{"alg":"RS256"`, payload(nil), signature), want: "header"},
		{name: "something behind the header", token: raw(goodHeader+`{}`, payload(nil), signature), want: "behind"},
		{name: "a thousand claims", token: raw(goodHeader, manyMembers(), signature), want: "members"},
		{name: "deep nesting", token: raw(goodHeader, `{"x":`+strings.Repeat("[", 5000), signature), want: "payload"},

		{name: "missing kid", token: signed(`{"alg":"RS256"}`), want: `no "kid"`},
		{name: "empty kid", token: signed(`{"alg":"RS256","kid":""}`), want: "names no key"},
		{name: "null kid", token: signed(`{"alg":"RS256","kid":null}`), want: `"kid"`},
		{name: "unknown kid", token: signed(`{"alg":"RS256","kid":"k9"}`), want: "key", signed: true},

		{name: "wrong audience", token: claim("aud", "https://other.example"), want: `audience "https://other.example"`},
		{name: "audience with a query", token: claim("aud", audience+"?x=1"), want: "audience"},
		{name: "empty audience", token: claim("aud", ""), want: "audience"},
		{name: "missing audience", token: claim("aud", nil), want: `"aud"`},
		{name: "a list of audiences", token: claim("aud", []string{audience}), want: `"aud"`},
		{name: "wrong issuer", token: claim("iss", "https://evil.example"), want: "issuer"},
		{name: "issuer without scheme", token: claim("iss", "accounts.google.com"), want: "issuer"},
		{name: "missing issuer", token: claim("iss", nil), want: `"iss"`},
		{name: "wrong email", token: claim("email", "mallory@evil.example"), want: `email "mallory@evil.example"`},
		{name: "email in other case", token: claim("email", strings.ToUpper(email)), want: "email"},
		{name: "missing email", token: claim("email", nil), want: `"email"`},
		{name: "unverified email", token: claim("email_verified", false), want: "not verified"},
		{name: "email_verified as text", token: claim("email_verified", "true"), want: `"email_verified"`},
		{name: "missing email_verified", token: claim("email_verified", nil), want: `"email_verified"`},
		{name: "expired", token: claim("exp", now.Add(-time.Second).Unix()), want: "expired"},
		{name: "expiring now", token: claim("exp", now.Unix()), want: "expired"},
		{name: "exp as text", token: claim("exp", "9999999999"), want: `"exp"`},
		{name: "exp with a fraction", token: raw(goodHeader, strings.Replace(payload(nil), `"exp":`, `"exp":1e3,"x":`, 1), signature), want: `"exp"`},
		{name: "exp beyond int64", token: raw(goodHeader, strings.Replace(payload(nil), `"exp":`, `"exp":99999999999999999999,"x":`, 1), signature), want: `"exp"`},
		{name: "missing exp", token: claim("exp", nil), want: `"exp"`},
		{name: "missing iat", token: claim("iat", nil), want: `"iat"`},
		{name: "issued in the future", token: claim("iat", now.Add(2*time.Minute).Unix()), want: "future"},
		{name: "not yet valid", token: claim("nbf", now.Add(2*time.Minute).Unix()), want: "not valid before"},

		{name: "a stranger's key", token: strangersKey(i), want: "signature", signed: true},
		{name: "another token's signature", token: head + "." + body + "." + otherSignature(i), want: "signature", signed: true},
		{name: "signature removed", token: head + "." + body + "." + signatureRemoved, want: "signature", signed: true},
		{name: "signature cut short", token: good[:len(good)-10], want: "signature", signed: true},
		{name: "empty signature", token: head + "." + body + ".", want: "no signature"},
		{name: "signature with stray bits", token: strayBits(good), want: "base64"},
		{name: "signature with line breaks", token: good + "\n", want: "base64"},

		{name: "huge", token: good + strings.Repeat("A", maxToken), want: "at most 8192"},
		{name: "garbage base64", token: "!!!.###.$$$", want: "header"},
		{name: "padded base64", token: padded + "." + body + "." + signature, want: "header"},
		{name: "standard base64 alphabet", token: "+/+/." + body + "." + signature, want: "header"},
		{name: "no dots", token: head, want: "this one has 1"},
		{name: "one dot", token: head + "." + body, want: "this one has 2"},
		{name: "three dots", token: good + ".x", want: "this one has 4"},
		{name: "two spaces in the token", token: "x " + good, want: "header"},
	}
}

func hs256(i *testIssuer) string {
	public := x509.MarshalPKCS1PublicKey(&i.keys["k1"].PublicKey)
	signed := b64([]byte(`{"alg":"HS256","kid":"k1"}`)) + "." + b64([]byte(payload(nil)))
	mac := hmac.New(sha256.New, public)
	mac.Write([]byte(signed))
	return signed + "." + b64(mac.Sum(nil))
}

func strangersKey(*testIssuer) string {
	stranger := newIssuer()
	stranger.keys["k1"] = testKeys()[1]
	return stranger.good()
}

func otherSignature(i *testIssuer) string {
	other := i.sign("k1", goodHeader, payload(map[string]any{"sub": "another"}))
	return other[strings.LastIndex(other, ".")+1:]
}

// strayBits changes the bits of the last character that encode nothing: a lax
// decoder reads the same signature.
func strayBits(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[last|1])
}

func manyMembers() string {
	var b strings.Builder
	b.WriteString("{")
	for n := range 100 {
		b.WriteString(`"c` + strings.Repeat("x", n) + `":1,`)
	}
	return b.String() + `"end":1}`
}

func TestHostileTokensAreRefused(t *testing.T) {
	testKeys()
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		for mode, v := range verifiers(t, i) {
			for _, h := range hostileTokens(i) {
				_, err := v.Verify(request(t, h.token))
				if err == nil {
					t.Errorf("%s: %s: accepted", mode, h.name)
					continue
				}
				if !strings.Contains(err.Error(), h.want) {
					t.Errorf("%s: %s: the error is %q; it must contain %q", mode, h.name, err, h.want)
				}
				if len(h.token) > 100 && strings.Contains(err.Error(), h.token[:100]) {
					t.Errorf("%s: %s: the error repeats the token", mode, h.name)
				}
			}
			// The verifier is still in order, and the base token was good.
			if _, err := v.Verify(request(t, i.good())); err != nil {
				t.Errorf("%s: a good token behind the hostile ones: %v", mode, err)
			}
		}
	})
}

func TestHostileTokensAreRefusedBehindCloudRun(t *testing.T) {
	testKeys()
	synctest.Test(t, func(t *testing.T) {
		i, v := newIssuer(), cloudRun(t)
		for _, h := range hostileTokens(i) {
			_, err := v.Verify(request(t, h.token))
			switch {
			case h.signed && err != nil:
				t.Errorf("%s: refused, though only the platform judges signatures: %v", h.name, err)
			case !h.signed && err == nil:
				t.Errorf("%s: accepted", h.name)
			case !h.signed && !strings.Contains(err.Error(), h.want):
				t.Errorf("%s: the error is %q; it must contain %q", h.name, err, h.want)
			}
		}
	})
}

func TestHostileHeadersAreRefused(t *testing.T) {
	i := newIssuer()
	good := i.good()
	tests := map[string]struct {
		headers []string
		want    string
	}{
		"none":                            {nil, "no Authorization"},
		"empty":                           {[]string{""}, "form"},
		"scheme alone":                    {[]string{"Bearer"}, "form"},
		"scheme and blanks":               {[]string{"Bearer   "}, "empty"},
		"token alone":                     {[]string{good}, "form"},
		"basic":                           {[]string{"Basic " + good}, "form"},
		"tab":                             {[]string{"Bearer\t" + good}, "form"},
		"duplicate":                       {[]string{"Bearer " + good, "Bearer " + good}, "2 Authorization"},
		"duplicate, the second is no JWT": {[]string{"Bearer " + good, "Basic x"}, "2 Authorization"},
		"joined by a comma":               {[]string{"Bearer " + good + ", Bearer " + good}, "segments"},
		"trailing blank":                  {[]string{"Bearer " + good + " "}, "base64"},
	}
	for mode, v := range verifiers(t, i) {
		for name, test := range tests {
			t.Run(mode+"/"+name, func(t *testing.T) {
				r := request(t, "")
				r.Header["Authorization"] = test.headers
				_, err := v.Verify(r)
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("the error is %v; it must contain %q", err, test.want)
				}
			})
		}
	}
	if i.fetched() != 0 {
		t.Errorf("%d key fetches for requests without a plausible token", i.fetched())
	}
}

// A queue's own headers come with every forged request as well.
func TestTasksHeadersAreNoProof(t *testing.T) {
	for mode, v := range verifiers(t, newIssuer()) {
		r := request(t, "")
		r.Header = http.Header{
			"X-Cloudtasks-Queuename": {"default"}, "X-Appengine-Queuename": {"default"},
			"X-Appengine-Cron": {"true"}, "X-Cloudscheduler": {"true"}, "User-Agent": {"Google-Cloud-Tasks"},
		}
		if c, err := v.Verify(r); err == nil {
			t.Errorf("%s: accepted as %+v", mode, c)
		}
	}
}
