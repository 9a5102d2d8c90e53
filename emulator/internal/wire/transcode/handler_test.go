package transcode_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/latchwork/latchwork/emulator/internal/wire"
	"github.com/latchwork/latchwork/emulator/internal/wire/transcode"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// compact makes JSON comparable: whitespace says nothing.
func compact(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(s)); err != nil {
		t.Errorf("%v in %q", err, s)
	}
	return b.String()
}

func TestBindings(t *testing.T) {
	var method string
	h := open(t, nil, func(_ context.Context, m string, in proto.Message) (proto.Message, error) {
		method = m
		return in, nil
	})
	for _, test := range []struct{ request, body, method, want string }{
		{"GET /v1/dishes/a", "", "Get", `{"name":"dishes/a"}`},
		{"GET /v1/dishes/a%2Fb", "", "Get", `{"name":"dishes/a%2Fb"}`},
		{"GET /v1/dishes/first", "", "First", `{}`},
		{"GET /v1/tables/7/HOT", "", "Get", `{"i32":7,"heat":"HOT"}`},
		{"GET /v1/tables/-7/1", "", "Get", `{"i32":-7,"heat":"MILD"}`},
		{"GET /v1/dishes", "", "List", `[]`},
		{"GET /v1/dishes/a?isHot=true&i32=-1&i64=-2&u32=3&u64=18446744073709551615&f32=1.5&f64=NaN", "", "Get",
			`{"name":"dishes/a","isHot":true,"i32":-1,"i64":"-2","u32":3,"u64":"18446744073709551615","f32":1.5,"f64":"NaN"}`},
		{"GET /v1/dishes/a?is_hot=false&raw=_-8&heat=2", "", "Get", `{"name":"dishes/a","raw":"/+8=","heat":"HOT"}`},
		{"GET /v1/dishes/a?raw=%2F%2B8%3D&heat=7", "", "Get", `{"name":"dishes/a","raw":"/+8=","heat":7}`},
		{"GET /v1/dishes/a?tags=x&heats=HOT&tags=y+z&heats=1&tags=", "", "Get", `{"name":"dishes/a","tags":["x","y z",""],"heats":["HOT","MILD"]}`},
		{"GET /v1/dishes/a?served=2026-01-02T03:04:05.678Z&takes=1.5s&maybe=9&times=1s&times=2s", "", "Get",
			`{"name":"dishes/a","served":"2026-01-02T03:04:05.678Z","takes":"1.500s","maybe":"9","times":["1s","2s"]}`},
		{"GET /v1/dishes/a?updateMask=side.isHot,name", "", "Get", `{"name":"dishes/a","updateMask":"side.isHot,name"}`},
		{"GET /v1/dishes/a?update_mask=side.is_hot", "", "Get", `{"name":"dishes/a","updateMask":"side.isHot"}`},
		{"GET /v1/dishes/a?updateMask=", "", "Get", `{"name":"dishes/a","updateMask":""}`},
		{"GET /v1/dishes/a?side.side.i32=5&side.name=s&red=", "", "Get", `{"name":"dishes/a","side":{"name":"s","side":{"i32":5}},"red":""}`},
		{"GET /v1/dishes/a?name=dishes/a", "", "Get", `{"name":"dishes/a"}`},
		{"GET /v1/dishes/a", "{}", "Get", `{"name":"dishes/a"}`},
		{"GET /v1/dishes/a?key=x&access_token=y&$.xgafv=2&prettyPrint=false&$userProject=z&&", "", "Get", `{"name":"dishes/a"}`},
		{"GET /v1/dishes/a?$alt=json;enum-encoding=int&heat=HOT", "", "Get", `{"name":"dishes/a","heat":2}`},
		{"GET /v1/dishes/a?%24alt=json%3Benum-encoding%3Dint&heat=HOT", "", "Get", `{"name":"dishes/a","heat":2}`},
		{"POST /v1/dishes/a:cook", "", "Cook", `{"name":"dishes/a"}`},
		{"POST /v1/dishes/a:cook", " \n", "Cook", `{"name":"dishes/a"}`},
		{"POST /v1/dishes/a:b:cook", "{}", "Cook", `{"name":"dishes/a:b"}`},
		{"POST /v1/dishes/a:cook", `{"name":"dishes/a","is_hot":true,"u64":5,"heat":2,"red":"r"}`, "Cook", `{"name":"dishes/a","isHot":true,"u64":"5","heat":"HOT","red":"r"}`},
		{"PATCH /v1/dishes/a?updateMask=isHot", `{"isHot":true}`, "Update", `{"name":"dishes/a","isHot":true}`},
		{"PATCH /v1/dishes/a", `{"name":"dishes/a"}`, "Update", `{"name":"dishes/a"}`},
		{"PUT /v1/dishes/a/tags", `["x","y"]`, "Tag", `["x","y"]`},
		{"PUT /v1/dishes/a/tags", ``, "Tag", `[]`},
		{"DELETE /v1/dishes/a?i32=1", "", "Delete", `{"name":"dishes/a","i32":1}`},
		{"DELETE /v1/sniff/a/b", "", "Sniff", `{"name":"sniff/a/b"}`},
		{"BREW /v1/sniff", "", "Sniff", `{"name":"sniff"}`},
		{"GET /v1/dishes/a:b", "", "Get", `{"name":"dishes/a:b"}`}, // b is nobody's verb
	} {
		verb, target, _ := strings.Cut(test.request, " ")
		w := send(t, h, verb, target, test.body)
		if w.Code != 200 || w.Header().Get("Content-Type") != "application/json; charset=UTF-8" {
			t.Errorf("%s: %d %s %s", test.request, w.Code, w.Header(), w.Body)
			continue
		}
		if got := compact(t, w.Body.String()); got != compact(t, test.want) || method != test.method {
			t.Errorf("%s: %s of %s; want %s of %s", test.request, got, method, test.want, test.method)
		}
	}
}

func TestRefusals(t *testing.T) {
	h := open(t, nil, echo)
	deep := strings.Repeat("side.", 40)
	for _, test := range []struct {
		request, body string
		code          int
		want          string // in the message
	}{
		{"GET /v1/nothing/a", "", 404, "Not Found"},
		{"GET /v2/dishes/a", "", 404, "Not Found"},
		{"POST /v1/dishes/a", "{}", 404, "Not Found"},
		{"GET /v1/dishes/a:cook", "", 404, "Not Found"},
		{"GET /v1/dishes/", "", 404, "Not Found"},
		{"GET /v1/dishes/a?nosuch=1", "", 400, `Invalid JSON payload received. Unknown name "nosuch": Cannot bind query parameter. Field 'nosuch' could not be found in request message.`},
		{"GET /v1/dishes/a?$nosuch=1", "", 400, `Unknown name "$nosuch": Cannot bind query parameter.`},
		{"GET /v1/dishes/a?side.nosuch=1", "", 400, `Field 'side.nosuch' could not be found`},
		{"GET /v1/dishes/a?served.seconds=1", "", 400, `Field 'served.seconds' could not be found`},
		{"GET /v1/dishes/a?sides.name=1", "", 400, `Field 'sides.name' could not be found`},
		{"GET /v1/dishes/a?tags.x=1", "", 400, `Field 'tags.x' could not be found`},
		{"GET /v1/dishes/a?" + deep + "name=1", "", 400, "could not be found"},
		{"GET /v1/dishes/a?side=1", "", 400, "'side' is a message type. Parameters can only be bound to primitive types."},
		{"GET /v1/dishes/a?sauces=1", "", 400, "'sauces' is a message type."},
		{"GET /v1/dishes/a?notes=1", "", 400, "'notes' is a message type."},
		{"GET /v1/dishes/a?isHot=yes", "", 400, `Invalid value at 'is_hot' (TYPE_BOOL), "yes"`},
		{"GET /v1/dishes/a?i32=2147483648", "", 400, `Invalid value at 'i32' (TYPE_INT32), "2147483648"`},
		{"GET /v1/dishes/a?i32=", "", 400, `Invalid value at 'i32' (TYPE_INT32), ""`},
		{"GET /v1/dishes/a?u64=-1", "", 400, `Invalid value at 'u64' (TYPE_UINT64), "-1"`},
		{"GET /v1/dishes/a?f32=1e99", "", 400, `Invalid value at 'f32' (TYPE_FLOAT), "1e99"`},
		{"GET /v1/dishes/a?raw=***", "", 400, `Invalid value at 'raw' (TYPE_BYTES), "***"`},
		{"GET /v1/dishes/a?heat=BOILING", "", 400, `Invalid value at 'heat' (type.googleapis.com/test.Heat), "BOILING"`},
		{"GET /v1/dishes/a?served=today", "", 400, `Invalid value at 'served' (type.googleapis.com/google.protobuf.Timestamp), "today"`},
		{"GET /v1/dishes/a?takes=1", "", 400, `Invalid value at 'takes' (type.googleapis.com/google.protobuf.Duration), "1"`},
		{"GET /v1/dishes/a?maybe=x", "", 400, `Invalid value at 'maybe' (type.googleapis.com/google.protobuf.Int64Value), "x"`},
		{"GET /v1/dishes/a?tags=%FF", "", 400, `Invalid value at 'tags' (TYPE_STRING)`},
		{"GET /v1/dishes/a?i32=1&i32=2", "", 400, "the field is not repeated, and has 2 values"},
		{"GET /v1/dishes/a?red=1&white=2", "", 400, "oneof field 'wine' is already set, by 'red'"},
		{"GET /v1/dishes/a?name=dishes/b", "", 400, `The binding value "dishes/a" of the field 'name' is conflicting with the value "dishes/b" in the body.`},
		{"GET /v1/dishes/%FF", "", 400, `Invalid value at 'name' (TYPE_STRING)`},
		{"GET /v1/tables/x/HOT", "", 400, `Invalid value at 'i32' (TYPE_INT32), "x"`},
		{"GET /v1/dishes/a?i32=%zz", "", 400, `Malformed query parameter "i32=%zz".`},
		{"GET /v1/dishes/a?%zz=1", "", 400, `Malformed query parameter "%zz=1".`},
		{"GET /v1/dishes/a?alt=xml", "", 400, `Invalid value at 'alt', "xml": must be json, json;enum-encoding=int or proto.`},
		{"GET /v1/dishes/a?prettyPrint=maybe", "", 400, `Invalid value at 'prettyPrint' (TYPE_BOOL), "maybe"`},
		{"GET /v1/dishes/a?$fields=name", "", 501, "$fields"},
		{"GET /v1/dishes/a?callback=f", "", 501, "callback"},
		{"GET /v1/dishes/a", `{"name":"x"}`, 400, "The method takes no body"},
		{"GET /v1/dishes/a", `{"x":1}`, 400, `Unknown name "x": Cannot find field.`},
		{"POST /v1/dishes/a:cook?i32=1", "{}", 400, `Unknown name "i32": Cannot bind query parameter. The body holds the field.`},
		{"PATCH /v1/dishes/a?side.i32=1", "{}", 400, `Unknown name "side.i32": Cannot bind query parameter. The body holds the field.`},
		{"POST /v1/dishes/a:cook", `{"name":"dishes/b"}`, 400, `The binding value "dishes/a" of the field 'name' is conflicting with the value "dishes/b" in the body.`},
		{"POST /v1/dishes/a:cook", `{`, 400, "Invalid JSON payload received. "},
		{"POST /v1/dishes/a:cook", `[]`, 400, "Invalid JSON payload received. "},
		{"POST /v1/dishes/a:cook", `null`, 400, "Invalid JSON payload received. "},
		{"POST /v1/dishes/a:cook", `{"i32":"x"}`, 400, "Invalid JSON payload received. "},
		{"POST /v1/dishes/a:cook", `{"red":"r","white":"w"}`, 400, "Invalid JSON payload received. "},
		{"POST /v1/dishes/a:cook", `{"i32":1,"i32":2}`, 400, "Invalid JSON payload received. "},
		{"POST /v1/dishes/a:cook", "{\"red\":\"\xff\"}", 400, "Invalid JSON payload received. "},
		{"POST /v1/dishes/a:cook", strings.Repeat(`{"side":`, 20_000), 400, "Invalid JSON payload received. "},
		{"POST /v1/dishes/a:cook", `{"i32":1,"nosuch":{"deep":[1]}}`, 400, `Invalid JSON payload received. Unknown name "nosuch": Cannot find field.`},
		{"POST /v1/dishes/a:cook", `{"sides":[{},{"side":{"nosuch":1}}]}`, 400, `Unknown name "nosuch" at 'sides[1].side': Cannot find field.`},
		{"POST /v1/dishes/a:cook", `{"notes":{"free":[1,{"a":2}]},"served":"2026-01-02T03:04:05Z","sauces":{"a":{},"b":{"nosuch":1}}}`, 400, `Unknown name "nosuch" at 'sauces[1].value': Cannot find field.`},
		{"POST /v1/dishes/a:cook", `{"side":[{"a":1}],"tags":{"b":2},"nosuch":3}`, 400, `Unknown name "nosuch": Cannot find field.`},
		{"PATCH /v1/dishes/a", `{"nosuch":1}`, 400, `Unknown name "nosuch" at 'side': Cannot find field.`},
		{"PATCH /v1/dishes/a", `{},"i32":1`, 400, "Invalid JSON payload received. "},
		{"PUT /v1/dishes/a/tags", `"x"`, 400, "Invalid JSON payload received. "},
	} {
		verb, target, _ := strings.Cut(test.request, " ")
		w := send(t, h, verb, target, test.body)
		code, name, message, _ := failure(t, w.Body.Bytes())
		if w.Code != test.code || code != test.code || !strings.Contains(message, test.want) || len(message) > 1<<10 {
			t.Errorf("%s %.60s: %d %s; want %d %s", test.request, test.body, w.Code, w.Body, test.code, test.want)
		}
		if want := map[int]string{400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 501: "UNIMPLEMENTED"}[w.Code]; name != want {
			t.Errorf("%s: status %s, want %s", test.request, name, want)
		}
	}
}

// failure takes a JSON error apart.
func failure(t testing.TB, body []byte) (code int, name, message string, details []map[string]any) {
	t.Helper()
	var e struct {
		Error struct {
			Code            int
			Status, Message string
			Details         []map[string]any
		}
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil || e.Error.Code == 0 {
		t.Errorf("%s is not the form of an error: %v", body, err)
	}
	return e.Error.Code, e.Error.Status, e.Error.Message, e.Error.Details
}

func TestErrorsOfTheService(t *testing.T) {
	for code, want := range map[codes.Code]struct {
		status int
		name   string
	}{
		codes.Canceled: {499, "CANCELLED"}, codes.Unknown: {500, "UNKNOWN"}, codes.InvalidArgument: {400, "INVALID_ARGUMENT"},
		codes.DeadlineExceeded: {504, "DEADLINE_EXCEEDED"}, codes.NotFound: {404, "NOT_FOUND"}, codes.AlreadyExists: {409, "ALREADY_EXISTS"},
		codes.PermissionDenied: {403, "PERMISSION_DENIED"}, codes.ResourceExhausted: {429, "RESOURCE_EXHAUSTED"},
		codes.FailedPrecondition: {400, "FAILED_PRECONDITION"}, codes.Aborted: {409, "ABORTED"}, codes.OutOfRange: {400, "OUT_OF_RANGE"},
		codes.Unimplemented: {501, "UNIMPLEMENTED"}, codes.Internal: {500, "INTERNAL"}, codes.Unavailable: {503, "UNAVAILABLE"},
		codes.DataLoss: {500, "DATA_LOSS"}, codes.Unauthenticated: {401, "UNAUTHENTICATED"}, codes.Code(99): {500, "99"},
	} {
		h := open(t, nil, func(context.Context, string, proto.Message) (proto.Message, error) {
			st, err := status.New(code, "why <not> \xff").WithDetails(&errdetails.Help{Links: []*errdetails.Help_Link{{Url: "u"}}})
			if err != nil {
				return nil, err
			}
			return nil, st.Err()
		})
		w := send(t, h, "GET", "/v1/dishes/a", "")
		got, name, message, details := failure(t, w.Body.Bytes())
		if w.Code != want.status || got != want.status || name != want.name || message != "why <not> \uFFFD" {
			t.Errorf("%v: %d %s, want %+v", code, w.Code, w.Body, want)
		}
		if len(details) != 1 || details[0]["@type"] != "type.googleapis.com/google.rpc.Help" {
			t.Errorf("%v: details %v", code, details)
		}
		w = send(t, h, "GET", "/v1/dishes/a?alt=proto", "")
		var p rpcstatus.Status
		if err := proto.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != want.status || p.Code != int32(code) ||
			p.Message != "why <not> \uFFFD" || len(p.Details) != 1 || w.Header().Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%v in binary: %d %v %v", code, w.Code, &p, err)
		}
	}
	for err, want := range map[error]int{errors.New("odd"): 500, context.DeadlineExceeded: 504, fmt.Errorf("so: %w", context.Canceled): 499} {
		h := open(t, nil, func(context.Context, string, proto.Message) (proto.Message, error) { return nil, err })
		if w := send(t, h, "GET", "/v1/dishes/a", ""); w.Code != want {
			t.Errorf("%v: %d, want %d", err, w.Code, want)
		}
	}
}

func TestPanicsAndNothing(t *testing.T) {
	h := open(t, nil, func(_ context.Context, method string, _ proto.Message) (proto.Message, error) {
		if method == "Get" {
			panic("boom: 42")
		}
		return nil, nil
	})
	w := send(t, h, "GET", "/v1/dishes/a", "")
	if _, name, message, _ := failure(t, w.Body.Bytes()); name != "INTERNAL" || !strings.Contains(message, "boom: 42") {
		t.Errorf("a panic: %d %s", w.Code, w.Body)
	}
	w = send(t, h, "DELETE", "/v1/dishes/a", "")
	if _, name, _, _ := failure(t, w.Body.Bytes()); name != "INTERNAL" {
		t.Errorf("no answer: %d %s", w.Code, w.Body)
	}
}

func marshal(t testing.TB, set func(m protoreflect.Message, f func(string) protoreflect.FieldDescriptor)) string {
	t.Helper()
	m := dynamicpb.NewMessage(dish())
	set(m, func(name string) protoreflect.FieldDescriptor { return dish().Fields().ByName(protoreflect.Name(name)) })
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestBinary(t *testing.T) {
	h := open(t, nil, echo)
	body := marshal(t, func(m protoreflect.Message, f func(string) protoreflect.FieldDescriptor) {
		m.Set(f("i32"), protoreflect.ValueOfInt32(5))
	})
	named := func(name string) string {
		return marshal(t, func(m protoreflect.Message, f func(string) protoreflect.FieldDescriptor) {
			m.Set(f("name"), protoreflect.ValueOfString(name))
			m.Set(f("i32"), protoreflect.ValueOfInt32(5))
		})
	}
	const binary, text = "application/x-protobuf", "application/json; charset=UTF-8"
	for _, test := range []struct {
		request, body string
		headers       []string
		code          int
		contentType   string
		want          string
	}{
		{"POST /v1/dishes/a:cook", body, []string{"Content-Type", binary}, 200, binary, named("dishes/a")},
		{"POST /v1/dishes/a:cook", named("dishes/a"), []string{"Content-Type", "application/protobuf; x=y", "Accept", "application/json"}, 200, binary, named("dishes/a")},
		{"POST /v1/dishes/a:cook?alt=json&prettyPrint=0", body, []string{"Content-Type", binary}, 200, text, `{"name":"dishes/a","i32":5}`},
		{"POST /v1/dishes/a:cook", `{"i32":5}`, []string{"Accept", "text/html, application/x-protobuf"}, 200, binary, named("dishes/a")},
		{"POST /v1/dishes/a:cook?$alt=proto", `{"i32":5}`, []string{"Content-Type", "application/json; charset=UTF-8"}, 200, binary, named("dishes/a")},
		{"PATCH /v1/dishes/a", body, []string{"Content-Type", binary}, 200, binary, named("dishes/a")},
		{"GET /v1/dishes/a?i32=5", "", []string{"Content-Type", binary}, 200, binary, named("dishes/a")},
		{"POST /v1/dishes/a:cook", named("dishes/b"), []string{"Content-Type", binary}, 400, binary, ""},
		{"POST /v1/dishes/a:cook", "\xff", []string{"Content-Type", binary}, 400, binary, ""},
		{"POST /v1/dishes/a:stew", body, []string{"Content-Type", binary}, 404, binary, ""},
		{"PUT /v1/dishes/a/tags", "x", []string{"Content-Type", binary}, 400, binary, ""},
		{"PUT /v1/dishes/a/tags?alt=proto", "[]", nil, 400, binary, ""},
		{"DELETE /v1/dishes/a", body, []string{"Content-Type", binary}, 400, binary, ""},
	} {
		verb, target, _ := strings.Cut(test.request, " ")
		w := send(t, h, verb, target, test.body, test.headers...)
		if w.Code != test.code || w.Header().Get("Content-Type") != test.contentType {
			t.Errorf("%s: %d %s %q", test.request, w.Code, w.Header(), w.Body)
			continue
		}
		switch {
		case test.code != 200:
			var p rpcstatus.Status
			if err := proto.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Message == "" {
				t.Errorf("%s: %v %v", test.request, &p, err)
			}
		case test.contentType == text:
			if got := compact(t, w.Body.String()); got != test.want {
				t.Errorf("%s: %s, want %s", test.request, got, test.want)
			}
		default:
			got, want := dynamicpb.NewMessage(dish()), dynamicpb.NewMessage(dish())
			if err := errors.Join(proto.Unmarshal(w.Body.Bytes(), got), proto.Unmarshal([]byte(test.want), want)); err != nil || !proto.Equal(got, want) {
				t.Errorf("%s: %v %v, want %v", test.request, got, err, want)
			}
		}
	}
}

// What a service puts into a message in wire form is in the JSON too.
func TestFieldsInWireForm(t *testing.T) {
	wired := marshal(t, func(m protoreflect.Message, f func(string) protoreflect.FieldDescriptor) {
		m.Set(f("name"), protoreflect.ValueOfString("n"))
		m.Mutable(f("side")).Message().Set(f("i32"), protoreflect.ValueOfInt32(5))
	})
	h := open(t, nil, func(context.Context, string, proto.Message) (proto.Message, error) {
		m := dynamicpb.NewMessage(dish())
		m.SetUnknown([]byte(wired))
		return m, nil
	})
	if w := send(t, h, "GET", "/v1/dishes/a", ""); compact(t, w.Body.String()) != `{"name":"n","side":{"i32":5}}` {
		t.Errorf("JSON: %s", w.Body)
	}
	if w := send(t, h, "GET", "/v1/dishes/a?alt=proto", ""); w.Body.String() != wired {
		t.Errorf("binary: %q", w.Body)
	}
}

func TestContentTypesAndEncodings(t *testing.T) {
	h := open(t, nil, echo)
	zip := func(s string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = io.WriteString(z, s)
		_ = z.Close()
		return b.String()
	}
	bomb := zip(strings.Repeat(" ", wire.MaxMessage+1))
	for _, test := range []struct {
		body    string
		headers []string
		want    string // "" is success
	}{
		{`{"i32":5}`, []string{"Content-Type", "application/json"}, ""},
		{`{"i32":5}`, []string{"Content-Type", "Application/JSON; Charset=utf-8"}, ""},
		{`{"i32":5}`, []string{"Content-Type", "text/plain"}, `The Content-Type "text/plain" is refused: it must be application/json, in UTF-8, or application/x-protobuf.`},
		{`{"i32":5}`, []string{"Content-Type", "application/x-www-form-urlencoded"}, "is refused"},
		{`{"i32":5}`, []string{"Content-Type", "application/json; charset=utf-16"}, "is refused"},
		{`{"i32":5}`, []string{"Content-Type", ";;"}, "is refused"},
		{zip(`{"i32":5}`), []string{"Content-Encoding", "gzip"}, ""},
		{zip(`{"i32":`) + zip(`5}`), []string{"Content-Encoding", "X-GZIP"}, ""},
		{`{"i32":5}`, []string{"Content-Encoding", "identity"}, ""},
		{`{"i32":5}`, []string{"Content-Encoding", "br"}, `The Content-Encoding "br" is refused: it must be gzip or identity.`},
		{`{"i32":5}`, []string{"Content-Encoding", "gzip"}, "The request's body can't be read"},
		{zip(`{"i32":5}`)[:20], []string{"Content-Encoding", "gzip"}, "The request's body can't be read"},
		{bomb, []string{"Content-Encoding", "gzip"}, "Request payload size exceeds the limit: 16777216 bytes."},
		{strings.Repeat(" ", wire.MaxMessage+1), nil, "Request payload size exceeds the limit: 16777216 bytes."},
	} {
		w := send(t, h, "POST", "/v1/dishes/a:cook", test.body, test.headers...)
		if test.want == "" {
			if w.Code != 200 || compact(t, w.Body.String()) != `{"name":"dishes/a","i32":5}` {
				t.Errorf("%v: %d %s", test.headers, w.Code, w.Body)
			}
			continue
		}
		if _, _, message, _ := failure(t, w.Body.Bytes()); w.Code != 400 || !strings.Contains(message, test.want) {
			t.Errorf("%v: %d %s; want %s", test.headers, w.Code, w.Body, test.want)
		}
	}
	if len(bomb) > 64<<10 {
		t.Errorf("the bomb has %d bytes: it tests nothing", len(bomb))
	}
}

func TestCompressedAnswers(t *testing.T) {
	h := open(t, nil, echo)
	long := strings.Repeat("x", 32<<10)
	for _, test := range []struct {
		accept, body string
		zipped       bool
	}{
		{"gzip", long, true}, {"deflate, GZIP;q=0.5", long, true}, {"gzip;q=0", long, false}, {"gzip;q=x", long, false},
		{"", long, false}, {"deflate", long, false}, {"gzip", "short", false},
	} {
		for range 3 { // compressors are used again
			w := send(t, h, "POST", "/v1/dishes/a:cook", `{"red":"`+test.body+`"}`, "Accept-Encoding", test.accept)
			got := w.Body.String()
			if zipped := w.Header().Get("Content-Encoding") == "gzip"; zipped != test.zipped {
				t.Errorf("Accept-Encoding %q, %d bytes: zipped %v", test.accept, len(test.body), zipped)
			} else if zipped {
				z, err := gzip.NewReader(w.Body)
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(z)
				if err != nil {
					t.Error(err)
				}
				got = string(b)
			}
			if compact(t, got) != `{"name":"dishes/a","red":"`+test.body+`"}` {
				t.Errorf("Accept-Encoding %q: %.100s", test.accept, got)
			}
		}
	}
}

func TestMethodOverride(t *testing.T) {
	h := open(t, nil, echo)
	for _, test := range []struct {
		method, target, body string
		headers              []string
		code                 int
		want                 string
	}{
		{"POST", "/v1/dishes/a?updateMask=isHot", `{"isHot":true}`, []string{"X-HTTP-Method-Override", "patch"}, 200, `{"name":"dishes/a","isHot":true}`},
		{"POST", "/v1/dishes/a", "i32=5&tags=x", []string{"X-HTTP-Method-Override", "GET", "Content-Type", "application/x-www-form-urlencoded"}, 200, `{"name":"dishes/a","i32":5,"tags":["x"]}`},
		{"POST", "/v1/dishes/a", "i32=%zz", []string{"X-HTTP-Method-Override", "GET", "Content-Type", "application/x-www-form-urlencoded"}, 400, ""},
		{"GET", "/v1/dishes/a", "", []string{"X-HTTP-Method-Override", "DELETE"}, 200, `{"name":"dishes/a"}`}, // only POST is overridden
		{"POST", "/v1/dishes/a", "", []string{"X-HTTP-Method-Override", "BOIL"}, 404, ""},
	} {
		w := send(t, h, test.method, test.target, test.body, test.headers...)
		if w.Code != test.code || test.want != "" && compact(t, w.Body.String()) != test.want {
			t.Errorf("%s %s %v: %d %s", test.method, test.target, test.headers, w.Code, w.Body)
		}
	}
}

func TestPrettyPrint(t *testing.T) {
	h := open(t, nil, echo)
	for query, lines := range map[string]int{"": 4, "prettyPrint=true": 4, "$prettyPrint=false": 1, "prettyPrint=0": 1, "nosuch&prettyPrint=false": 2} {
		w := send(t, h, "GET", "/v1/dishes/a?i32=1&"+query, "")
		if got := strings.Count(w.Body.String()+"\n", "\n"); got != lines {
			t.Errorf("%q: %d lines, want %d: %s", query, got, lines, w.Body)
		}
	}
}

func TestMetadataAndInterceptors(t *testing.T) {
	var seen []string
	intercept := func(name string) grpc.UnaryServerInterceptor {
		return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			seen = append(seen, name+" "+info.FullMethod)
			return next(ctx, req)
		}
	}
	var md metadata.MD
	h := open(t, &transcode.Options{Interceptors: []grpc.UnaryServerInterceptor{intercept("outer"), intercept("inner")}},
		func(ctx context.Context, _ string, in proto.Message) (proto.Message, error) {
			seen = append(seen, "handler")
			md, _ = metadata.FromIncomingContext(ctx)
			return in, nil
		})
	w := send(t, h, "POST", "/v1/dishes/a:cook", "{}", "X-Goog-Request-Params", "name=a", "Authorization", "Bearer owner",
		"X-Many", "1", "X-Many", "2", "Trace-Bin", "AQI=", "Connection", "close", "Content-Type", "application/json", "Grpc-Timeout", "1S")
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if diff := cmp.Diff([]string{"outer /test.Kitchen/Cook", "inner /test.Kitchen/Cook", "handler"}, seen); diff != "" {
		t.Error(diff)
	}
	want := metadata.MD{":authority": {"example.com"}, "x-goog-request-params": {"name=a"}, "authorization": {"Bearer owner"}, "x-many": {"1", "2"}, "trace-bin": {"\x01\x02"}}
	if diff := cmp.Diff(want, md); diff != "" {
		t.Error(diff)
	}
	if w := send(t, h, "GET", "/v1/dishes/a", "", "Trace-Bin", "***"); w.Code != 400 {
		t.Errorf("bad binary metadata: %d %s", w.Code, w.Body)
	}
	if w := send(t, h, "GET", "/v1/dishes/a", "", "X-Goog-FieldMask", "name"); w.Code != 501 {
		t.Errorf("a field mask for the answer: %d %s", w.Code, w.Body)
	}
	// A request that can't be read is no call, as over gRPC.
	seen = nil
	if send(t, h, "POST", "/v1/dishes/a:cook", "{"); seen != nil {
		t.Errorf("interceptors saw a body that is no message: %v", seen)
	}
}

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, nil, func(ctx context.Context, _ string, in proto.Message) (proto.Message, error) {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(time.Hour):
				return in, nil
			}
		})
		for timeout, want := range map[string]struct {
			code int
			took time.Duration
		}{"1.5": {504, 1500 * time.Millisecond}, "1e300": {200, time.Hour}, "": {200, time.Hour}, "0": {400, 0}, "-1": {400, 0}, "NaN": {400, 0}, "1s": {400, 0}} {
			start := time.Now()
			w := send(t, h, "GET", "/v1/dishes/a", "", "X-Server-Timeout", timeout)
			if took := time.Since(start); w.Code != want.code || took != want.took {
				t.Errorf("X-Server-Timeout %q: %d after %v, want %+v", timeout, w.Code, took, want)
			}
		}
	})
}

func TestBadBodyText(t *testing.T) {
	h := open(t, &transcode.Options{BadBody: "No."}, echo)
	_, _, message, details := failure(t, send(t, h, "POST", "/v1/dishes/a:cook", "{").Body.Bytes())
	if message != "No." || !strings.Contains(fmt.Sprint(details), "unexpected") {
		t.Errorf("%q %v", message, details)
	}
	_, _, message, _ = failure(t, send(t, h, "POST", "/v1/dishes/a:cook", `{"nosuch":1}`).Body.Bytes())
	if !strings.Contains(message, `Unknown name "nosuch"`) {
		t.Errorf("%q", message)
	}
}

func TestRules(t *testing.T) {
	rule := func(path, body, response string) *transcode.Options {
		return &transcode.Options{Rules: []*annotations.HttpRule{{
			Selector: "test.Kitchen.Hidden", Body: body, ResponseBody: response,
			Pattern: &annotations.HttpRule_Post{Post: path},
		}}}
	}
	h := open(t, rule("/v1/hidden/{i32}", "*", ""), echo)
	if w := send(t, h, "POST", "/v1/hidden/3", `{"name":"n"}`); w.Code != 200 || compact(t, w.Body.String()) != `{"name":"n","i32":3}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for want, o := range map[string]*transcode.Options{
		"must begin with /":              rule("x", "", ""),
		"test.Dish has no field \"no\"":  rule("/v1/{no}", "", ""),
		"side is a message":              rule("/v1/{side}", "", ""),
		"tags is repeated":               rule("/v1/{tags}", "", ""),
		"sauces is a message":            rule("/v1/{sauces}", "", ""),
		"body: test.Dish has no":         rule("/v1/x", "no", ""),
		"response_body: test.Dish":       rule("/v1/x", "", "no"),
		"bound to test.Kitchen.Cook":     rule("/v1/{red=dishes/*}:cook", "", ""),
		"test.Kitchen.Hidden: the HTTP ": {Rules: []*annotations.HttpRule{{Selector: "test.Kitchen.Hidden"}}},
	} {
		_, err := transcode.New(o, func(r grpc.ServiceRegistrar) { r.RegisterService(describe(echo), nil) })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	for want, desc := range map[string]*grpc.ServiceDesc{
		"service test.Nowhere: no descriptor is linked":               {ServiceName: "test.Nowhere"},
		"service test.Dish: no descriptor is linked":                  {ServiceName: "test.Dish"},
		"service test.Kitchen: its descriptor has no method Levitate": {ServiceName: "test.Kitchen", Methods: []grpc.MethodDesc{{MethodName: "Levitate"}}},
	} {
		_, err := transcode.New(nil, func(r grpc.ServiceRegistrar) { r.RegisterService(desc, nil) })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

// Lazily read annotations are read once, and those that can't be served make every
// request fail with the reason.
func TestLazy(t *testing.T) {
	registered := 0
	h := transcode.Lazy(nil, func(r grpc.ServiceRegistrar) {
		registered++
		r.RegisterService(&grpc.ServiceDesc{ServiceName: "test.Nowhere"}, nil)
	})
	if registered != 0 {
		t.Error("the services are asked for before there is a request")
	}
	for range 2 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/x", nil))
		if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "service test.Nowhere: no descriptor is linked") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if registered != 1 {
		t.Errorf("the services are asked for %d times", registered)
	}
}
