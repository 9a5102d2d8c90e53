package cloudtasks_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// A dialect is a version of the API over a transport. It makes calls whose
// requests are JSON, in the names of v2.
type dialect struct {
	e       *env
	version string
	conn    *grpc.ClientConn // nil: REST
}

func (d dialect) String() string {
	if d.conn == nil {
		return d.version + " over REST"
	}
	return d.version + " over gRPC"
}

// beta2Names are the names of v2beta2 for those of v2.
var beta2Names = strings.NewReplacer(
	"maxDispatchesPerSecond", "maxTasksDispatchedPerSecond", "maxConcurrentDispatches", "maxConcurrentTasks", "relativeUri", "relativeUrl")

// call returns the code and the message of the answer, or that this version has
// no such call.
func (d dialect) call(t *testing.T, method, request string) string {
	t.Helper()
	if d.version == "v2beta2" {
		request = beta2Names.Replace(request)
	}
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName("google.cloud.tasks." + d.version + ".CloudTasks." + method))
	md, ok := found.(protoreflect.MethodDescriptor)
	if err != nil || !ok {
		return "none"
	}
	in := d.message(t, md.Input())
	if err := protojson.Unmarshal([]byte(request), in); err != nil {
		return "none" // a field that this version doesn't have
	}
	if d.conn == nil {
		return d.callREST(t, md, in)
	}
	err = d.conn.Invoke(t.Context(), fmt.Sprintf("/google.cloud.tasks.%s.CloudTasks/%s", d.version, method), in, d.message(t, md.Output()))
	s := status.Convert(err)
	return answer(s.Code().String(), s.Message(), len(s.Details()))
}

func answer(code, message string, details int) string {
	if message != "" {
		code += ": " + message
	}
	if details > 0 {
		code += fmt.Sprintf(" (%d detail)", details)
	}
	return code
}

func (d dialect) message(t *testing.T, of protoreflect.MessageDescriptor) proto.Message {
	t.Helper()
	mt, err := protoregistry.GlobalTypes.FindMessageByName(of.FullName())
	if err != nil {
		t.Fatal(err)
	}
	return mt.New().Interface()
}

var variable = regexp.MustCompile(`\{([a-z_.]+)=[^}]*\}`)

func (d dialect) callREST(t *testing.T, md protoreflect.MethodDescriptor, in proto.Message) string {
	t.Helper()
	rule, _ := proto.GetExtension(md.Options(), annotations.E_Http).(*annotations.HttpRule)
	var verb, path string
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		verb, path = "GET", p.Get
	case *annotations.HttpRule_Post:
		verb, path = "POST", p.Post
	case *annotations.HttpRule_Patch:
		verb, path = "PATCH", p.Patch
	case *annotations.HttpRule_Delete:
		verb, path = "DELETE", p.Delete
	}
	text, err := protojson.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	path = variable.ReplaceAllStringFunc(path, func(v string) string {
		within := fields
		names := strings.Split(variable.FindStringSubmatch(v)[1], ".")
		for _, name := range names[:len(names)-1] {
			within, _ = within[name].(map[string]any)
		}
		value, _ := within[names[len(names)-1]].(string)
		if len(names) == 1 {
			delete(within, names[0])
		}
		return (&url.URL{Path: value}).EscapedPath()
	})
	var body any
	switch rule.GetBody() {
	case "":
	case "*":
		body, fields = fields, nil
	default:
		body = fields[rule.GetBody()]
		delete(fields, rule.GetBody())
	}
	query := make(url.Values)
	for name, value := range fields {
		query.Set(name, fmt.Sprint(value))
	}
	text = nil
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	_, got := d.e.call(verb, path+"?"+query.Encode(), string(text))
	var failure struct {
		Error struct {
			Status, Message string
			Details         []any
		}
	}
	if err := json.Unmarshal([]byte(got), &failure); err != nil {
		t.Fatalf("%s %s: %s", verb, path, got)
	}
	name := "OK"
	if failure.Error.Status != "" {
		for part := range strings.SplitSeq(failure.Error.Status, "_") {
			name = strings.TrimPrefix(name, "OK") + part[:1] + strings.ToLower(part[1:])
		}
	}
	return answer(name, failure.Error.Message, len(failure.Error.Details))
}

// The table has every refusal of the service that is known by its text, and what
// else is refused. All versions say the same over both transports, but where a
// line begins with their name; what a version can't say at all is left out.
func TestErrorsOfAllDialects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []dialect
		for _, version := range []string{"v2", "v2beta3", "v2beta2"} {
			native := start(t, nil, &recorder{})
			conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithContextDialer(func(ctx context.Context, a string) (net.Conn, error) { return native.net.DialContext(ctx, "tcp", a) }))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			all = append(all, dialect{native, version, conn}, dialect{start(t, nil, &recorder{}), version, nil})
		}
		var out strings.Builder
		for _, c := range errorCases() {
			fmt.Fprintf(&out, "%s\n", c.what)
			said := make(map[string][]string)
			var order []string
			for _, d := range all {
				got := d.call(t, c.method, c.request)
				if got == "none" || strings.HasPrefix(got, "NotFound: Not Found") { // no path for such a name
					continue
				}
				if said[got] == nil {
					order = append(order, got)
				}
				said[got] = append(said[got], d.String())
			}
			for i, got := range order {
				if i > 0 || len(order) > 1 {
					fmt.Fprintf(&out, "  %s:\n", strings.Join(said[got], ", "))
				}
				fmt.Fprintf(&out, "  %s\n", got)
			}
		}
		golden(t, "errors-dialects.txt", out.String())
	})
}

type errorCase struct{ what, method, request string }

// errorCases are made so that each works after those before it.
func errorCases() []errorCase {
	var cases []errorCase
	add := func(what, method, request string, args ...any) {
		cases = append(cases, errorCase{what: what, method: method, request: fmt.Sprintf(request, args...)})
	}
	missing := location + "/queues/missing"
	named := func(name string) string { return fmt.Sprintf(`{"name": %q}`, name) }
	newQueue := func(what, id, fields string) {
		add("CreateQueue "+what, "CreateQueue", `{"parent": %q, "queue": {"name": %q%s}}`, location, location+"/queues/"+id, fields)
	}
	newTask := func(what, queue, task string) {
		add("CreateTask "+what, "CreateTask", `{"parent": %q, "task": {%s}}`, queue, task)
	}
	const httpTask = `"httpRequest": {"url": "http://worker:80/"}`
	later := func(id string) string {
		return fmt.Sprintf(`"name": %q, "scheduleTime": "2000-01-02T00:00:00Z", %s`, queue1+"/tasks/"+id, httpTask)
	}

	newQueue("that is new", "q1", "")
	newQueue("that exists", "q1", "")
	newQueue("with a bad name", "a_b", "")
	newQueue("rate -1", "x", `, "rateLimits": {"maxDispatchesPerSecond": -1}`)
	newQueue("rate 501", "x", `, "rateLimits": {"maxDispatchesPerSecond": 501}`)
	newQueue("concurrency -1", "x", `, "rateLimits": {"maxConcurrentDispatches": -1}`)
	newQueue("concurrency 5001", "x", `, "rateLimits": {"maxConcurrentDispatches": 5001}`)
	newQueue("attempts -2", "x", `, "retryConfig": {"maxAttempts": -2}`)
	newQueue("doublings -1", "x", `, "retryConfig": {"maxDoublings": -1}`)
	newQueue("min backoff -1s", "x", `, "retryConfig": {"minBackoff": "-1s"}`)
	newQueue("min backoff over max backoff", "x", `, "retryConfig": {"minBackoff": "2s", "maxBackoff": "1s"}`)
	newQueue("burst -1", "burst", `, "rateLimits": {"maxBurstSize": -1}`)
	newQueue("burst 501", "burst2", `, "rateLimits": {"maxBurstSize": 501}`)
	newQueue("a sampling ratio of 2", "x", `, "stackdriverLoggingConfig": {"samplingRatio": 2}`)
	newQueue("a task TTL of 1 day", "x", `, "taskTtl": "86400s"`)
	newQueue("a tombstone TTL of 10 days", "x", `, "tombstoneTtl": "864000s"`)
	newQueue("an empty host", "x", `, "httpTarget": {"uriOverride": {"host": ""}}`)
	newQueue("port 65536", "x", `, "httpTarget": {"uriOverride": {"port": 65536}}`)
	newQueue("a header that can't be sent", "x", `, "httpTarget": {"headerOverrides": [{"header": {"key": "a b"}}]}`)
	newQueue("a header twice", "x", `, "httpTarget": {"headerOverrides": [{"header": {"key": "a"}}, {"header": {"key": "A"}}]}`)
	newQueue("an OIDC token of nobody", "x", `, "httpTarget": {"oidcToken": {}}`)
	newQueue("an OIDC token for nobody", "x", `, "httpTarget": {"oidcToken": {"serviceAccountEmail": "a@b"}}`)
	newQueue("an OAuth token without a scope", "x", `, "httpTarget": {"oauthToken": {"serviceAccountEmail": "a@b"}}`)
	add("CreateQueue under another parent", "CreateQueue", `{"parent": "projects/p/locations/other", "queue": {"name": %q}}`, queue1)
	add("UpdateQueue of an unknown field", "UpdateQueue", `{"queue": {"name": %q}, "updateMask": "nothing"}`, queue1)
	add("UpdateQueue of an unknown part", "UpdateQueue", `{"queue": {"name": %q}, "updateMask": "retryConfig.maxAttempts.x"}`, queue1)
	add("UpdateQueue of a missing queue, with a bad rate", "UpdateQueue", `{"queue": {"name": %q, "rateLimits": {"maxDispatchesPerSecond": 501}}}`, missing)
	for _, method := range []string{"GetQueue", "PauseQueue", "ResumeQueue", "PurgeQueue", "DeleteQueue"} {
		add(method+" of a missing queue", method, "%s", named(missing))
		add(method+" with a bad name", method, "%s", named(location+"/queues/a_b"))
	}
	add("ListQueues with a bad filter", "ListQueues", `{"parent": %q, "filter": "state"}`, location)
	add("ListQueues with a negative page size", "ListQueues", `{"parent": %q, "pageSize": -1}`, location)
	add("ListQueues with a bad token", "ListQueues", `{"parent": %q, "pageToken": "x"}`, location)
	add("GetQueue with an unknown field", "GetQueue", `{"name": %q, "readMask": "nothing"}`, queue1)

	newTask("in a missing queue", missing, httpTask)
	newTask("without a target", queue1, "")
	newTask("with an id", queue1, later("a"))
	newTask("with the id of a live task", queue1, later("a"))
	newTask("with a bad id", queue1, later("x y"))
	newTask("of another queue", queue1, fmt.Sprintf(`"name": %q, %s`, missing+"/tasks/a", httpTask))
	newTask("without a URL", queue1, `"httpRequest": {}`)
	newTask("to ftp", queue1, `"httpRequest": {"url": "ftp://example.com"}`)
	newTask("to a URL that can't be parsed", queue1, `"scheduleTime": "2000-01-02T00:00:00Z", "httpRequest": {"url": "http://example.com/%%zz"}`)
	newTask("with a deadline of 14 s", queue1, httpTask+`, "dispatchDeadline": "14s"`)
	newTask("for App Engine with a deadline of 14 s", queue1, `"appEngineHttpRequest": {}, "dispatchDeadline": "14s"`)
	newTask("over 30 days ahead", queue1, httpTask+`, "scheduleTime": "2100-01-01T00:00:00Z"`)
	newTask("that is too big", queue1, fmt.Sprintf(`"httpRequest": {"url": "http://worker:80/", "body": %q}`, strings.Repeat("A", 1_400_000)))
	newTask("with a body for GET", queue1, `"httpRequest": {"url": "http://worker:80/", "httpMethod": "GET", "body": "aGk="}`)
	newTask("with a relative path without a slash", queue1, `"appEngineHttpRequest": {"relativeUri": "work"}`)
	newTask("with a pull message", queue1, `"pullMessage": {"payload": "aGk="}`)
	newTask("with a tag of 500", queue1, fmt.Sprintf(`"pullMessage": {"tag": %q}`, strings.Repeat("x", 500)))
	add("CreateTask with a bad view", "CreateTask", `{"parent": %q, "responseView": 7, "task": {%s}}`, queue1, httpTask)
	for _, method := range []string{"GetTask", "RunTask", "DeleteTask"} {
		add(method+" that never existed", method, "%s", named(queue1+"/tasks/never"))
		add(method+" of a missing queue", method, "%s", named(missing+"/tasks/a"))
		add(method+" with a bad id", method, "%s", named(queue1+"/tasks/x y"))
	}
	add("BatchCreateTasks of nothing", "BatchCreateTasks", `{"parent": %q}`, queue1)
	add("BatchCreateTasks under another parent", "BatchCreateTasks", `{"parent": %q, "requests": [{"parent": %q}]}`, queue1, missing)
	add("BatchDeleteTasks of nothing", "BatchDeleteTasks", `{"parent": %q}`, queue1)
	add("DeleteTask", "DeleteTask", "%s", named(queue1+"/tasks/a"))
	add("DeleteTask again", "DeleteTask", "%s", named(queue1+"/tasks/a"))
	add("GetTask that was deleted", "GetTask", "%s", named(queue1+"/tasks/a"))
	newTask("with the id of a deleted task", queue1, later("a"))
	add("ListTasks of a missing queue", "ListTasks", `{"parent": %q}`, missing)
	add("ListTasks with a negative page size", "ListTasks", `{"parent": %q, "pageSize": -1}`, queue1)
	add("LeaseTasks of a push queue", "LeaseTasks", `{"parent": %q, "maxTasks": 1, "leaseDuration": "60s"}`, queue1)
	add("LeaseTasks of a missing queue", "LeaseTasks", `{"parent": %q, "maxTasks": 1, "leaseDuration": "60s"}`, missing)
	add("LeaseTasks of 1001", "LeaseTasks", `{"parent": %q, "maxTasks": 1001, "leaseDuration": "60s"}`, queue1)
	add("LeaseTasks for 8 days", "LeaseTasks", `{"parent": %q, "maxTasks": 1, "leaseDuration": "691200s"}`, queue1)
	add("LeaseTasks with a bad filter", "LeaseTasks", `{"parent": %q, "maxTasks": 1, "leaseDuration": "60s", "filter": "red"}`, queue1)
	add("AcknowledgeTask of a push task", "AcknowledgeTask", `{"name": %q, "scheduleTime": "2000-01-01T00:00:00Z"}`, queue1+"/tasks/never")

	add("GetIamPolicy of a missing queue", "GetIamPolicy", `{"resource": %q}`, missing)
	add("SetIamPolicy with an old etag", "SetIamPolicy", `{"resource": %q, "policy": {"etag": "b2xk"}}`, queue1)
	add("SetIamPolicy without a role", "SetIamPolicy", `{"resource": %q, "policy": {"bindings": [{"members": ["allUsers"]}]}}`, queue1)
	add("SetIamPolicy with a bad member", "SetIamPolicy", `{"resource": %q, "policy": {"bindings": [{"role": "r", "members": ["somebody"]}]}}`, queue1)
	add("SetIamPolicy of version 2", "SetIamPolicy", `{"resource": %q, "policy": {"version": 2}}`, queue1)
	add("TestIamPermissions of a missing queue", "TestIamPermissions", `{"resource": %q, "permissions": ["p"]}`, missing)
	add("TestIamPermissions with a wildcard", "TestIamPermissions", `{"resource": %q, "permissions": ["*"]}`, queue1)
	add("UpdateCmekConfig with a bad key", "UpdateCmekConfig", `{"cmekConfig": {"name": %q, "kmsKey": "x"}}`, location+"/cmekConfig")

	add("DeleteQueue", "DeleteQueue", "%s", named(queue1))
	add("GetQueue that was deleted", "GetQueue", "%s", named(queue1))
	newTask("in a deleted queue", queue1, httpTask)
	newQueue("with the name of a deleted one", "q1", "")
	return cases
}
