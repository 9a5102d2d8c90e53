package datastore_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// ask makes a request; headers are names and values in turn.
func (e *env) ask(method, path string, body io.Reader, headers ...string) (*http.Response, string) {
	e.t.Helper()
	req, err := http.NewRequestWithContext(e.t.Context(), method, "http://localhost"+path, body)
	if err != nil {
		e.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := e.http().Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return resp, string(answer)
}

// TestScript is what people type: JSON by hand, every method. In patterns, …
// stands for anything.
func TestScript(t *testing.T) {
	e := start(t, nil)
	var tx string
	for _, step := range []struct{ method, body, want string }{
		{"commit", `{"mode":"NON_TRANSACTIONAL","mutations":[{"upsert":{"key":{"path":[{"kind":"Task","name":"a"}]},"properties":{
			"n":{"integerValue":"9007199254740993"},"s":{"stringValue":"hi"},"b":{"blobValue":"AQI="},"at":{"timestampValue":"2026-01-02T03:04:05.000006Z"},
			"d":{"doubleValue":"NaN"},"x":{"nullValue":null},"g":{"geoPointValue":{"latitude":1,"longitude":2}},"l":{"arrayValue":{"values":[{"booleanValue":true}]},"excludeFromIndexes":false}}}}]}`,
			`{"mutationResults":[{"version":"…","createTime":"…Z","updateTime":"…Z"}],"indexUpdates":…}`},
		{"lookup", `{"keys":[{"path":[{"kind":"Task","name":"a"}]}]}`,
			`{"found":[{"entity":{"key":{"partitionId":{"projectId":"proj"},"path":[{"kind":"Task","name":"a"}]},"properties":{` +
				`"at":{"timestampValue":"2026-01-02T03:04:05.000006Z"},"b":{"blobValue":"AQI="},"d":{"doubleValue":"NaN"},"g":{"geoPointValue":{"latitude":1,"longitude":2}},` +
				`"l":{"arrayValue":{"values":[{"booleanValue":true}]}},"n":{"integerValue":"9007199254740993"},"s":{"stringValue":"hi"},"x":{"nullValue":null}}},` +
				`"version":"…","createTime":"…Z","updateTime":"…Z"}],"readTime":"…Z"}`},
		{"lookup", `{"keys":[{"path":[{"kind":"Task","id":5}]}]}`,
			`{"missing":[{"entity":{"key":{"partitionId":{"projectId":"proj"},"path":[{"kind":"Task","id":"5"}]}},"version":"…"}],"readTime":"…Z"}`},
		{"runQuery", `{"query":{"kind":[{"name":"Task"}],"filter":{"propertyFilter":{"property":{"name":"s"},"op":"EQUAL","value":{"stringValue":"hi"}}},"projection":[{"property":{"name":"__key__"}}]}}`,
			`{"batch":{"entityResultType":"KEY_ONLY","entityResults":[{"entity":{"key":{"partitionId":{"projectId":"proj"},"path":[{"kind":"Task","name":"a"}]}},…"cursor":"…"}],"endCursor":"…","moreResults":"NO_MORE_RESULTS",…"readTime":"…Z"}}`},
		{"runAggregationQuery", `{"aggregationQuery":{"nestedQuery":{"kind":[{"name":"Task"}]},"aggregations":[{"alias":"total","count":{}}]}}`,
			`{"batch":{"aggregationResults":[{"aggregateProperties":{"total":{"integerValue":"1"}}}],"moreResults":"NO_MORE_RESULTS","readTime":"…Z"}}`},
		{"allocateIds", `{"keys":[{"path":[{"kind":"Task"}]}]}`, `{"keys":[{"partitionId":{"projectId":"proj"},"path":[{"kind":"Task","id":"…"}]}]}`},
		{"reserveIds", `{"keys":[{"path":[{"kind":"Task","id":"7"}]}]}`, `{}`},
		{"beginTransaction", ``, `{"transaction":"…"}`},
		{"commit", `{"transaction":"TX","mutations":[{"delete":{"path":[{"kind":"Task","name":"a"}]}}]}`, `{"mutationResults":[{"version":"…"}],"indexUpdates":…,"commitTime":"…Z"}`},
		{"beginTransaction", `{"transactionOptions":{"readOnly":{}}}`, `{"transaction":"…"}`},
		{"rollback", `{"transaction":"TX"}`, `{}`},
	} {
		resp, answer := e.ask("POST", "/v1/projects/"+project+":"+step.method, strings.NewReader(strings.ReplaceAll(step.body, "TX", tx)))
		var b bytes.Buffer
		if err := json.Compact(&b, []byte(answer)); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %d %s %v", step.method, resp.StatusCode, answer, err)
		}
		want := "^" + strings.ReplaceAll(regexp.QuoteMeta(step.want), "…", ".*") + "$"
		if !regexp.MustCompile(want).MatchString(b.String()) {
			t.Errorf("%s answers\n%s; want\n%s", step.method, b.String(), step.want)
		}
		if step.method == "beginTransaction" {
			_, tx, _ = strings.Cut(strings.TrimSuffix(b.String(), `"}`), `:"`)
		}
	}
}

// TestHTTPErrors: in the dialect of the request, with the words of Google's
// emulators where they have some.
func TestHTTPErrors(t *testing.T) {
	e := start(t, nil)
	const lookup = "POST /v1/projects/proj:lookup"
	for _, test := range []struct {
		request, body string
		code          int
		status        codes.Code
		message       string
	}{
		{lookup, `{"keys":`, 400, codes.InvalidArgument, "Payload isn't valid for request."},
		{lookup, `{"keys":"x"}`, 400, codes.InvalidArgument, "Payload isn't valid for request."},
		{lookup, `[]`, 400, codes.InvalidArgument, "Payload isn't valid for request."},
		{lookup, `{"keys":[{"path":[{"kind":"K"}],"nosuch":1}]}`, 400, codes.InvalidArgument, `Invalid JSON payload received. Unknown name "nosuch" at 'keys[0]': Cannot find field.`},
		{lookup, `{"keys":[{"path":[{"kind":"K"}]}]}`, 400, codes.InvalidArgument, "Key path element must not be incomplete: [K: ]"},
		{lookup, `{"projectId":"other"}`, 400, codes.InvalidArgument, `The binding value "proj" of the field 'project_id' is conflicting with the value "other" in the body.`},
		{lookup + "?pageSize=1", `{}`, 400, codes.InvalidArgument, `Invalid JSON payload received. Unknown name "pageSize": Cannot bind query parameter. Field 'pageSize' could not be found in request message.`},
		{"POST /v1/projects/:lookup", `{}`, 404, codes.NotFound, "Not Found"},
		{"POST /v1/projects//:lookup", `{}`, 404, codes.NotFound, "Not Found"},
		{"POST /v1/projects/%E4:lookup", `{}`, 400, codes.InvalidArgument, `Invalid value at 'project_id' (TYPE_STRING), "�"`},
		{"GET /v1/projects/proj:lookup", ``, 404, codes.NotFound, "Not Found"},
		{"PUT /v1/projects/proj:lookup", `{}`, 404, codes.NotFound, "Not Found"},
		{"POST /v1/projects/proj:nosuch", `{}`, 404, codes.NotFound, "Not Found"},
		{"POST /v1/projects/proj:commit", `{"mutations":[{"insert":{"key":{"path":[{"kind":"T","name":"a"}]}}}],"mode":1}`, 400, codes.InvalidArgument, "transactional commit requires a transaction"},
	} {
		method, path, _ := strings.Cut(test.request, " ")
		resp, answer := e.ask(method, path, strings.NewReader(test.body), "Content-Type", "application/json")
		st, err := jsonFailure([]byte(answer))
		if err != nil || resp.StatusCode != test.code || st.GetCode() != int32(test.status) || st.GetMessage() != test.message {
			t.Errorf("%s %s: %d %s", test.request, test.body, resp.StatusCode, answer)
		}
		if path != "/v1/projects/proj:lookup" || test.body != `{"keys":` {
			continue
		}
		resp, answer = e.ask(method, path, strings.NewReader("\xff"), "Content-Type", "application/x-protobuf")
		var p rpcstatus.Status
		if err := proto.Unmarshal([]byte(answer), &p); err != nil || resp.StatusCode != test.code || p.GetMessage() != test.message ||
			resp.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s in protobuf: %d %v %v", test.request, resp.StatusCode, &p, err)
		}
	}
	// What is no API at all is refused as Google's emulators do.
	for _, request := range []string{"POST /v1beta3/projects/proj:lookup", "GET /v1", "GET /v2/", "DELETE /", "GET /shutdown", "POST /shutdown", "GET /reset", "POST /reset/"} {
		method, path, _ := strings.Cut(request, " ")
		if resp, answer := e.ask(method, path, nil); resp.StatusCode != 404 || strings.TrimSpace(answer) != "Not Found" {
			t.Errorf("%s: %d %s", request, resp.StatusCode, answer)
		}
	}
	for method, n := range e.Stats().Calls {
		if want := map[string]int64{"Lookup": 1, "Commit": 1}[method]; n != want {
			t.Errorf("%d calls of %s; want %d: what can't be read is no call", n, method, want)
		}
	}
}

// TestPagesAreKeptOut: a web page can neither read, nor write, nor reset.
func TestPagesAreKeptOut(t *testing.T) {
	stopped := false
	e := start(t, &datastore.Options{Shutdown: func() { stopped = true }})
	a := api{e.raw(), t}
	a.mustCommit(nil, put("T", "a", 1))
	const remove = `{"mode":"NON_TRANSACTIONAL","mutations":[{"delete":{"path":[{"kind":"T","name":"a"}]}}]}`
	for _, request := range []string{"POST /v1/projects/proj:commit", "POST /v1/projects/proj:lookup", "POST /reset", "POST /shutdown", "GET /", "OPTIONS /v1/projects/proj:commit"} {
		method, path, _ := strings.Cut(request, " ")
		for _, headers := range [][]string{
			{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"},
			{"Origin", "http://localhost:3000", "Sec-Fetch-Site", "same-site"},
			{"Origin", "null"},
		} {
			resp, answer := e.ask(method, path, strings.NewReader(remove), headers...)
			if resp.StatusCode != 403 || !strings.Contains(answer, "refused") || resp.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s from a page (%q): %d %s", request, headers, resp.StatusCode, answer)
			}
		}
	}
	a.mustGet(nil, "T", "a", 1)
	if stopped {
		t.Error("a page stopped the server")
	}
}

// TestBodySizes: what is too large is refused with the rule and changes
// nothing; what is packed is unpacked.
func TestBodySizes(t *testing.T) {
	e := start(t, nil)
	write := func(n int) string {
		return `{"mode":"NON_TRANSACTIONAL","mutations":[{"upsert":{"key":{"path":[{"kind":"T","name":"a"}]},"properties":{"n":{"integerValue":"1"}}}}]}` + strings.Repeat(" ", n)
	}
	zip := func(s string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = io.WriteString(z, s)
		_ = z.Close()
		return b.String()
	}
	const commit, tooLarge = "/v1/projects/proj:commit", "Request payload size exceeds the limit: 16777216 bytes."
	for name, body := range map[string]io.Reader{
		"announced": strings.NewReader(write(17 << 20)),
		"chunked":   io.MultiReader(strings.NewReader(write(17 << 20))),
	} {
		resp, answer := e.ask("POST", commit, body)
		if st, err := jsonFailure([]byte(answer)); err != nil || resp.StatusCode != 400 || st.GetMessage() != tooLarge {
			t.Errorf("%s: %d %s", name, resp.StatusCode, answer)
		}
	}
	var large []*pb.Mutation
	for i := range 11 {
		large = append(large, upsert(key("T", fmt.Sprint(i)), "p", unindexed(1_040_000)))
	}
	err := api{e.over(java), t}.commit(t.Context(), nil, large...)
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "at most 10485760 bytes") {
		t.Errorf("11 MB: %.300v; want the rule of the API", err)
	}
	if kinds := e.Stats().Kinds; len(kinds) != 0 {
		t.Errorf("refused writes left %+v", kinds)
	}
	if resp, answer := e.ask("POST", commit, strings.NewReader(zip(write(100))), "Content-Encoding", "gzip"); resp.StatusCode != 200 {
		t.Errorf("a small one, compressed: %d %s", resp.StatusCode, answer)
	}
	api{e.raw(), t}.mustGet(nil, "T", "a", 1)
}

// TestLargeAnswersCompress, where the client asks for it.
func TestLargeAnswersCompress(t *testing.T) {
	e := start(t, nil)
	long := &pb.Value{ExcludeFromIndexes: true, ValueType: &pb.Value_StringValue{StringValue: strings.Repeat("long ", 100_000)}}
	api{e.raw(), t}.mustCommit(nil, upsert(key("T", "a"), "p", long))
	const body = `{"keys":[{"path":[{"kind":"T","name":"a"}]}]}`
	resp, answer := e.ask("POST", "/v1/projects/proj:lookup", strings.NewReader(body), "Accept-Encoding", "gzip")
	if resp.Header.Get("Content-Encoding") != "gzip" || len(answer) > 100<<10 {
		t.Fatalf("%d bytes as %q", len(answer), resp.Header.Get("Content-Encoding"))
	}
	z, err := gzip.NewReader(strings.NewReader(answer))
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := io.ReadAll(z)
	if err != nil || !json.Valid(unpacked) || len(unpacked) < 500_000 {
		t.Errorf("%d bytes, %v", len(unpacked), err)
	}
}

// TestSlowClients: neither a body that doesn't arrive nor an answer that isn't
// read holds anything for long.
func TestSlowClients(t *testing.T) {
	isolated(t, nil, func(t *testing.T, a api, e *env) {
		long := &pb.Value{ExcludeFromIndexes: true, ValueType: &pb.Value_StringValue{StringValue: strings.Repeat("x", 1_000_000)}}
		a.mustCommit(nil, upsert(key("T", "a"), "p", long))
		for _, test := range []struct{ contentType, body, want string }{
			{"application/json", `{"mutations":`, "took too long"},
			{"application/x-protobuf", "\x0a", "took too long"},
		} {
			c, err := e.net.DialContext(t.Context(), "tcp", e.addr)
			if err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			fmt.Fprintf(c, "POST /v1/projects/proj:commit HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: 1000\r\n\r\n%s", test.contentType, test.body)
			answer, err := io.ReadAll(c)
			if took := time.Since(begun); err != nil || took > 2*time.Minute || !strings.HasPrefix(string(answer), "HTTP/1.1 504 ") || !strings.Contains(string(answer), test.want) {
				t.Errorf("a body that doesn't arrive: %q, %v after %v", answer, err, took)
			}
			c.Close()
		}

		c, err := e.net.DialContext(t.Context(), "tcp", e.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		const body = `{"keys":[{"path":[{"kind":"T","name":"a"}]}]}`
		fmt.Fprintf(c, "POST /v1/projects/proj:lookup HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		answer, err := io.ReadAll(c)
		if err != nil || len(answer) == 0 || len(answer) > 900_000 {
			t.Errorf("after two minutes there were %d bytes to read, %v; want some, and the end", len(answer), err)
		}

		// A connection that rests between two requests is not cut off by them.
		resp, _ := e.ask("GET", "/", nil)
		time.Sleep(2 * time.Minute)
		if again, _ := e.ask("GET", "/", nil); resp.StatusCode != 200 || again.StatusCode != 200 {
			t.Errorf("%d, then %d", resp.StatusCode, again.StatusCode)
		}
	})
}

// FuzzHTTP: whatever is sent to a method, in either dialect, is answered in its
// form, and no error is the server's own.
func FuzzHTTP(f *testing.F) {
	methods := []string{"lookup", "runQuery", "runAggregationQuery", "beginTransaction", "commit", "rollback", "allocateIds", "reserveIds"}
	seed := func(i int, m proto.Message) {
		wire, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		text, err := encodeJSON(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(i), true, wire)
		f.Add(byte(i), false, text)
	}
	seed(0, &pb.LookupRequest{Keys: []*pb.Key{key("T", "a")}})
	seed(1, &pb.RunQueryRequest{QueryType: &pb.RunQueryRequest_Query{Query: &pb.Query{Kind: []*pb.KindExpression{{Name: "T"}}}}})
	seed(2, &pb.RunAggregationQueryRequest{})
	seed(3, &pb.BeginTransactionRequest{TransactionOptions: &pb.TransactionOptions{}})
	seed(4, &pb.CommitRequest{Mode: pb.CommitRequest_NON_TRANSACTIONAL, Mutations: []*pb.Mutation{put("T", "a", 1)}})
	seed(5, &pb.RollbackRequest{Transaction: []byte("x")})
	seed(6, &pb.AllocateIdsRequest{Keys: []*pb.Key{{Path: []*pb.Key_PathElement{{Kind: "T"}}}}})
	seed(7, &pb.ReserveIdsRequest{Keys: []*pb.Key{key("T", "a")}})
	e := start(f, nil)
	client := e.http()
	f.Fuzz(func(t *testing.T, method byte, binary bool, body []byte) {
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://localhost/v1/projects/proj:"+methods[int(method)%len(methods)], bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if binary {
			req.Header.Set("Content-Type", "application/x-protobuf")
		}
		req.Header.Set("X-Server-Timeout", "0.05") // locks of earlier inputs
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		want := "application/json; charset=UTF-8"
		if binary {
			want = "application/x-protobuf"
		}
		if got := resp.Header.Get("Content-Type"); got != want || resp.StatusCode == 500 {
			t.Errorf("%d %s: %q", resp.StatusCode, got, answer)
		}
		if !binary && !json.Valid(answer) {
			t.Errorf("%s is no JSON", answer)
		}
		if binary && resp.StatusCode != 200 {
			var p rpcstatus.Status
			if err := proto.Unmarshal(answer, &p); err != nil || p.GetCode() == 0 {
				t.Errorf("%d: %v %v", resp.StatusCode, &p, err)
			}
		}
	})
}

func encodeJSON(m proto.Message) ([]byte, error) {
	return curl.encode(&http.Request{Header: http.Header{}}, m)
}
