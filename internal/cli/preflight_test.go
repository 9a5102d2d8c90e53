package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/emulator"
	"github.com/latchwork/latchwork/emulator/datastore"
	"github.com/latchwork/latchwork/emulator/emulatortest"
	"github.com/latchwork/latchwork/examples/messages"
	"github.com/latchwork/latchwork/tasks"
)

// What is missing for certain ends the start, with the command that makes it; what
// can't be told is a warning, within the time that the look may take.
func TestPreflight(t *testing.T) {
	const create = "gcloud tasks queues create default --location=us-central1 --project=test-project"
	for _, tt := range []struct {
		name    string
		prepare func(*testing.T, *emulatortest.Env)
		rpc     grpc.UnaryClientInterceptor // on the way to Cloud Tasks
		modes   string                      // of the indexes
		err     []string                    // what the error says; none: there is no error
		warns   string
	}{
		{name: "all is there", prepare: func(t *testing.T, e *emulatortest.Env) { e.CreateQueue("default", nil) }},
		{name: "no queue", err: []string{"the queue default does not exist in projects/test-project/locations/us-central1", create}},
		{name: "a paused queue", prepare: func(t *testing.T, e *emulatortest.Env) {
			name := e.CreateQueue("default", nil)
			if _, err := e.Tasks.PauseQueue(t.Context(), &cloudtaskspb.PauseQueueRequest{Name: name}); err != nil {
				t.Error(err)
			}
		}, warns: "gcloud tasks queues resume default --location=us-central1"},
		{name: "no permission", rpc: answering(status.Error(codes.PermissionDenied, "lacks IAM permission")), warns: "latchwork doctor"},
		{name: "no answer", rpc: func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ grpc.UnaryInvoker, _ ...grpc.CallOption) error {
			<-ctx.Done()
			return status.FromContextError(ctx.Err()).Err()
		}, warns: "latchwork doctor"},
		{name: "no index", prepare: func(t *testing.T, e *emulatortest.Env) { e.CreateQueue("default", nil) }, modes: "require",
			err: []string{"no matching index found", "kind: tumble.Mutation", "gcloud datastore indexes create index.yaml --project=test-project"}},
		{name: "neither", modes: "require", err: []string{create, "gcloud datastore indexes create"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := emulatortest.Start(t, &emulatortest.Options{Suite: &emulator.Options{Datastore: &datastore.Options{IndexMode: tt.modes}}})
				if tt.prepare != nil {
					tt.prepare(t, e)
				}
				c := &connections{services: services{Project: e.Project, Location: e.Location}, queue: e.Tasks, entities: e.Datastore}
				if tt.rpc != nil {
					c.queue = e.NewTasksClient(grpc.WithUnaryInterceptor(tt.rpc))
				}
				var log bytes.Buffer
				start := time.Now()
				err := c.preflight(t.Context(), newPreflightApp(t, c), []string{"default"}, slog.New(slog.NewTextHandler(&log, nil)))
				if took := time.Since(start); took > preflightTime {
					t.Errorf("it took %v", took)
				}
				if (err != nil) != (tt.err != nil) || !strings.Contains(log.String(), tt.warns) || tt.warns == "" && log.Len() > 0 {
					t.Errorf("error %v, want %q; log %q, want %q", err, tt.err, log.String(), tt.warns)
				}
				for _, want := range tt.err {
					if err != nil && !strings.Contains(err.Error(), want) {
						t.Errorf("the error is %q; it must contain %q", err, want)
					}
				}
			})
		})
	}
}

func newPreflightApp(t *testing.T, c *connections) *messages.App {
	t.Helper()
	client, err := tasks.NewClient(c.entities, c.queue, &tasks.ClientOptions{Project: c.Project, Location: c.Location, URL: "http://worker"})
	if err != nil {
		t.Fatal(err)
	}
	app, err := messages.New(&messages.Options{Client: client})
	if err != nil {
		t.Fatal(err)
	}
	return app
}

func answering(err error) grpc.UnaryClientInterceptor {
	return func(context.Context, string, any, any, *grpc.ClientConn, grpc.UnaryInvoker, ...grpc.CallOption) error {
		return err
	}
}

// Datastore's other answers, which no emulator gives.
func TestCheckDatastore(t *testing.T) {
	for _, tt := range []struct {
		answer    error
		emulator  string
		err, warn string // what one of them says
	}{
		{answer: status.Error(codes.FailedPrecondition, "The index for this query is not ready to serve."), warn: "being built"},
		{answer: status.Error(codes.FailedPrecondition, "no matching index found."), err: "gcloud datastore indexes create index.yaml"},
		{answer: status.Error(codes.FailedPrecondition, "no matching index found."), emulator: "127.0.0.1:1", err: "--index-mode autogen"},
		{answer: status.Error(codes.NotFound, "The database (default) does not exist."), err: "gcloud firestore databases create"},
		{answer: status.Error(codes.PermissionDenied, "Missing or insufficient permissions."), warn: "latchwork doctor"},
		{answer: context.DeadlineExceeded, warn: "latchwork doctor"},
		{answer: errors.New("anything"), warn: "latchwork doctor"},
	} {
		var log bytes.Buffer
		c := &connections{services: services{Project: "p", Location: "l", DatastoreHost: tt.emulator}}
		err := c.checkDatastore(fmt.Errorf("look: %w", tt.answer), slog.New(slog.NewTextHandler(&log, nil)))
		if said := fmt.Sprint(err); (err != nil) != (tt.err != "") || !strings.Contains(said, tt.err) || !strings.Contains(log.String(), tt.warn) || tt.warn == "" && log.Len() > 0 {
			t.Errorf("%v: error %q, want %q; log %q, want %q", tt.answer, said, tt.err, log.String(), tt.warn)
		}
	}
}
