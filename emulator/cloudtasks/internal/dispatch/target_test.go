package dispatch

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	pb "cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/protobuf/proto"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/engine"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/identity"
)

func TestURLOverrides(t *testing.T) {
	scheme := func(s pb.UriOverride_Scheme) *pb.UriOverride { return &pb.UriOverride{Scheme: &s} }
	host := func(h string) *pb.UriOverride { return &pb.UriOverride{Host: &h} }
	port := func(p int64) *pb.UriOverride { return &pb.UriOverride{Port: &p} }
	path := func(p string) *pb.UriOverride { return &pb.UriOverride{PathOverride: &pb.PathOverride{Path: p}} }
	query := func(q string) *pb.UriOverride {
		return &pb.UriOverride{QueryOverride: &pb.QueryOverride{QueryParams: q}}
	}
	absent := func(os ...*pb.UriOverride) *pb.UriOverride {
		all := new(pb.UriOverride)
		for _, o := range os {
			proto.Merge(all, o)
		}
		all.UriOverrideEnforceMode = pb.UriOverride_IF_NOT_EXISTS
		return all
	}
	const full = "http://task.example:81/a/b?x=1"
	for _, tt := range []struct {
		name     string
		url      string
		override *pb.UriOverride
		want     string // "" is an error
	}{
		{"none", full, nil, full},
		{"empty", full, new(pb.UriOverride), full},
		{"scheme", full, scheme(pb.UriOverride_HTTPS), "https://task.example:81/a/b?x=1"},
		{"the other scheme", "https://h/", scheme(pb.UriOverride_HTTP), "http://h/"},
		{"no scheme", full, scheme(pb.UriOverride_SCHEME_UNSPECIFIED), full},
		{"host", full, host("queue.example"), "http://queue.example:81/a/b?x=1"},
		{"host without a port", "http://h/p", host("queue.example"), "http://queue.example/p"},
		{"IPv6 host", "http://h/p", host("::1"), "http://[::1]/p"},
		{"IPv6 host with port", "http://h:1/p", host("[::1]"), "http://[::1]:1/p"},
		{"port", full, port(8080), "http://task.example:8080/a/b?x=1"},
		{"port 0 clears", full, port(0), "http://task.example/a/b?x=1"},
		{"port 0 of an IPv6 host", "http://[::1]:5/", port(0), "http://[::1]/"},
		{"path", full, path("/q"), "http://task.example:81/q?x=1"},
		{"path without a slash", full, path("q"), "http://task.example:81/q?x=1"},
		{"path with escapes", full, path("/q%2Fr s"), "http://task.example:81/q%2Fr%20s?x=1"},
		{"path with a bad escape", full, path("/q%zz?"), "http://task.example:81/q%25zz%3F?x=1"},
		{"no path", full, path(""), "http://task.example:81?x=1"},
		{"query", full, query("y=2"), "http://task.example:81/a/b?y=2"},
		{"no query", full, query(""), "http://task.example:81/a/b"},
		{"query with a space", full, query("y=a b"), "http://task.example:81/a/b?y=a%20b"},
		{"nothing is missing", full, absent(scheme(pb.UriOverride_HTTPS), host("h"), port(1), path("p"), query("q")), full},
		{"all but host is missing", "http://h", absent(host("g"), port(1), path("p"), query("q")), "http://h:1/p?q"},
		{"the root is no path", "http://h/", absent(path("p")), "http://h/p"},
		{"no URL", "", &pb.UriOverride{Host: new("h")}, "https://h"},
		{"no URL, if missing", "", absent(host("h"), scheme(pb.UriOverride_HTTP), port(1), path("p")), "http://h:1/p"},
		{"no host anywhere", "", port(1), ""},
		{"a URL that can't be parsed", "http://example.com/%zz", path("fine"), ""},
		{"characters that aren't a URL's", "http://h/ä b?ö \"<>", nil, "http://h/%C3%A4%20b?%C3%B6%20%22%3C%3E"},
		{"fragment", "http://h/p#part", nil, "http://h/p"},
	} {
		u, text, err := targetURL(tt.url, tt.override)
		if tt.want == "" {
			if err == nil {
				t.Errorf("%s: %v", tt.name, u)
			}
			continue
		}
		if err != nil || u.String() != tt.want {
			t.Errorf("%s: %v, %v; want %s", tt.name, u, err, tt.want)
		}
		if tt.override == nil && text != tt.url {
			t.Errorf("%s: as an audience %q, want it unchanged", tt.name, text)
		}
	}
}

func FuzzTargetURL(f *testing.F) {
	f.Add("http://h:1/p?q#f", "g", int64(1), "a/b", "x=y", true)
	f.Add("http://h/%zz", "", int64(-1), "%", " ", false)
	f.Add("http://[::1]:80", "::2", int64(1<<40), "//", "\x00", false)
	f.Fuzz(func(t *testing.T, text, host string, port int64, path, query string, missing bool) {
		o := &pb.UriOverride{
			Host: &host, Port: &port,
			PathOverride: &pb.PathOverride{Path: path}, QueryOverride: &pb.QueryOverride{QueryParams: query},
		}
		if missing {
			o.UriOverrideEnforceMode = pb.UriOverride_IF_NOT_EXISTS
		}
		for _, o := range []*pb.UriOverride{nil, o} {
			u, _, err := targetURL(text, o)
			if err == nil && strings.ContainsAny(u.RequestURI(), " \r\n") {
				t.Errorf("%q and %v make the request line %q", text, o, u.RequestURI())
			}
		}
	})
}

// A tripper answers without a network, and keeps the last request.
type tripper struct {
	last *http.Request
	body string
	then *http.Response
}

func (tr *tripper) RoundTrip(r *http.Request) (*http.Response, error) {
	tr.last = r
	b, err := io.ReadAll(r.Body)
	tr.body = string(b)
	if tr.then != nil {
		return tr.then, err
	}
	return &http.Response{StatusCode: 200, Body: http.NoBody}, err
}

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func deliver(t *testing.T, d *Dispatcher, q *pb.Queue, task *pb.Task) (*tripper, engine.Result) {
	t.Helper()
	tr := &tripper{}
	if set, ok := d.Transport.(*tripper); ok {
		tr = set
	}
	d.Transport, d.Logger = tr, slog.New(slog.DiscardHandler)
	return tr, d.Deliver(t.Context(), &engine.Delivery{
		Queue: "projects/p/locations/l/queues/q", QueueSpec: marshal(t, q), ID: "t", Spec: marshal(t, task), Attempt: 1,
	})
}

func httpTask(r *pb.HttpRequest) *pb.Task {
	return &pb.Task{MessageType: &pb.Task_HttpRequest{HttpRequest: r}}
}

func header(name, value string) *pb.HttpTarget_HeaderOverride {
	return &pb.HttpTarget_HeaderOverride{Header: &pb.HttpTarget_Header{Key: name, Value: value}}
}

func TestQueueTargetOverridesTheTask(t *testing.T) {
	d := &Dispatcher{Tokens: identity.New("")}
	task := httpTask(&pb.HttpRequest{
		Url: "http://task.example/work?a=b", Body: []byte("payload"), HttpMethod: pb.HttpMethod_POST,
		Headers: map[string]string{"x-Own": "task", "X-Kept": "task", "authorization": "own"},
		AuthorizationHeader: &pb.HttpRequest_OauthToken{
			OauthToken: &pb.OAuthToken{ServiceAccountEmail: "task@example.com"}},
	})
	host := "queue.example"
	queue := &pb.Queue{HttpTarget: &pb.HttpTarget{
		UriOverride: &pb.UriOverride{Host: &host},
		HttpMethod:  pb.HttpMethod_GET,
		HeaderOverrides: []*pb.HttpTarget_HeaderOverride{
			header("X-OWN", "queue"), header("X-New", "queue"), header("Content-Length", "7"), header("X-CloudTasks-QueueName", "other"),
		},
		AuthorizationHeader: &pb.HttpTarget_OidcToken{
			OidcToken: &pb.OidcToken{ServiceAccountEmail: "queue@example.com", Audience: "aud"}},
	}}
	tr, result := deliver(t, d, queue, task)
	if !result.Done || tr.last.URL.String() != "http://queue.example/work?a=b" || tr.last.Host != host || tr.last.Method != "GET" || tr.body != "" {
		t.Errorf("%+v for %s %s (host %s) with %q", result, tr.last.Method, tr.last.URL, tr.last.Host, tr.body)
	}
	want := map[string]string{"X-OWN": "queue", "X-New": "queue", "X-Kept": "task", "X-CloudTasks-QueueName": "q", "x-Own": "", "authorization": "", "Content-Length": ""}
	for name, value := range want {
		if got := strings.Join(tr.last.Header[name], ","); got != value {
			t.Errorf("header %s is %q, want %q", name, got, value)
		}
	}
	oidc, err := d.Tokens.OIDC("queue@example.com", "aud")
	if got := tr.last.Header["Authorization"]; err != nil || len(got) != 1 || got[0] != "Bearer "+oidc {
		t.Errorf("Authorization %q, want the queue's token", got)
	}

	// Without a token of the queue the task's counts; its audience is the URL in effect.
	queue.HttpTarget.AuthorizationHeader = nil
	queue.HttpTarget.HttpMethod = pb.HttpMethod_PATCH
	task.GetHttpRequest().AuthorizationHeader = &pb.HttpRequest_OidcToken{OidcToken: &pb.OidcToken{ServiceAccountEmail: "task@example.com"}}
	tr, _ = deliver(t, d, queue, task)
	oidc, err = d.Tokens.OIDC("task@example.com", "http://queue.example/work?a=b")
	if got := tr.last.Header["Authorization"]; err != nil || len(got) != 1 || got[0] != "Bearer "+oidc {
		t.Errorf("Authorization %q, want the task's token", got)
	}
	if tr.last.Method != "PATCH" || tr.body != "payload" {
		t.Errorf("%s with %q", tr.last.Method, tr.body)
	}
	queue.HttpTarget.AuthorizationHeader = &pb.HttpTarget_OauthToken{OauthToken: &pb.OAuthToken{ServiceAccountEmail: "queue@example.com", Scope: "s"}}
	tr, _ = deliver(t, d, queue, task)
	if got := tr.last.Header["Authorization"]; len(got) != 1 || got[0] != "Bearer "+d.Tokens.OAuth("queue@example.com", "s") {
		t.Errorf("Authorization %q, want the queue's access token", got)
	}
}

func TestAppEngineAddresses(t *testing.T) {
	services := map[string]string{
		"": "rest", "default": "default", "v2.default": "default v2",
		"s": "s", "v1.s": "s v1", "i.v1.s": "s v1 i", "routed": "routed",
	}
	route := func(host, path string) string {
		if host == "h" && path == "/routed/work" {
			return "routed"
		}
		return ""
	}
	for _, tt := range []struct {
		instance, version, service, uri string
		want                            string
	}{
		{"", "", "", "/", "default"},
		{"", "", "default", "/", "default"},
		{"", "v2", "", "/", "default v2"},
		{"", "v3", "", "/", "default"},
		{"", "", "s", "/", "s"},
		{"", "v1", "s", "/", "s v1"},
		{"i", "v1", "s", "/", "s v1 i"},
		{"j", "v1", "s", "/", "s v1"},
		{"j", "v9", "s", "/", "s"},
		{"", "", "other", "/", "rest"},
		{"", "", "", "/routed/work?a=/", "routed"},
		{"", "", "s", "/routed/work", "s"}, // a service that is named isn't re-routed
		{"", "", "", "/routed", "default"},
	} {
		d := &Dispatcher{AppEngine: services, Route: route}
		r := &pb.AppEngineRouting{Instance: tt.instance, Version: tt.version, Service: tt.service, Host: "h"}
		if got, _, ok := d.address(r, tt.uri); got != tt.want || !ok {
			t.Errorf("%v %s goes to %q, want %q", r, tt.uri, got, tt.want)
		}
	}
	if _, service, ok := (&Dispatcher{}).address(nil, "/"); ok || service != "default" {
		t.Errorf("without addresses: %q, %v", service, ok)
	}
}

func TestWhatTargetsAskFor(t *testing.T) {
	appEngine := &pb.Task{MessageType: &pb.Task_AppEngineHttpRequest{AppEngineHttpRequest: &pb.AppEngineHttpRequest{RelativeUri: "/"}}}
	for _, tt := range []struct {
		status     int
		retryAfter string
		task       *pb.Task
		slow       bool
		after      time.Duration
	}{
		{503, "", httpTask(&pb.HttpRequest{Url: "http://h/"}), true, 0},
		{429, "120", httpTask(&pb.HttpRequest{Url: "http://h/"}), true, 2 * time.Minute},
		{500, "120", httpTask(&pb.HttpRequest{Url: "http://h/"}), false, 0},
		{200, "120", httpTask(&pb.HttpRequest{Url: "http://h/"}), false, 0},
		{503, "7", appEngine, true, 7 * time.Second},
		{429, "7", appEngine, false, 0},
	} {
		d := &Dispatcher{AppEngine: map[string]string{"": "a:1"}, Transport: &tripper{
			then: &http.Response{StatusCode: tt.status, Body: http.NoBody, Header: http.Header{"Retry-After": {tt.retryAfter}}},
		}}
		if _, r := deliver(t, d, new(pb.Queue), tt.task); r.Slow != tt.slow || r.RetryAfter != tt.after {
			t.Errorf("%d with %q: %+v", tt.status, tt.retryAfter, r)
		}
	}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "x": 0, "-5": 0, "1.5": 0, "30": 30 * time.Second, "99999999999999": 0,
		"Mon, 23 Nov 2026 12:05:00 GMT": 5 * time.Minute, "Mon, 23 Nov 2026 11:05:00 GMT": 0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("Retry-After %q is %v, want %v", text, got, want)
		}
	}
}

// A queue is decoded once, until its spec is another.
func TestSpecsAreKept(t *testing.T) {
	var s specs
	one := marshal(t, &pb.Queue{Name: "one"})
	a, err := s.queue(&engine.Delivery{Queue: "q", QueueSpec: one})
	if err != nil || a.GetName() != "one" {
		t.Fatal(a, err)
	}
	if b, err := s.queue(&engine.Delivery{Queue: "q", QueueSpec: one}); err != nil || b != a {
		t.Error("decoded again")
	}
	if b, err := s.queue(&engine.Delivery{Queue: "q", QueueSpec: marshal(t, &pb.Queue{Name: "two"})}); err != nil || b.GetName() != "two" {
		t.Error(b, err)
	}
	if _, err := s.queue(&engine.Delivery{Queue: "q", QueueSpec: []byte{0xff}}); err == nil {
		t.Error("nonsense is taken for a queue")
	}
	for i := range 2 * maxSpecs {
		if _, err := s.queue(&engine.Delivery{Queue: strings.Repeat("x", i%5000)}); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.byName) > maxSpecs {
		t.Errorf("%d queues are kept", len(s.byName))
	}
}

// Redirects are answers: a Location is not followed, not even in a circle.
func TestRedirectsAreNotFollowed(t *testing.T) {
	asked := 0
	worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		http.Redirect(w, r, "/again", http.StatusTemporaryRedirect)
	}))
	defer worker.Close()
	d := &Dispatcher{Transport: NewTransport(1), Tokens: identity.New(""), Logger: slog.New(slog.DiscardHandler)}
	r := d.Deliver(t.Context(), &engine.Delivery{Queue: "q", ID: "t", Spec: marshal(t, httpTask(&pb.HttpRequest{Url: worker.URL}))})
	if asked != 1 || r.Done || r.Status != http.StatusTemporaryRedirect {
		t.Errorf("asked %d times: %+v", asked, r)
	}
}
