package cloudtasks_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
)

// FuzzREST sends requests to paths of the API: each is answered in JSON, with an
// error that is the client's if with any.
func FuzzREST(f *testing.F) {
	for _, seed := range []struct{ method, path, query, body string }{
		{"GET", "/v2/" + queue1, "alt=json", ""},
		{"POST", "/v2/" + location + "/queues", "", `{"name":"` + location + `/queues/x","rateLimits":{"maxDispatchesPerSecond":1e-9},"retryConfig":{"maxDoublings":0}}`},
		{"POST", "/v2beta2/" + location + "/queues", "", `{"name":"` + location + `/queues/y","pullTarget":{}}`},
		{"PATCH", "/v2beta3/" + queue1, "updateMask=rateLimits.maxBurstSize,type", `{"rateLimits":{"maxBurstSize":3},"type":2}`},
		{"POST", "/v2/" + queue1 + "/tasks", "", `{"task":{"httpRequest":{"url":"http://worker/","headers":{"a":"b"},"body":"aGk="},"scheduleTime":"2026-01-01T00:00:00Z"},"responseView":"FULL"}`},
		{"POST", "/v2beta2/" + queue1 + "/tasks", "", `{"task":{"appEngineHttpRequest":{"relativeUrl":"/x"},"pullMessage":null}}`},
		{"POST", "/v2beta3/" + queue1 + "/tasks:batchCreate", "", `{"requests":[{"parent":"` + queue1 + `","task":{"pullMessage":{"tag":"t"}}}],"requestId":"r"}`},
		{"POST", "/v2/" + queue1 + "/tasks/x:buffer", "", `{"body":{"data":"aGk="}}`},
		{"POST", "/v2beta2/" + queue1 + "/tasks:lease", "", `{"maxTasks":3,"leaseDuration":"60s","filter":"tag=\"x"}`},
		{"GET", "/v2/" + location + "/queues", "filter=state:(PAUSED OR RUNNING)&pageSize=1&pageToken=AAAA", ""},
		{"GET", "/v2beta3/" + location + "/queues", "readMask=stats,*", ""},
		{"POST", "/" + queue1 + "/tasks", "", `{"task":{"httpRequest":{"url":""}}}`},
		{"POST", "/v2/" + queue1 + ":setIamPolicy", "", `{"policy":{"bindings":[{"role":"r","members":["a:b"]}],"etag":"ACAB"}}`},
		{"PATCH", "/v2/" + location + "/cmekConfig", "updateMask=kmsKey", `{"kmsKey":""}`},
		{"POST", "/api/queue/update", "app_id=p", "queue:\n- name: q\n  rate: 1/s\n"},
	} {
		f.Add(seed.method, seed.path, seed.query, seed.body)
	}
	e := start(f, &cloudtasks.Options{MaxInFlight: 1}, &recorder{})
	e.pausedTarget()
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		u := url.URL{Path: path, RawQuery: url.PathEscape(query)}
		if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" || method == "" ||
			strings.HasPrefix(u.EscapedPath(), "/v1/") { // Cloud Scheduler's
			return
		}
		call := (&env{t: t, net: e.net}).call
		status, answer := call(method, u.RequestURI(), body)
		if !strings.HasPrefix(path, "/v2") {
			return // not only the API's
		}
		if status >= 500 && status != 501 || method != "HEAD" && !json.Valid([]byte(answer)) {
			t.Errorf("%s %s %s: %d %s", method, u.RequestURI(), body, status, answer)
		}
	})
}
