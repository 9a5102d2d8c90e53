package cloudtasks_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
)

// hang, in a script, keeps the connection open without an answer.
const hang = 0

// A wiretap is a target that keeps the requests as they were on the wire, whose
// spelling net/http would change, and answers by a script.
type wiretap struct {
	mu     sync.Mutex
	script []int
	seen   bytes.Buffer
}

func (w *wiretap) serve(e *env, addr string) {
	l, err := e.net.Listen(addr)
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
			go w.talk(c)
		}
	}()
}

func (w *wiretap) talk(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		length := 0
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			w.mu.Lock()
			w.seen.WriteString(strings.TrimRight(line, "\r\n") + "\n")
			w.mu.Unlock()
			fmt.Sscanf(line, "Content-Length: %d", &length)
			if line == "\r\n" {
				break
			}
		}
		body := make([]byte, length)
		for n := 0; n < length; {
			m, err := r.Read(body[n:])
			if err != nil {
				return
			}
			n += m
		}
		w.mu.Lock()
		status := w.script[0]
		w.script = w.script[1:]
		fmt.Fprintf(&w.seen, "%s\n---- %d\n", body, status)
		w.mu.Unlock()
		if status == hang {
			r.ReadByte() // until the other side gives up
			return
		}
		fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", status, http.StatusText(status))
	}
}

func TestHeaders(t *testing.T) {
	httpTask := &cloudtaskspb.Task{
		Name: queue1 + "/tasks/the-task",
		MessageType: &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{
			Url: "http://worker:80/work?a=b", Body: []byte(`{"n":1}`),
			Headers: map[string]string{
				"content-type": "application/json", "X-Own": "kept",
				"user-agent": "ignored", "Host": "ignored", "Content-length": "99", "X-CloudTasks-TaskName": "ignored",
				"x-appengine-queuename": "ignored", "transfer-encoding": "chunked",
			},
		}},
		DispatchDeadline: durationpb.New(20 * time.Second),
	}
	appEngineTask := &cloudtaskspb.Task{
		Name: queue1 + "/tasks/the-task",
		MessageType: &cloudtaskspb.Task_AppEngineHttpRequest{AppEngineHttpRequest: &cloudtaskspb.AppEngineHttpRequest{
			RelativeUri: "/work?a=b", Body: []byte(`{"n":1}`),
			Headers:          map[string]string{"User-Agent": "own", "X-Own": "kept"},
			AppEngineRouting: &cloudtaskspb.AppEngineRouting{Service: "backend", Version: "v1"},
		}},
		DispatchDeadline: durationpb.New(20 * time.Second),
	}
	for _, tt := range []struct {
		file   string
		task   *cloudtaskspb.Task
		script []int
	}{
		{"headers-http.txt", httpTask, []int{503, 404, 429, 500, 302, 200}},
		{"headers-appengine.txt", appEngineTask, []int{503, 404, 429, 500, 302, 200}},
		{"headers-http-deadline.txt", httpTask, []int{hang, 404, hang, 200}},
		{"headers-appengine-deadline.txt", appEngineTask, []int{hang, 404, hang, 200}},
	} {
		t.Run(tt.file, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := start(t, &cloudtasks.Options{AppEngine: map[string]string{"": "default:80", "backend": "worker:80"}}, nil)
				tap := &wiretap{script: tt.script}
				tap.serve(e, "worker:80")
				e.queue(nil)
				e.create(tt.task)
				time.Sleep(10 * time.Minute)
				tap.mu.Lock()
				defer tap.mu.Unlock()
				if len(tap.script) > 0 {
					t.Errorf("%d answers of the script are left", len(tap.script))
				}
				golden(t, tt.file, tap.seen.String())
			})
		})
	}
}
