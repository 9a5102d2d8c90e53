package emulatortest_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	beta "cloud.google.com/go/cloudtasks/apiv2beta2/cloudtaskspb"
	"cloud.google.com/go/datastore"
	"cloud.google.com/go/scheduler/apiv1/schedulerpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/latchwork/latchwork/emulator"
	"github.com/latchwork/latchwork/emulator/emulatortest"
)

// A worker that counts each of its tasks once, however often it is delivered: a
// transaction notes the task's name beside the count.
func countOnce(e *emulatortest.Env) http.Handler {
	type count struct{ N int }
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.Header.Get("X-CloudTasks-TaskName")
		_, err := e.Datastore.RunInTransaction(r.Context(), func(tx *datastore.Transaction) error {
			var c count
			done, total := datastore.NameKey("Done", name, nil), datastore.NameKey("Count", "tasks", nil)
			if err := tx.Get(done, &struct{}{}); err == nil {
				return nil
			} else if err != datastore.ErrNoSuchEntity {
				return err
			}
			if err := tx.Get(total, &c); err != nil && err != datastore.ErrNoSuchEntity {
				return err
			}
			c.N++
			_, err := tx.PutMulti([]*datastore.Key{done, total}, []any{&struct{}{}, &c})
			return err
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
}

func counted(t testing.TB, e *emulatortest.Env) (n int) {
	t.Helper()
	var c struct{ N int }
	if err := e.Datastore.Get(context.Background(), datastore.NameKey("Count", "tasks", nil), &c); err != nil && err != datastore.ErrNoSuchEntity {
		t.Fatal(err)
	}
	return c.N
}

// In a bubble the whole path runs on fake time, by itself: Drain jumps to what is
// due tomorrow.
func TestExampleInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := emulatortest.Start(t, nil)
		queue := e.CreateQueue("mail", nil)
		url := e.ServeHTTP("worker.example:80", countOnce(e))
		enqueue(t, e, queue, url+"/tasks/welcome", 0)
		enqueue(t, e, queue, url+"/tasks/reminder", 24*time.Hour)
		e.Advance(time.Hour)
		e.RequireEnqueued("mail", "welcome", 0)
		e.RequireEnqueued("mail", "reminder", 1)
		if err := e.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := counted(t, e); n != 2 {
			t.Errorf("%d tasks were counted, want 2", n)
		}
	})
}

// Outside of a bubble, the emulators' clock is frozen, and advanced to tomorrow.
func TestExampleOutsideABubble(t *testing.T) {
	e := emulatortest.Start(t, nil)
	queue := e.CreateQueue("mail", nil)
	url := e.ServeHTTP("worker.example:80", countOnce(e))
	e.Freeze()
	enqueue(t, e, queue, url+"/tasks/reminder", 24*time.Hour)
	e.Advance(23 * time.Hour)
	if n := counted(t, e); n != 0 {
		t.Error("the reminder came too early")
	}
	e.Advance(2 * time.Hour)
	if n := counted(t, e); n != 1 {
		t.Errorf("%d tasks were counted, want 1", n)
	}
}

// Chaos shows whether the work is idempotent: each task counts once, whatever goes
// wrong.
func TestExampleOfChaos(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 100
		e := emulatortest.Start(t, nil)
		queue := e.CreateQueue("mail", nil)
		url := e.ServeHTTP("worker.example:80", countOnce(e))
		e.SetChaos(emulator.ChaosSettings{Seed: 1, Duplicate: 0.2, Reorder: 0.2, Delay: 0.2, Timeout: 0.2, Abort: 0.1, DatastoreOutage: 0.1})
		for i := range n {
			enqueue(t, e, queue, fmt.Sprintf("%s/tasks/%d", url, i), time.Second)
		}
		if err := e.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		e.SetChaos(emulator.ChaosSettings{})
		if got := counted(t, e); got != n {
			t.Errorf("%d tasks were counted, want %d; injected %v", got, n, e.Suite.Chaos().Injected())
		}
	})
}

// A job of Cloud Scheduler runs each day at nine.
func TestExampleOfTheScheduler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := emulatortest.Start(t, nil)
		var runs atomic.Int64
		url := e.ServeHTTP("worker.example:80", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { runs.Add(1) }))
		job, err := e.Scheduler.CreateJob(t.Context(), &schedulerpb.CreateJobRequest{Parent: e.Parent(), Job: &schedulerpb.Job{
			Name: e.Parent() + "/jobs/report", Schedule: "0 9 * * *", TimeZone: "Europe/Zurich",
			Target: &schedulerpb.Job_HttpTarget{HttpTarget: &schedulerpb.HttpTarget{Uri: url + "/report", HttpMethod: schedulerpb.HttpMethod_POST}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		e.Advance(7 * 24 * time.Hour)
		if n := runs.Load(); n != 7 {
			t.Errorf("%d runs in a week, want 7", n)
		}
		if _, err := e.Scheduler.PauseJob(t.Context(), &schedulerpb.PauseJobRequest{Name: job.GetName()}); err != nil {
			t.Fatal(err)
		}
		e.Advance(7 * 24 * time.Hour)
		if n := runs.Load(); n != 7 {
			t.Errorf("%d runs, want none of a job that is paused", n-7)
		}
	})
}

// What a frozen clock means, in a bubble and outside of one: Advance moves it,
// Drain says that nothing is due, Resume lets time pass.
func TestFrozenClock(t *testing.T) {
	test := func(t *testing.T) {
		e := emulatortest.Start(t, nil)
		queue := e.CreateQueue("mail", nil)
		var mu sync.Mutex
		var order []string
		url := e.ServeHTTP("worker.example:80", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, r.URL.Path)
		}))
		e.Freeze()
		start := e.Suite.Clock().Now()
		for _, hours := range []int{3, 1, 2} {
			task := &cloudtaskspb.Task{
				ScheduleTime: timestamppb.New(start.Add(time.Duration(hours) * time.Hour)),
				MessageType:  &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{Url: fmt.Sprintf("%s/%d", url, hours)}},
			}
			if _, err := e.Tasks.CreateTask(t.Context(), &cloudtaskspb.CreateTaskRequest{Parent: queue, Task: task}); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.Drain(t.Context()); err == nil {
			t.Error("drained by a frozen clock")
		}
		for range 3 {
			e.Advance(time.Hour)
		}
		if err := e.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if got := fmt.Sprint(order); got != "[/1 /2 /3]" {
			t.Errorf("delivered %v", got)
		}
		e.Resume()
		if passed := e.Suite.Clock().Since(start); passed < 3*time.Hour || passed > 3*time.Hour+time.Minute {
			t.Errorf("%v have passed, want three hours", passed)
		}
	}
	test(t)
	synctest.Test(t, test)
}

// The tasks of a pull queue wait for whoever leases them: they are neither drained
// nor stuck.
func TestPullQueuesAreLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := emulatortest.Start(t, nil)
		cc, err := grpc.NewClient("passthrough:///"+e.Suite.CloudTasksAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return e.Net.DialContext(ctx, "tcp", addr) }))
		if err != nil {
			t.Fatal(err)
		}
		defer cc.Close()
		api := beta.NewCloudTasksClient(cc)
		if _, err := api.CreateQueue(t.Context(), &beta.CreateQueueRequest{Parent: e.Parent(), Queue: &beta.Queue{
			Name: e.QueueName("leased"), TargetType: &beta.Queue_PullTarget{PullTarget: &beta.PullTarget{}},
		}}); err != nil {
			t.Fatal(err)
		}
		if _, err := api.CreateTask(t.Context(), &beta.CreateTaskRequest{Parent: e.QueueName("leased"), Task: &beta.Task{
			PayloadType: &beta.Task_PullMessage{PullMessage: &beta.PullMessage{Payload: []byte("x")}},
		}}); err != nil {
			t.Fatal(err)
		}
		if err := e.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if q := e.Suite.Stats().CloudTasks.Queues[0]; !q.Pull || q.Tasks != 1 {
			t.Errorf("the queue is %+v", q)
		}
	})
}
