package cloudtasks_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	v2beta2pb "cloud.google.com/go/cloudtasks/apiv2beta2/cloudtaskspb"
	v2beta3pb "cloud.google.com/go/cloudtasks/apiv2beta3/cloudtaskspb"
	"google.golang.org/genproto/googleapis/api/httpbody"
	locationpb "google.golang.org/genproto/googleapis/cloud/location"
	"google.golang.org/grpc/codes"
)

// call makes a request over HTTP/1.1 and returns the answer without white space
// outside of texts. headers are names and values in turn.
func (e *env) call(method, path, body string, headers ...string) (status int, answer string) {
	e.t.Helper()
	transport := &http.Transport{DialContext: e.net.DialContext, DisableKeepAlives: true}
	r, err := http.NewRequestWithContext(e.t.Context(), method, "http://"+address+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := transport.RoundTrip(r)
	if err != nil {
		e.t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	var value any
	if json.Unmarshal(b, &value) == nil {
		if b, err = json.Marshal(value); err != nil {
			e.t.Fatal(err)
		}
	}
	return response.StatusCode, string(b)
}

// pausedTarget is queue1, paused, with an HTTP target.
func (e *env) pausedTarget() {
	e.t.Helper()
	e.queue(&cloudtaskspb.Queue{HttpTarget: &cloudtaskspb.HttpTarget{
		UriOverride: &cloudtaskspb.UriOverride{
			Scheme: cloudtaskspb.UriOverride_HTTP.Enum(), Host: new("worker"), Port: new(int64(80)),
			PathOverride:  &cloudtaskspb.PathOverride{Path: "/buffered"},
			QueryOverride: &cloudtaskspb.QueryOverride{QueryParams: "a=b"},
		},
	}})
	if _, err := e.tasks.PauseQueue(e.t.Context(), &cloudtaskspb.PauseQueueRequest{Name: queue1}); err != nil {
		e.t.Fatal(err)
	}
}

func TestBufferTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, nil, &recorder{})
		e.pausedTarget()
		for _, tt := range []struct{ path, contentType, body, id, wantType, wantBody string }{
			{"/v2/" + queue1 + "/tasks/own:buffer", "text/plain", "raw", "own", "text/plain", "raw"},
			{"/v2/" + queue1 + "/tasks/:buffer", "", "", "", "", ""},
			{"/v2/" + queue1 + "/tasks:buffer", "application/json", `{"any":"value"}`, "", "application/json", `{"any":"value"}`},
			{"/v2/" + queue1 + "/tasks:buffer", "application/json", `{"body":{"contentType":"a/b","data":"aGVsbG8="}}`, "", "a/b", "hello"},
			{"/v2/" + queue1 + "/tasks:buffer", "application/json", `{"body":"mine"}`, "", "application/json", `{"body":"mine"}`},
			{"/v2/" + queue1 + "/tasks:buffer", "application/json", `[1]`, "", "application/json", `[1]`},
			{"/v2/" + queue1 + "/tasks:buffer", "application/json", `{}`, "", "", ""},
			{"/v2beta3/" + queue1 + "/tasks/b3:buffer", "", "x", "b3", "", "x"},
			{"/v2beta2/" + queue1 + "/tasks/b2:buffer?alt=json", "", "x", "b2", "", "x"},
		} {
			status, answer := e.call("POST", tt.path, tt.body, "Content-Type", tt.contentType)
			var got struct {
				Task struct {
					Name        string
					HTTPRequest struct {
						URL, HTTPMethod string
						Headers         map[string]string
						Body            []byte
					}
				}
			}
			if err := json.Unmarshal([]byte(answer), &got); err != nil || status != 200 {
				t.Errorf("%s: %d %s", tt.path, status, answer)
				continue
			}
			r := got.Task.HTTPRequest
			if r.URL != "http://worker:80/buffered?a=b" || r.HTTPMethod != "POST" || string(r.Body) != tt.wantBody || r.Headers["Content-Type"] != tt.wantType ||
				tt.id != "" && got.Task.Name != queue1+"/tasks/"+tt.id {
				t.Errorf("%s with %s: %s", tt.path, tt.body, answer)
			}
		}
		for path, want := range map[string]string{
			"/v2/" + queue1 + "/tasks/own:buffer":              `{"error":{"code":409,"message":"Requested entity already exists","status":"ALREADY_EXISTS"}}`,
			"/v2/" + location + "/queues/missing/tasks:buffer": `{"error":{"code":404,"message":"Queue does not exist. If you just created the queue, wait at least a minute for the queue to initialize.","status":"NOT_FOUND"}}`,
			"/v1/" + queue1 + "/tasks:buffer":                  `{"error":{"code":400,"message":"There is no version \"v1\" of the API that tasks can be buffered with.","status":"INVALID_ARGUMENT"}}`,
			"/v2/" + queue1 + "/tasks:buffer?alt=xml":          `{"error":{"code":400,"message":"Invalid value at 'alt', \"xml\": must be json, json;enum-encoding=int or proto.","status":"INVALID_ARGUMENT"}}`,
		} {
			if _, answer := e.call("POST", path, ""); answer != want {
				t.Errorf("%s: %s", path, answer)
			}
		}
		for path, want := range map[string]string{
			"/v2/" + queue1 + "/tasks/a b:buffer": "Task ID",
			"/v2/" + queue1 + "/x/tasks:buffer":   "Queue name must be formatted",
			"/v2/" + queue1 + "/tasks/a/b:buffer": "Task ID",
		} {
			if status, answer := e.call("POST", strings.ReplaceAll(path, " ", "%20"), ""); status != 400 || !strings.Contains(answer, want) {
				t.Errorf("%s: %s", path, answer)
			}
		}
	})
}

// Firebase's clients leave out the version and the URL, and send a token of
// their own.
func TestFirebasePaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, nil, &recorder{})
		e.pausedTarget()
		body := `{"task":{"name":"` + queue1 + `/tasks/a","httpRequest":{"url":"","body":"aGk=","oidcToken":{"serviceAccountEmail":"a@example.com"}}}}`
		if status, answer := e.call("POST", "/"+queue1+"/tasks", body, "Authorization", "Bearer owner", "Content-Type", "application/json"); status != 200 {
			t.Fatalf("%d %s", status, answer)
		}
		task, err := e.get("a")
		if err != nil || task.GetHttpRequest().GetUrl() != "http://worker:80/buffered?a=b" || string(task.GetHttpRequest().GetBody()) != "hi" {
			t.Errorf("%v %v", task, err)
		}
		if status, answer := e.call("DELETE", "/"+queue1+"/tasks/a", "", "Authorization", "Bearer owner"); status != 200 || answer != "{}" {
			t.Errorf("%d %s", status, answer)
		}
		if status, answer := e.call("POST", "/v2/"+queue1+"/tasks", body); status != 400 || !strings.Contains(answer, "HttpRequest.url is required.") {
			t.Errorf("with a version: %d %s", status, answer)
		}
	})
}

func TestREST(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, nil, &recorder{})
		e.queue(nil)
		for _, tt := range []struct{ call, body, want string }{
			{"GET /", "", "Ok\n"},
			{"GET /v2/" + queue1 + "?$alt=json;enum-encoding=int", "", `"state":1`},
			{"GET /v2/" + queue1 + "?alt=json", "", `"state":"RUNNING"`},
			{"PATCH /v2/" + queue1 + "?updateMask=rateLimits.maxConcurrentDispatches", `{"rateLimits":{"maxConcurrentDispatches":3,"maxDispatchesPerSecond":9}}`,
				`"rateLimits":{"maxBurstSize":100,"maxConcurrentDispatches":3,"maxDispatchesPerSecond":500}`},
			{"PATCH /v2/" + queue1 + "?updateMask=retryConfig.maxDoublings", `{}`, `"minBackoff":"0.100s"}`},
			{"PATCH /v2/" + queue1 + "?updateMask=retryConfig.nothing", `{}`, `The update mask names \"retry_config.nothing\", which is not a field of a queue.`},
			{"PATCH /v2beta3/" + queue1 + "?updateMask=rateLimits.maxBurstSize,taskTtl", `{"rateLimits":{"maxBurstSize":7},"taskTtl":"864000s"}`, `"maxBurstSize":7`},
			{"GET /v2beta3/" + queue1 + "?readMask=taskTtl,type", "", `{"taskTtl":"864000s","type":"PUSH"}`},
			{"GET /v2beta3/" + queue1 + "?readMask=stats.tasksCount,stats.effectiveExecutionRate", "", `{"stats":{"effectiveExecutionRate":500}}`},
			{"GET /v2beta3/" + queue1 + "?readMask=nothing", "", `The read mask names \"nothing\", which is not a field of a queue.`},
			{"GET /v2beta2/" + location + "/queues?readMask=*&filter=state%3A%20PAUSED", "", `{}`},
			{"GET /v2beta2/" + location + "/queues?readMask=name,stats&filter=stats.tasks_count<1", "", `{"queues":[{"name":"` + queue1 + `","stats":{"effectiveExecutionRate":500}}]}`},
			{"GET /v2/" + location + "/queues?filter=state", "", `The filter is not understood at position 5: expected an operator`},
			{"POST /v2/" + queue1 + "/tasks", `{"task":{"httpRequest":{"url":"http://worker:80/","httpMethod":6}},"responseView":2}`, `"httpMethod":"PATCH"`},
			{"POST /v2/" + queue1 + "/tasks", `{"task":{"nothing":1}}`, `Unknown name \"nothing\" at 'task': Cannot find field.`},
			{"GET /v2/projects/p/locations", "", `"locationId":"us-central1"`},
			{"GET /v2/projects/p/locations?filter=locationId:x", "", `{}`},
			{"GET /v2beta3/projects/other/locations", "", `"locationId":"us-central1"`},
			{"GET /v2beta2/projects/p/locations/europe-west1", "", `"labels":{"cloud.googleapis.com/region":"europe-west1"}`},
			{"GET /v2/" + location + "/operations/x", "", `{"error":{"code":404,"message":"Requested entity was not found.","status":"NOT_FOUND"}}`},
			{"GET /v2/" + location + "/cmekConfig", "", `{"name":"` + location + `/cmekConfig"}`},
			{"PATCH /v2beta3/" + location + "/cmekConfig", `{"kmsKey":"x"}`, `CmekConfig.kmsKey \"x\" must be formatted`},
			{"GET /.well-known/openid-configuration", "", `"issuer":"https://accounts.google.com"`},
			{"GET /v2/nothing", "", `{"error":{"code":404,"message":"Not Found","status":"NOT_FOUND"}}`},
			{"GET /v2//" + queue1, "", `{"error":{"code":404,"message":"Not Found","status":"NOT_FOUND"}}`},
			{"GET /nothing", "", "404 page not found"},
			{"GET /_latchwork/x", "", "404 page not found"},
		} {
			method, path, _ := strings.Cut(tt.call, " ")
			if status, answer := e.call(method, path, tt.body); !strings.Contains(answer, tt.want) {
				t.Errorf("%s: %d %s\nwant %s", tt.call, status, answer, tt.want)
			}
		}
	})
}

// A page token is good for its list and for two hours.
func TestTokensOverREST(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, nil, &recorder{})
		for _, id := range []string{"q1", "q2", "q3"} {
			e.queue(&cloudtaskspb.Queue{Name: location + "/queues/" + id})
		}
		next := func(path string) string {
			_, answer := e.call("GET", path, "")
			var page struct{ NextPageToken string }
			if err := json.Unmarshal([]byte(answer), &page); err != nil || page.NextPageToken == "" {
				t.Fatalf("%s: %s", path, answer)
			}
			return page.NextPageToken
		}
		path := "/v2/" + location + "/queues?pageSize=1"
		token := next(path)
		second := next(path + "&pageToken=" + token)
		if _, answer := e.call("GET", "/v2beta3/"+location+"/queues?pageToken="+second, ""); strings.Count(answer, `"name"`) != 1 {
			t.Errorf("the last page: %s", answer)
		}
		for query, want := range map[string]string{
			"&pageToken=x": "The page token is malformed.",
			"&filter=state:RUNNING&pageToken=" + token: "The page token was made for another list, or is malformed.",
			"&pageToken=" + token[:len(token)-1] + "A": "The page token was made for another list, or is malformed.",
			"&pageSize=-1": "",
		} {
			if status, answer := e.call("GET", path+query, ""); status != 400 || !strings.Contains(answer, want) {
				t.Errorf("%s: %d %s", query, status, answer)
			}
		}
		time.Sleep(2*time.Hour + time.Second)
		if status, answer := e.call("GET", path+"&pageToken="+token, ""); status != 400 || !strings.Contains(answer, "The page token has expired: it is good for 2h0m0s.") {
			t.Errorf("%d %s", status, answer)
		}
	})
}

// An uploaded queue.yaml is a deploy of it, by the path of old gclouds and by
// v2beta2 over gRPC.
func TestUploadQueueYAML(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, nil, &recorder{})
		c := e.clients(false)
		if status, answer := e.call("POST", "/api/queue/update?app_id=s~p", "queue:\n- name: q1\n  rate: 5/s\n- name: pull\n  mode: pull\n"); status != 200 || answer != "{}" {
			t.Fatalf("%d %s", status, answer)
		}
		q, err := c.beta3.GetQueue(t.Context(), &v2beta3pb.GetQueueRequest{Name: queue1})
		if err != nil || q.GetRateLimits().GetMaxDispatchesPerSecond() != 5 || q.GetRateLimits().GetMaxBurstSize() != 5 || q.GetTombstoneTtl().AsDuration() != 9*24*time.Hour {
			t.Errorf("%v %v", q, err)
		}
		for path, body := range map[string]string{"/api/queue/update": "", "/api/queue/update?app_id=p": "queue:\n- name: q1\n  rate: fast\n"} {
			if status, answer := e.call("POST", path, body); status != 400 || !strings.Contains(answer, `"INVALID_ARGUMENT"`) {
				t.Errorf("%s: %d %s", path, status, answer)
			}
		}
		upload := func(app, text string) error {
			return c.beta2.UploadQueueYaml(t.Context(), &v2beta2pb.UploadQueueYamlRequest{AppId: app, HttpBody: &httpbody.HttpBody{Data: []byte(text)}})
		}
		if err := upload("p", "queue:\n- name: q1\n  rate: 0\n"); err != nil {
			t.Error(err)
		}
		q, err = c.beta3.GetQueue(t.Context(), &v2beta3pb.GetQueueRequest{Name: queue1})
		if err != nil || q.GetState() != v2beta3pb.Queue_PAUSED {
			t.Errorf("%v %v", q, err)
		}
		for _, err := range []error{upload("", ""), upload("p", "queue: 1"), upload("a/b", "queue:\n- name: q1\n  rate: 5/s\n")} {
			if code(err) != codes.InvalidArgument {
				t.Error(err)
			}
		}
	})
}

// The locations of a project are those of its queues, each once, page by page.
func TestLocations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, nil, &recorder{})
		c := e.clients(true)
		for _, name := range []string{"asia-east1/queues/a", "asia-east1/queues/b", "europe-west1/queues/a", "us-central1/queues/a"} {
			parent, _, _ := strings.Cut("projects/p/locations/"+name, "/queues/")
			must[*cloudtaskspb.Queue](t)(c.v2.CreateQueue(t.Context(), &cloudtaskspb.CreateQueueRequest{
				Parent: parent, Queue: &cloudtaskspb.Queue{Name: "projects/p/locations/" + name},
			}))
		}
		for _, size := range []int32{0, 1, 2, 3} {
			var ids []string
			for l, err := range c.v2.ListLocations(t.Context(), &locationpb.ListLocationsRequest{Name: "projects/p", PageSize: size}).All() {
				if err != nil {
					t.Fatal(err)
				}
				ids = append(ids, l.GetLocationId())
			}
			if got := strings.Join(ids, " "); got != "asia-east1 europe-west1 us-central1" {
				t.Errorf("in pages of %d: %s", size, got)
			}
		}
	})
}
