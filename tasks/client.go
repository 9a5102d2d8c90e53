package tasks

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/datastore"
	"github.com/googleapis/gax-go/v2"
)

var errNotBuilt = errors.New("tasks: not built yet")

// Submitter creates tasks: *cloudtasks.Client is one.
type Submitter interface {
	CreateTask(ctx context.Context, req *cloudtaskspb.CreateTaskRequest, opts ...gax.CallOption) (*cloudtaskspb.Task, error)
}

// Targets of pushes.
const (
	TargetHTTP      = "http"
	TargetAppEngine = "appengine"
)

// ClientOptions say where tasks go.
type ClientOptions struct {
	Project  string // required
	Location string // required

	Target         string // TargetHTTP (default) or TargetAppEngine
	URL            string // base URL of the worker: required with TargetHTTP
	Service        string // App Engine service; default: the default one
	ServiceAccount string // e-mail whose OIDC token every push carries; needs Audience
	Audience       string // of that token

	Namespace  string        // of outbox, ledger and dead letters, and prefix of locks and names; default ""
	SubmitWait time.Duration // how long a committed transaction waits for its tasks' creation; default 5 s
	Logger     *slog.Logger  // nil discards
}

// Client enqueues tasks and runs transactions.
type Client struct{}

// NewClient makes a client. ds may be nil in programs that only Enqueue.
func NewClient(ds *datastore.Client, s Submitter, o *ClientOptions) (*Client, error) {
	return &Client{}, nil
}

// Datastore is the client that was given to NewClient.
func (c *Client) Datastore() *datastore.Client { return nil }

// Namespace is the one of ClientOptions.
func (c *Client) Namespace() string { return "" }

// RunInTransaction runs f in a transaction, commits it, and submits the tasks
// that f enqueued. Only contention (ABORTED) runs f again, with a new Tx, at
// most 5 times; the error of f is returned as it is. What f read and wrote on
// other clients is not part of the transaction.
//
// A nil error means committed; the tasks are then in the queue or, after at
// most SubmitWait, left to the sweeper. After an error of the commit itself
// the transaction may have committed all the same.
func (c *Client) RunInTransaction(ctx context.Context, f func(*Tx) error) error { return errNotBuilt }
