package cloudtasks_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tasks "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
	"github.com/latchwork/latchwork/emulator/internal/wire"
)

// noop is the floor: the same messages over the same transport, and no work.
type noop struct {
	cloudtaskspb.UnimplementedCloudTasksServer
}

func (noop) CreateTask(_ context.Context, r *cloudtaskspb.CreateTaskRequest) (*cloudtaskspb.Task, error) {
	return r.GetTask(), nil
}

func dialNoop(b *testing.B) *tasks.Client {
	b.Helper()
	server := grpc.NewServer(wire.GRPCOptions()...)
	cloudtaskspb.RegisterCloudTasksServer(server, noop{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go server.Serve(l)
	b.Cleanup(server.Stop)
	return dialTasks(b, l.Addr().String())
}

func benchServer(b *testing.B, o *cloudtasks.Options) *env {
	b.Helper()
	server, err := cloudtasks.New(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { server.Close() })
	e := &env{t: b, server: server}
	e.dial(server)
	e.queue(nil)
	return e
}

// benchTarget runs handler on a real socket and returns its URL.
func benchTarget(b *testing.B, handler http.HandlerFunc) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	go server.Serve(l)
	b.Cleanup(func() { server.Close() })
	return "http://" + l.Addr().String()
}

func request(url string, after time.Duration) *cloudtaskspb.CreateTaskRequest {
	task := post("")
	task.GetHttpRequest().Url = url
	task.GetHttpRequest().Body = make([]byte, 100)
	if after > 0 {
		task.ScheduleTime = timestamppb.New(time.Now().Add(after))
	}
	return &cloudtaskspb.CreateTaskRequest{Parent: queue1, Task: task}
}

// callers spreads b.N calls over a number of callers.
func callers(b *testing.B, n int, client *tasks.Client, url string, after time.Duration) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := client.CreateTask(context.Background(), request(url, after)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkCreateTask(b *testing.B) {
	for _, n := range []int{1, 32} {
		b.Run(fmt.Sprintf("noop/callers=%d", n), func(b *testing.B) {
			client := dialNoop(b)
			b.ResetTimer()
			callers(b, n, client, target, time.Hour)
		})
		for _, store := range []string{"memory", "journal"} {
			b.Run(fmt.Sprintf("%s/callers=%d", store, n), func(b *testing.B) {
				o := new(cloudtasks.Options)
				if store == "journal" {
					o.Dir = b.TempDir()
				}
				e := benchServer(b, o)
				b.ResetTimer()
				callers(b, n, e.tasks, target, time.Hour)
			})
		}
	}
}

// Fifty tasks a second: the time from the call of CreateTask to the handler. The
// floor is a call that does nothing, followed by a bare request to the handler.
func BenchmarkLatency(b *testing.B) {
	for _, store := range []string{"floor", "memory", "journal"} {
		b.Run(store, func(b *testing.B) {
			arrived := make(chan time.Time, 1)
			url := benchTarget(b, func(http.ResponseWriter, *http.Request) { arrived <- time.Now() })
			var client *tasks.Client
			after := func() {}
			switch store {
			case "floor":
				client = dialNoop(b)
				transport := new(http.Transport)
				defer transport.CloseIdleConnections()
				after = func() {
					response, err := (&http.Client{Transport: transport}).Post(url, "", bytes.NewReader(make([]byte, 100)))
					if err != nil {
						b.Fatal(err)
					}
					response.Body.Close()
				}
			case "memory":
				client = benchServer(b, nil).tasks
			case "journal":
				client = benchServer(b, &cloudtasks.Options{Dir: b.TempDir()}).tasks
			}
			var took []time.Duration
			tick := time.NewTicker(time.Second / 50)
			defer tick.Stop()
			for b.Loop() {
				<-tick.C
				began := time.Now()
				if _, err := client.CreateTask(b.Context(), request(url, 0)); err != nil {
					b.Fatal(err)
				}
				after()
				took = append(took, (<-arrived).Sub(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}

// Creation and delivery at once, at whatever rate comes out.
func BenchmarkThroughput(b *testing.B) {
	for _, store := range []string{"memory", "journal"} {
		b.Run(store, func(b *testing.B) {
			o := &cloudtasks.Options{Unlimited: true}
			if store == "journal" {
				o.Dir = b.TempDir()
			}
			e := benchServer(b, o)
			var left atomic.Int64
			done := make(chan struct{})
			url := benchTarget(b, func(http.ResponseWriter, *http.Request) {
				if left.Add(-1) == 0 {
					close(done)
				}
			})
			left.Store(int64(b.N))
			b.ResetTimer()
			callers(b, 32, e.tasks, url, 0)
			<-done
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
		})
	}
}

// Twenty thousand tasks that may all go at one instant.
func BenchmarkDueAtOnce(b *testing.B) {
	const n = 20_000
	for b.Loop() {
		b.StopTimer()
		e := benchServer(b, &cloudtasks.Options{Unlimited: true})
		var left atomic.Int64
		left.Store(n)
		done := make(chan struct{})
		url := benchTarget(b, func(http.ResponseWriter, *http.Request) {
			if left.Add(-1) == 0 {
				close(done)
			}
		})
		if _, err := e.tasks.PauseQueue(b.Context(), &cloudtaskspb.PauseQueueRequest{Name: queue1}); err != nil {
			b.Fatal(err)
		}
		fill(b, e, n, url, 0)
		b.StartTimer()
		if _, err := e.tasks.ResumeQueue(b.Context(), &cloudtaskspb.ResumeQueueRequest{Name: queue1}); err != nil {
			b.Fatal(err)
		}
		<-done
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
}

// fill creates n tasks from 32 callers.
func fill(b *testing.B, e *env, n int, url string, after time.Duration) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := e.tasks.CreateTask(context.Background(), request(url, after)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// What a hundred thousand waiting tasks cost, and how long a restart with them
// takes.
func BenchmarkWaiting(b *testing.B) {
	const n = 100_000
	for b.Loop() {
		dir := b.TempDir()
		server, err := cloudtasks.New(&cloudtasks.Options{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		e := &env{t: b, server: server}
		e.dial(server)
		e.queue(nil)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		goroutines := runtime.NumGoroutine()
		fill(b, e, n, target, time.Hour)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MB/100k-tasks")
		b.ReportMetric(float64(runtime.NumGoroutine()-goroutines), "goroutines-more")
		if err := server.Close(); err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		if server, err = cloudtasks.New(&cloudtasks.Options{Dir: dir}); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "restart-ms")
		if got := server.Stats().Queues[0].Waiting; got != n {
			b.Fatalf("%d tasks after the restart", got)
		}
		if err := server.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
