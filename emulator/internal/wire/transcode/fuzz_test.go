package transcode_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
)

// FuzzRequest: whatever is asked, the answer is in the right form, and an error
// is the request's.
func FuzzRequest(f *testing.F) {
	for _, seed := range []struct{ method, path, query, contentType, encoding, body string }{
		{"GET", "/v1/dishes/a", "i32=1&tags=x&tags=y&side.name=z", "", "", ""},
		{"GET", "/v1/tables/7/HOT", "$alt=json;enum-encoding=int", "", "", ""},
		{"GET", "/v1/dishes/a", "served=2026-01-02T03:04:05Z&takes=1s&updateMask=a.b,C&maybe=1&raw=AA==", "", "", ""},
		{"POST", "/v1/dishes/a:cook", "prettyPrint=0", "application/json", "", `{"sides":[{"notes":{"a":[1,null]}}],"sauces":{"k":{"red":"r"}}}`},
		{"POST", "/v1/dishes/a:cook", "", "application/json", "", `{"sides":[{"nosuch":{"a":[1,null]}}]}`},
		{"POST", "/v1/dishes/a:cook", "alt=json", "application/x-protobuf", "", "\x0a\x01a"},
		{"POST", "/v1/dishes/a:cook", "alt=proto", "application/json", "gzip", "\x1f\x8b"},
		{"PATCH", "/v1/dishes/a", "", "", "", `{"name":"dishes/a"}`},
		{"PUT", "/v1/dishes/a/tags", "", "application/json", "", `["x"]`},
		{"DELETE", "/v1/dishes/%2F", "", "", "", ""},
		{"ANY", "/v1/sniff/%FF//x:y", "%=%&;", "", "", ""},
	} {
		f.Add(seed.method, seed.path, seed.query, seed.contentType, seed.encoding, []byte(seed.body))
	}
	var called bool
	h := open(f, nil, func(_ context.Context, _ string, in proto.Message) (proto.Message, error) {
		called = true
		return in, nil
	})
	f.Fuzz(func(t *testing.T, method, path, query, contentType, encoding string, body []byte) {
		raw := "http://localhost" + path
		if query != "" {
			raw += "?" + query
		}
		u, err := url.Parse(raw)
		if err != nil {
			return
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(string(body)))
		r.Method, r.URL = method, u
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("Content-Encoding", encoding)
		w := httptest.NewRecorder()
		called = false
		h.ServeHTTP(w, r)
		switch got := w.Header().Get("Content-Type"); {
		case w.Code != 200 && got == "application/x-protobuf":
			var p rpcstatus.Status
			if err := proto.Unmarshal(w.Body.Bytes(), &p); err != nil || p.GetCode() == 0 {
				t.Errorf("%d: %v %v", w.Code, &p, err)
			}
		case w.Code != 200:
			failure(t, w.Body.Bytes())
		case got == "application/x-protobuf":
			if err := proto.Unmarshal(w.Body.Bytes(), dynamicpb.NewMessage(dish())); err != nil {
				t.Error(err)
			}
		case !json.Valid(w.Body.Bytes()):
			t.Errorf("%s is no JSON", w.Body)
		}
		if w.Code != 200 && w.Code != 400 && w.Code != 404 && w.Code != 501 {
			// Masks that have no camelCase form, and times out of range, can be
			// sent in binary and not be answered in JSON.
			if !called || w.Code != 500 {
				t.Errorf("%d: %s", w.Code, w.Body)
			}
		}
	})
}
