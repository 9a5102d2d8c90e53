package cloudtasks_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
)

// Whatever a target does, the attempt ends in time with a record that says what
// happened, and the next attempt succeeds.
func TestHostileTargets(t *testing.T) {
	const deadline = 15 * time.Second
	say := func(text string) func(net.Conn) {
		return func(c net.Conn) { io.WriteString(c, text) }
	}
	stay := func(c net.Conn) { io.Copy(io.Discard, c) } // until the other side gives up
	for _, tt := range []struct {
		name    string
		target  func(net.Conn) // nil refuses
		code    int32
		message string // its start
		answers int32  // response_count
		after   time.Duration
		done    bool // succeeds at the first attempt
	}{
		{name: "refuses", code: 14, message: "UNAVAILABLE(14): dial tcp"},
		{name: "hangs", target: stay, code: 4, message: "DEADLINE_EXCEEDED(4): no answer within 15s", after: deadline},
		{name: "closes", target: func(c net.Conn) {}, code: 14, message: "UNAVAILABLE(14): "},
		{name: "answers garbage", target: say("SSH-2.0-OpenSSH_9.9\r\n"), code: 14, message: "UNAVAILABLE(14): net/http: HTTP/1.x transport connection broken: malformed HTTP response"},
		{name: "answers status 000", target: say("HTTP/1.1 000 X\r\n\r\n"), code: 2, message: "UNKNOWN(2): HTTP status code 0", answers: 1},
		{name: "answers bytes that are not text", target: say("\xff\xfe\x00\x01\r\n\r\n"), code: 14, message: "UNAVAILABLE(14): "},
		{name: "redirects", target: say("HTTP/1.1 302 Found\r\nLocation: http://worker:80/\r\nContent-Length: 0\r\n\r\n"), code: 2, message: "UNKNOWN(2): HTTP status code 302", answers: 1},
		{name: "redirects for good", target: say("HTTP/1.1 308 Permanent Redirect\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), code: 2, message: "UNKNOWN(2): HTTP status code 308", answers: 1},
		{name: "breaks off in the header", target: say("HTTP/1.1 200 OK\r\nContent-Le"), code: 14, message: "UNAVAILABLE(14): "},
		{name: "breaks off in the body", target: say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"), code: 14, message: "UNAVAILABLE(14): unexpected EOF"},
		{name: "hangs in the header", target: func(c net.Conn) { say("HTTP/1.1 200 OK\r\nX: ")(c); stay(c) }, code: 4, message: "DEADLINE_EXCEEDED(4)", after: deadline},
		{name: "hangs in the body", target: func(c net.Conn) { say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")(c); stay(c) }, code: 4, message: "DEADLINE_EXCEEDED(4)", after: deadline},
		{name: "streams headers without end", target: func(c net.Conn) {
			say("HTTP/1.1 200 OK\r\n")(c)
			for i := 0; ; i++ {
				if _, err := fmt.Fprintf(c, "X-%d: %s\r\n", i, strings.Repeat("h", 1000)); err != nil {
					return
				}
			}
		}, code: 14, message: "UNAVAILABLE(14): net/http: HTTP/1.x transport connection broken: net/http: server response headers exceeded"},
		{name: "informs without end", target: func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: "+strings.Repeat("x", 1000)+"\r\n\r\n"); err != nil {
					return
				}
			}
		}, code: 14, message: "UNAVAILABLE(14): "},
		{name: "streams an error without end", target: stream("HTTP/1.1 500 X\r\n\r\n"), code: 13, message: "INTERNAL(13): HTTP status code 500", answers: 1},
		{name: "streams a success without end", target: stream("HTTP/1.1 200 OK\r\n\r\n"), done: true},
		{name: "succeeds with a long answer", target: say("HTTP/1.1 201 Created\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1000000)), done: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := start(t, &cloudtasks.Options{}, nil)
				if tt.target != nil {
					serveRaw(e, tt.target)
				}
				e.queue(&cloudtaskspb.Queue{RetryConfig: &cloudtaskspb.RetryConfig{MinBackoff: durationpb.New(time.Hour)}})
				task := post("a")
				task.DispatchDeadline = durationpb.New(deadline)
				e.create(task)
				time.Sleep(tt.after)
				synctest.Wait()
				got, err := e.get("a")
				if tt.done {
					if err == nil {
						t.Errorf("the task is still there: %v", got)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				s := got.GetLastAttempt().GetResponseStatus()
				if s == nil || s.Code != tt.code || !strings.HasPrefix(s.Message, tt.message) {
					t.Errorf("status of the attempt %v, want %d %q", s, tt.code, tt.message)
				}
				if got.DispatchCount != 1 || got.ResponseCount != tt.answers {
					t.Errorf("%d dispatches and %d responses, want 1 and %d", got.DispatchCount, got.ResponseCount, tt.answers)
				}
				if n := e.server.Stats(); n.InFlight != 0 || n.Queues[0].Waiting != 1 {
					t.Errorf("the attempt didn't end: %+v", n)
				}
			})
		})
	}
}

func stream(head string) func(net.Conn) {
	return func(c net.Conn) {
		io.WriteString(c, head)
		block := bytes.Repeat([]byte("x"), 64<<10)
		for {
			if _, err := c.Write(block); err != nil {
				return
			}
		}
	}
}

// serveRaw answers each connection to the worker with f, once it has sent
// something.
func serveRaw(e *env, f func(net.Conn)) {
	l, err := e.net.Listen("worker:80")
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := http.ReadRequest(newReader(c)); err == nil {
					f(c)
				}
			}()
		}
	}()
}

// The server's own transport is used here, over real sockets: its bounds are
// part of what is tested.
func TestOwnTransportBoundsAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	worker := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		block := make([]byte, 64<<10)
		for {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})}
	go worker.Serve(l)
	defer worker.Close()

	e := &env{t: t}
	server, err := cloudtasks.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	e.server = server
	e.dial(server)
	e.queue(nil)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 20 {
		task := post("")
		task.GetHttpRequest().Url = "http://" + l.Addr().String()
		e.create(task)
	}
	for e.server.Stats().Queues[0].Tasks > 0 {
		runtime.Gosched()
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
		t.Errorf("20 endless answers made the server allocate %d bytes", grown)
	}
}

func TestAppEngineServices(t *testing.T) {
	for _, tt := range []struct {
		name     string
		services map[string]string
		task     *cloudtaskspb.AppEngineRouting
		override *cloudtaskspb.AppEngineRouting
		want     string // host:port; "" fails
		host     string
	}{
		{"the default service", map[string]string{"": "worker:80"}, nil, nil, "worker:80", "p.us-central1.r.appspot.com"},
		{"a service of its own", map[string]string{"": "other:80", "s": "worker:80"}, &cloudtaskspb.AppEngineRouting{Service: "s"}, nil, "worker:80", "s.p.us-central1.r.appspot.com"},
		{"an unknown service goes to the default", map[string]string{"": "worker:80"}, &cloudtaskspb.AppEngineRouting{Service: "s", Version: "v", Instance: "i"}, nil, "worker:80", "i.v.s.p.us-central1.r.appspot.com"},
		{"the queue's override wins", map[string]string{"": "other:80", "q": "worker:80"}, &cloudtaskspb.AppEngineRouting{Service: "s"}, &cloudtaskspb.AppEngineRouting{Service: "q"}, "worker:80", "q.p.us-central1.r.appspot.com"},
		{"nothing is configured", nil, nil, nil, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var hosts []string
				got := make(chan string, 10)
				e := start(t, &cloudtasks.Options{AppEngine: tt.services}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got <- r.Host }))
				e.queue(&cloudtaskspb.Queue{AppEngineRoutingOverride: tt.override})
				e.create(&cloudtaskspb.Task{Name: queue1 + "/tasks/a", MessageType: &cloudtaskspb.Task_AppEngineHttpRequest{
					AppEngineHttpRequest: &cloudtaskspb.AppEngineHttpRequest{AppEngineRouting: tt.task}}})
				synctest.Wait()
				close(got)
				for h := range got {
					hosts = append(hosts, h)
				}
				if tt.want == "" {
					task, err := e.get("a")
					if err != nil || !strings.Contains(task.GetLastAttempt().GetResponseStatus().GetMessage(), "no address is configured") {
						t.Errorf("task %v, %v", task, err)
					}
					if _, err := e.tasks.PauseQueue(t.Context(), &cloudtaskspb.PauseQueueRequest{Name: queue1}); err != nil {
						t.Error(err)
					}
					return
				}
				if len(hosts) != 1 || hosts[0] != tt.host {
					t.Errorf("hosts asked for: %q, want %q once", hosts, tt.host)
				}
			})
		})
	}
}
