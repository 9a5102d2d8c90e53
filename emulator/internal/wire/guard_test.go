package wire_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/latchwork/latchwork/emulator/internal/wire"
)

func TestGuard(t *testing.T) {
	const (
		ok      = http.StatusNoContent
		refused = http.StatusForbidden
	)
	h := wire.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	}), []string{"Emulator.Internal", "proxy:8081"})
	for _, test := range []struct {
		name, method, host string
		header             []string // name, value, …
		want               int
	}{
		{"a client", "POST", "localhost:8081", nil, ok},
		{"capitals and a final dot", "GET", "LocalHost.:8081", nil, ok},
		{"a subdomain of localhost", "GET", "app.localhost", nil, ok},
		{"IPv4", "GET", "127.0.0.1:8081", nil, ok},
		{"another machine's IPv4", "GET", "192.0.2.1", nil, ok},
		{"IPv6", "GET", "[::1]:8081", nil, ok},
		{"IPv6 without a port", "GET", "[::1]", nil, ok},
		{"an allowed host", "GET", "emulator.internal:8081", nil, ok},
		{"a host allowed with its port", "GET", "proxy", nil, ok},
		{"HTTP/1.0", "GET", "", nil, ok},
		{"a rebound name", "GET", "evil.example:8081", nil, refused},
		{"a name that ends alike", "GET", "notlocalhost", nil, refused},
		{"a name that begins alike", "GET", "localhost.evil.example", nil, refused},
		{"a name made of numbers", "GET", "127.0.0.1.evil.example", nil, refused},
		{"own page, write", "POST", "localhost:8081", []string{"Origin", "http://localhost:8081", "Sec-Fetch-Site", "same-origin"}, ok},
		{"typed address", "GET", "localhost:8081", []string{"Sec-Fetch-Site", "none"}, ok},
		{"link from elsewhere", "GET", "localhost:8081", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, ok},
		{"frame from elsewhere", "GET", "localhost:8081", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, refused},
		{"form from elsewhere", "POST", "localhost:8081", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, refused},
		{"fetch from elsewhere", "GET", "localhost:8081", []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, refused},
		{"fetch from another port", "GET", "localhost:8081", []string{"Origin", "http://localhost:3000", "Sec-Fetch-Site", "same-site"}, refused},
		{"preflight", "OPTIONS", "localhost:8081", []string{"Origin", "https://evil.example"}, refused},
		{"an old browser", "POST", "localhost:8081", []string{"Origin", "https://evil.example"}, refused},
		{"an opaque origin", "POST", "localhost:8081", []string{"Origin", "null"}, refused},
		{"an image", "GET", "localhost:8081", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, refused},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(test.method, "/", nil)
			r.Host = test.host
			for i := 0; i < len(test.header); i += 2 {
				r.Header.Set(test.header[i], test.header[i+1])
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != test.want {
				t.Errorf("%d %s, want %d", w.Code, w.Body, test.want)
			}
			if w.Code == refused && !strings.Contains(w.Body.String(), "refused") {
				t.Errorf("the answer %q doesn't name the rule", w.Body)
			}
		})
	}
}

func TestGuardWithoutHandler(t *testing.T) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	r.Host = "localhost"
	wire.Guard(nil, nil).ServeHTTP(w, r)
	if w.Code != http.StatusNotFound {
		t.Errorf("status %d, want 404", w.Code)
	}
}

func FuzzGuardHost(f *testing.F) {
	for _, host := range []string{"localhost", "[::1]:80", "evil.example", "a:b:c", "", "[", "]:", "..", "127.0.0.1:"} {
		f.Add(host)
	}
	h := wire.Guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil)
	f.Fuzz(func(t *testing.T, host string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if zone := strings.Contains(host, "%"); w.Code == http.StatusOK && !zone && strings.Contains(strings.ToLower(host), "example") {
			t.Errorf("Host %q was let in", host)
		}
	})
}
