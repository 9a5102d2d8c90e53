package transcode_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	v2 "cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	v2beta2 "cloud.google.com/go/cloudtasks/apiv2beta2/cloudtaskspb"
	v2beta3 "cloud.google.com/go/cloudtasks/apiv2beta3/cloudtaskspb"
	"github.com/latchwork/latchwork/emulator/internal/wire/transcode"
	"google.golang.org/grpc"
)

// tasks answers with the RPC's name and request as an error.
func tasks(t *testing.T) http.Handler {
	var reached string
	h, err := transcode.New(&transcode.Options{
		Interceptors: []grpc.UnaryServerInterceptor{func(_ context.Context, req any, info *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
			reached = strings.TrimPrefix(info.FullMethod, "/google.cloud.tasks.")
			return req, nil
		}},
	}, func(r grpc.ServiceRegistrar) {
		v2.RegisterCloudTasksServer(r, v2.UnimplementedCloudTasksServer{})
		v2beta2.RegisterCloudTasksServer(r, v2beta2.UnimplementedCloudTasksServer{})
		v2beta3.RegisterCloudTasksServer(r, v2beta3.UnimplementedCloudTasksServer{})
	})
	if err != nil {
		t.Fatal(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		w.Header().Set("Reached", reached)
	})
}

// Three versions of a real service, with the requests that its clients send.
func TestCloudTasks(t *testing.T) {
	h := tasks(t)
	const queue = "projects/p/locations/l/queues/q"
	for _, test := range []struct{ request, body, reached, want string }{
		{"GET /v2/projects/p/locations/l/queues?pageSize=7&filter=state%3A+PAUSED&alt=json", "", "v2.CloudTasks/ListQueues", `{"parent":"projects/p/locations/l","filter":"state: PAUSED","pageSize":7}`},
		{"GET /v2/" + queue, "", "v2.CloudTasks/GetQueue", `{"name":"` + queue + `"}`},
		{"POST /v2/" + queue + ":purge", "{}", "v2.CloudTasks/PurgeQueue", `{"name":"` + queue + `"}`},
		{"PATCH /v2beta3/" + queue + "?updateMask=rateLimits.maxConcurrentDispatches%2CretryConfig&$alt=json%3Benum-encoding%3Dint", `{"name":"` + queue + `","rateLimits":{"maxConcurrentDispatches":3},"state":2}`,
			"v2beta3.CloudTasks/UpdateQueue", `{"queue":{"name":"` + queue + `","rateLimits":{"maxConcurrentDispatches":3},"state":2},"updateMask":"rateLimits.maxConcurrentDispatches,retryConfig"}`},
		{"PATCH /v2/" + queue, `{"retryConfig":{"minBackoff":"1.5s"}}`, "v2.CloudTasks/UpdateQueue", `{"queue":{"name":"` + queue + `","retryConfig":{"minBackoff":"1.500s"}}}`},
		{"GET /v2/" + queue + "/tasks?responseView=FULL", "", "v2.CloudTasks/ListTasks", `{"parent":"` + queue + `","responseView":"FULL"}`},
		{"GET /v2/" + queue + "/tasks?responseView=2", "", "v2.CloudTasks/ListTasks", `{"parent":"` + queue + `","responseView":"FULL"}`},
		{"POST /v2/" + queue + "/tasks", `{"task":{"httpRequest":{"url":"http://u","httpMethod":1,"body":"aGk="}}}`, "v2.CloudTasks/CreateTask",
			`{"parent":"` + queue + `","task":{"httpRequest":{"url":"http://u","httpMethod":"POST","body":"aGk="}}}`},
		{"DELETE /v2/" + queue + "/tasks/t", "", "v2.CloudTasks/DeleteTask", `{"name":"` + queue + `/tasks/t"}`},
		{"POST /v2beta2/" + queue + "/tasks:lease", `{"maxTasks":3,"leaseDuration":"60s"}`, "v2beta2.CloudTasks/LeaseTasks", `{"parent":"` + queue + `","maxTasks":3,"leaseDuration":"60s"}`},
		{"POST /v2beta2/" + queue + "/tasks/t:renewLease", `{"scheduleTime":"2026-01-02T03:04:05Z"}`, "v2beta2.CloudTasks/RenewLease", `{"name":"` + queue + `/tasks/t","scheduleTime":"2026-01-02T03:04:05Z"}`},
		{"GET /v2beta3/" + queue + "?readMask=stats", "", "v2beta3.CloudTasks/GetQueue", `{"name":"` + queue + `","readMask":"stats"}`},
		{"POST /v2/" + queue + ":getIamPolicy", `{}`, "v2.CloudTasks/GetIamPolicy", `{"resource":"` + queue + `"}`},
	} {
		verb, target, _ := strings.Cut(test.request, " ")
		w := send(t, h, verb, target, test.body)
		if w.Code != 200 || w.Header().Get("Reached") != test.reached || compact(t, w.Body.String()) != test.want {
			t.Errorf("%s: %d of %s: %s\nwant %s", test.request, w.Code, w.Header().Get("Reached"), w.Body, test.want)
		}
	}
}
