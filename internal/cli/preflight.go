package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/examples/messages"
)

// preflightTime bounds the look at the services before the worker starts.
const preflightTime = 5 * time.Second

// preflight looks for what is deployed apart from the worker: its queues, and the
// index that its queries need. What is definitely missing is an error that says how
// to make it; what can't be told, for want of a permission or of an answer, is a
// warning, and the worker starts.
func (c *connections) preflight(ctx context.Context, app *messages.App, queues []string, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, preflightTime)
	defer cancel()
	checks := []func() error{func() error { return c.checkDatastore(app.CheckIndex(ctx), log) }}
	if c.CloudTasksHost == "" { // in an emulator, the worker makes its queues
		for _, name := range queues {
			checks = append(checks, func() error { return c.checkQueue(ctx, name, log) })
		}
	}
	errs := make([]error, len(checks))
	var wg sync.WaitGroup
	for i, check := range checks {
		wg.Go(func() { errs[i] = check() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// checkQueue: a task for a queue that isn't there can't be enqueued.
func (c *connections) checkQueue(ctx context.Context, name string, log *slog.Logger) error {
	parent := "projects/" + c.Project + "/locations/" + c.Location
	at := fmt.Sprintf("%s --location=%s --project=%s", name, c.Location, c.Project)
	queue, err := c.queue.GetQueue(ctx, &cloudtaskspb.GetQueueRequest{Name: parent + "/queues/" + name})
	switch {
	case status.Code(err) == codes.NotFound:
		return fmt.Errorf("the queue %s does not exist in %s: %s\nCreate it: gcloud tasks queues create %s", name, parent, status.Convert(err).Message(), at)
	case err != nil:
		log.Warn("it can't be told whether a queue exists; the worker starts all the same: `latchwork doctor` says which role or setting is missing",
			"queue", parent+"/queues/"+name, "error", err)
	case queue.GetState() != cloudtaskspb.Queue_RUNNING:
		log.Warn("a queue doesn't run, so that its tasks wait: gcloud tasks queues resume "+at,
			"queue", queue.GetName(), "state", queue.GetState().String())
	}
	return nil
}

// checkDatastore judges the answer to a query that needs the index.
func (c *connections) checkDatastore(err error, log *slog.Logger) error {
	if err == nil {
		return nil
	}
	answer := status.Convert(err)
	if rpc, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err); ok { // without what wraps it
		answer = rpc.GRPCStatus()
	}
	switch {
	case answer.Code() == codes.FailedPrecondition && strings.Contains(answer.Message(), "not ready"):
		log.Warn("a composite index of index.yaml is being built; queries that need it fail until then: gcloud datastore indexes list --project="+c.Project, "error", err)
		return nil
	case answer.Code() == codes.FailedPrecondition && c.DatastoreHost != "":
		return fmt.Errorf("the Datastore emulator at %s refuses a query of the worker: %s\nGive the emulator the file, with --indexes index.yaml, or start it with --index-mode autogen", c.DatastoreHost, answer.Message())
	case answer.Code() == codes.FailedPrecondition:
		return fmt.Errorf("Datastore refuses a query of the worker: %s\nIf an index is missing, create it and wait until it is built: gcloud datastore indexes create index.yaml --project=%s", answer.Message(), c.Project)
	case answer.Code() == codes.NotFound:
		return fmt.Errorf("the project %s has no such Datastore: %s\nCreate it: gcloud firestore databases create --type=datastore-mode --location=%s --project=%s", c.Project, answer.Message(), c.Location, c.Project)
	}
	log.Warn("it can't be told whether Datastore has the worker's index; the worker starts all the same: `latchwork doctor` says which role or setting is missing", "error", err)
	return nil
}
