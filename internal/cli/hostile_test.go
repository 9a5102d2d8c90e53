package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchwork/latchwork/emulator/emulatortest"
	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/handlers/auth"
	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/memlock/memlocktest"
	"github.com/latchwork/latchwork/tasks"
	"github.com/latchwork/latchwork/tasks/taskstest"
)

const (
	hostileAudience = "https://worker.example.com"
	hostileEmail    = "worker@my-project.iam.gserviceaccount.com"

	// What a verified caller gets: the task is of a class that this worker lacks.
	accepted = http.StatusNotFound
	refused  = http.StatusForbidden
)

// Strangers at the running worker, in each mode and on each platform: an answer at
// once, although they never send the body that they announce, and no token in any
// log.
func TestHostileCallers(t *testing.T) {
	google := newForger(t)
	good := google.token(nil, nil)
	head, signature := good[:strings.LastIndex(good, ".")+1], good[strings.LastIndex(good, ".")+1:]
	stripped := head + "SIGNATURE_REMOVED_BY_GOOGLE"
	bearer := func(token string) string { return "Authorization: Bearer " + token }
	claim := func(name string, value any) string { return bearer(google.token(nil, map[string]any{name: value})) }
	const spoofed = "X-CloudTasks-QueueName: default\r\nX-CloudTasks-TaskName: t\r\nX-AppEngine-QueueName: default\r\n" +
		"X-AppEngine-TaskName: t\r\nX-Appengine-Cron: true\r\nX-CloudScheduler: true\r\nUser-Agent: Google-Cloud-Tasks"

	const oidc, iam, gae = "oidc", "cloud-run-iam", "app-engine"
	for _, tt := range []struct {
		name, headers string
		path          string         // "" is a task's
		want          map[string]int // by mode; what is not named is refused
	}{
		{name: "a good token", headers: bearer(good), want: map[string]int{oidc: accepted, iam: accepted}},
		{name: "a good token, header and scheme in odd case", headers: "aUTHORIZATION: bEARER " + good, want: map[string]int{oidc: accepted, iam: accepted}},
		{name: "Cloud Run's stripped signature", headers: bearer(stripped), want: map[string]int{iam: accepted}},
		{name: "a stranger's signature", headers: bearer(newForger(t).token(nil, nil)), want: map[string]int{iam: accepted}}, // Cloud Run has judged it
		{name: "the good signature under other claims", headers: bearer(swapClaims(good)), want: map[string]int{iam: accepted}},
		{name: "a listed queue of App Engine", headers: "X-AppEngine-QueueName: default", want: map[string]int{gae: accepted}},

		{name: "no header at all"},
		{name: "all of the platforms' headers", headers: spoofed, want: map[string]int{gae: accepted}},
		{name: "all of them, and a bad token", headers: spoofed + "\r\n" + claim("aud", "https://other.example"), want: map[string]int{gae: accepted}},
		{name: "Cloud Tasks' headers", headers: "X-CloudTasks-QueueName: default\r\nX-CloudTasks-TaskRetryCount: 0"},
		{name: "an unlisted queue", headers: "X-AppEngine-QueueName: other"},
		{name: "a queue in odd case", headers: "X-AppEngine-QueueName: DEFAULT"},
		{name: "two queues", headers: "X-AppEngine-QueueName: default\r\nX-Appengine-Queuename: default"},
		{name: "two queues in one header", headers: "X-AppEngine-QueueName: default, default"},
		{name: "underscores for hyphens", headers: "X_AppEngine_QueueName: default"},
		{name: "cron pushes a task", headers: "X-Appengine-Cron: true"},
		{name: "cron sweeps", path: handlers.SweepPath, headers: "X-Appengine-Cron: true", want: map[string]int{gae: http.StatusOK}},
		{name: "cron twice", path: handlers.SweepPath, headers: "X-Appengine-Cron: true\r\nX-Appengine-Cron: true"},
		{name: "cron in odd case", path: handlers.SweepPath, headers: "X-Appengine-Cron: True"},
		{name: "the scheduler without a token", path: handlers.SweepPath, headers: "X-CloudScheduler: true\r\nX-CloudScheduler-JobName: sweep"},

		{name: "alg none", headers: bearer(google.forge(`{"alg":"none","kid":"k"}`) + ".")},
		{name: "alg none, signed", headers: bearer(google.token(map[string]any{"alg": "none"}, nil))},
		{name: "HS256 with the public key", headers: bearer(google.hs256())},
		{name: "ES256", headers: bearer(google.es256(t))},
		{name: "ES256 with a short signature", headers: bearer(google.forge(`{"alg":"ES256","kid":"k"}`) + ".AAAA")},
		{name: "null header", headers: bearer(b64url([]byte("null")) + "." + strings.Split(good, ".")[1] + "." + signature)},
		{name: "null payload", headers: bearer(strings.Split(good, ".")[0] + "." + b64url([]byte("null")) + "." + signature)},
		{name: "expired", headers: claim("exp", bubbleTime.Add(-time.Second).Unix())},
		{name: "issued in the future", headers: claim("iat", bubbleTime.Add(24*time.Hour).Unix())},
		{name: "wrong audience", headers: claim("aud", "https://other.example")},
		{name: "audience with a path", headers: claim("aud", hostileAudience+"/")},
		{name: "wrong issuer", headers: claim("iss", "https://evil.example")},
		{name: "wrong email", headers: claim("email", "mallory@evil.example")},
		{name: "email not verified", headers: claim("email_verified", false)},
		{name: "no signature", headers: bearer(strings.TrimSuffix(head, "."))},
		{name: "empty signature", headers: bearer(head)},
		{name: "the token in upper case", headers: bearer(strings.ToUpper(good))},
		{name: "two Authorization headers", headers: bearer(good) + "\r\n" + bearer(good)},
		{name: "two, the first of them empty", headers: "Authorization:\r\n" + bearer(good)},
		{name: "two tokens in one header", headers: bearer(good) + ", Bearer " + good},
		{name: "the token in another header", headers: "X-Serverless-Authorization: Bearer " + good + "\r\nProxy-Authorization: Bearer " + good},
		{name: "verified under another header", headers: "X-Serverless-Authorization: Bearer " + good + "\r\n" + bearer(good), want: map[string]int{oidc: accepted}},
		{name: "basic", headers: "Authorization: Basic " + good},
		{name: "a huge token", headers: bearer(good + strings.Repeat("A", 20<<10))},
		{name: "huge headers", headers: "X-Padding: " + strings.Repeat("A", 128<<10) + "\r\n" + bearer(good), want: map[string]int{
			oidc: http.StatusRequestHeaderFieldsTooLarge, iam: http.StatusRequestHeaderFieldsTooLarge, gae: http.StatusRequestHeaderFieldsTooLarge,
		}},
	} {
		for _, mode := range []string{oidc, iam, gae} {
			t.Run(mode+"/"+tt.name, func(t *testing.T) {
				want, named := tt.want[mode]
				if !named {
					want = refused
				}
				synctest.Test(t, func(t *testing.T) {
					w := startHostile(t, mode, google)
					path, body := tt.path, w.body
					if path == "" {
						path = handlers.TasksPath + "absent"
					}
					if want >= http.StatusBadRequest && want != accepted {
						body = nil // announced, and never sent
					}
					start := time.Now()
					if status := w.post(t, path, tt.headers, body); status != want {
						t.Errorf("answer %d, want %d", status, want)
					}
					if took := time.Since(start); took > time.Second { // fake time: nothing was waited for
						t.Errorf("the answer took %v: the body was waited for", took)
					}
					w.stop()
					if log := w.log.String(); strings.Contains(log, signature) || strings.Contains(log, good[:60]) {
						t.Errorf("the token is in the log:\n%s", log)
					}
				})
			})
		}
	}
}

// hostileWorker is the worker as `serve` runs it, over an in-memory network.
type hostileWorker struct {
	*emulatortest.Env
	body []byte // of a task whose class nobody has
	log  lockedBuffer
	stop func()
}

func startHostile(t *testing.T, mode string, google *forger) *hostileWorker {
	t.Helper()
	w := &hostileWorker{Env: emulatortest.Start(t, nil)}
	var queue taskstest.Queue
	client, err := tasks.NewClient(w.Datastore, &queue, &tasks.ClientOptions{Project: "p", Location: "l", URL: hostileAudience})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tasks.NewClass[string]("absent", nil).Enqueue(t.Context(), client, "x", nil); err != nil {
		t.Fatal(err)
	}
	w.body = queue.Tasks("absent")[0].Request.GetTask().GetHttpRequest().GetBody()

	hs := []tasks.Handler{tasks.NewClass[string]("present", nil).Handle(func(context.Context, string) error { return nil })}
	log := slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	server, err := handlers.New(client, memlock.New(memlocktest.NewStore(), nil), google.verifier(t, mode, hs), hs, &handlers.Options{Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := w.Net.Listen("worker.example.com:80")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- (&worker{server: server, log: log}).serve(ctx, listener, 10*time.Second) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the worker ended with %v", err)
		}
	})
	t.Cleanup(w.stop)
	return w
}

// post sends a request whose body follows only if it is given, and returns the
// status of the answer.
func (w *hostileWorker) post(t *testing.T, path, headers string, body []byte) int {
	t.Helper()
	conn, err := w.Net.DialContext(t.Context(), "tcp", "worker.example.com:80")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if headers != "" {
		headers += "\r\n"
	}
	length := len(body)
	if body == nil {
		length = 1000
	}
	// A server that has seen enough doesn't read the rest.
	_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: worker.example.com\r\nContent-Length: %d\r\n%s\r\n%s", path, length, headers, body)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A forger signs tokens with a key of its own. It serves that key as Google
// would, so that it is Google for the worker that is told to ask it.
type forger struct{ key *rsa.PrivateKey }

func newForger(t *testing.T) *forger {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return &forger{key}
}

// verifier is what `serve` makes for the mode; in mode oidc, with our keys in the
// place of Google's.
func (f *forger) verifier(t *testing.T, mode string, hs []tasks.Handler) handlers.Verifier {
	t.Helper()
	var v handlers.Verifier
	var err error
	s := services{Target: "http", WorkerURL: hostileAudience, ServiceAccount: hostileEmail}
	env := map[string]string{"K_SERVICE": "worker"}
	switch mode {
	case "oidc":
		v, err = auth.NewOIDC(&auth.OIDCOptions{
			Audiences: []string{hostileAudience}, Emails: []string{hostileEmail}, JWKSURL: "http://google.example/certs",
			HTTPClient: &http.Client{Transport: f}, Getenv: func(string) string { return "" },
		})
	case "app-engine":
		s.Target, env = "appengine", map[string]string{"GAE_ENV": "standard"}
		fallthrough
	default:
		v, err = s.verifier(mode, func(name string) string { return env[name] }, hs)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// RoundTrip serves the public key.
func (f *forger) RoundTrip(*http.Request) (*http.Response, error) {
	keys, err := json.Marshal(map[string]any{"keys": []any{map[string]string{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "k",
		"n": b64url(f.key.N.Bytes()), "e": b64url(big.NewInt(int64(f.key.E)).Bytes()),
	}}})
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(keys))}, err
}

func b64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// bubbleTime is when the clock of a synctest bubble starts.
var bubbleTime = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// token is Google's, with these changes.
func (f *forger) token(header, claims map[string]any) string {
	h := map[string]any{"alg": "RS256", "kid": "k", "typ": "JWT"}
	c := map[string]any{
		"iss": "https://accounts.google.com", "aud": hostileAudience, "email": hostileEmail, "email_verified": true, "sub": "1", "azp": "1",
		"iat": bubbleTime.Unix(), "exp": bubbleTime.Add(time.Hour).Unix(),
	}
	maps.Copy(h, header)
	maps.Copy(c, claims)
	signed := segment(h) + "." + segment(c)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(nil, f.key, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return signed + "." + b64url(signature)
}

func segment(v map[string]any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b64url(text)
}

// forge is an unsigned token with good claims under a header.
func (f *forger) forge(header string) string {
	return b64url([]byte(header)) + "." + strings.Split(f.token(nil, nil), ".")[1]
}

func (f *forger) hs256() string {
	signed := f.forge(`{"alg":"HS256","kid":"k"}`)
	mac := hmac.New(sha256.New, x509.MarshalPKCS1PublicKey(&f.key.PublicKey))
	mac.Write([]byte(signed))
	return signed + "." + b64url(mac.Sum(nil))
}

func (f *forger) es256(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signed := f.forge(`{"alg":"ES256","kid":"k"}`)
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + b64url(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

// swapClaims gives a token another subject under its old signature.
func swapClaims(token string) string {
	parts := strings.Split(token, ".")
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		panic(err)
	}
	parts[1] = b64url(bytes.Replace(claims, []byte(`"sub":"1"`), []byte(`"sub":"2"`), 1))
	return strings.Join(parts, ".")
}
