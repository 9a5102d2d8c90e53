package tasks

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/datastore"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Submitter creates tasks: *cloudtasks.Client is one. When it has
// BatchCreateTasks as well, the tasks of large transactions go by it.
type Submitter interface {
	CreateTask(ctx context.Context, req *cloudtaskspb.CreateTaskRequest, opts ...gax.CallOption) (*cloudtaskspb.Task, error)
}

// Targets of pushes.
const (
	TargetHTTP      = "http"
	TargetAppEngine = "appengine"
)

// PushPath is where a worker receives its tasks: the class follows it.
const PushPath = "/_latchwork/tasks/"

// ClientOptions say where tasks go.
type ClientOptions struct {
	Project  string // required
	Location string // required

	Target         string // TargetHTTP (default) or TargetAppEngine
	URL            string // base URL of the worker: required with TargetHTTP, refused otherwise
	Service        string // App Engine service; default: the default one
	ServiceAccount string // e-mail whose OIDC token every push carries (TargetHTTP); needs Audience
	Audience       string // of that token

	Namespace  string        // of outbox, ledger and dead letters, and part of locks and names; default ""
	SubmitWait time.Duration // how long a committed transaction waits for its tasks' creation; default 5 s
	EagerBegin bool          // begin transactions by an RPC of their own, for Google's Firestore emulator, whose reads don't return the one that they begin
	Logger     *slog.Logger  // nil discards
}

// Client enqueues tasks and runs transactions. It is safe for concurrent use.
type Client struct {
	ds     *datastore.Client
	submit Submitter
	o      ClientOptions
	parent string // of queues
	log    *slog.Logger
}

var (
	projectID  = naming{regexp.MustCompile(`^[A-Za-z0-9:.-]+$`)}
	locationID = naming{regexp.MustCompile(`^[A-Za-z0-9-]+$`)}
)

// NewClient makes a client. ds may be nil in programs that only Enqueue.
func NewClient(ds *datastore.Client, s Submitter, o *ClientOptions) (*Client, error) {
	if o == nil {
		o = &ClientOptions{}
	}
	c := &Client{ds: ds, submit: s, o: *o, log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler))}
	c.o.Target = cmp.Or(o.Target, TargetHTTP)
	c.o.SubmitWait = cmp.Or(o.SubmitWait, 5*time.Second)
	c.o.URL = strings.TrimSuffix(o.URL, "/")
	c.parent = fmt.Sprintf("projects/%s/locations/%s/queues/", o.Project, o.Location)
	return c, c.validate()
}

func (c *Client) validate() error {
	var errs []error
	rule := func(ok bool, field string, value any, rule string) {
		if !ok {
			errs = append(errs, &RuleError{"ClientOptions." + field, fmt.Sprintf("%q", value), rule})
		}
	}
	o := c.o
	if c.submit == nil {
		errs = append(errs, errors.New("tasks: NewClient needs a Submitter, such as *cloudtasks.Client"))
	}
	rule(projectID.MatchString(o.Project), "Project", o.Project, "must be 1 to 100 characters [A-Za-z0-9:.-]")
	rule(locationID.MatchString(o.Location), "Location", o.Location, "must be 1 to 100 characters [A-Za-z0-9-]")
	rule(namespace.MatchString(o.Namespace), "Namespace", o.Namespace, "must be at most 100 characters [A-Za-z0-9._-]")
	rule(o.SubmitWait > 0 && o.SubmitWait <= time.Minute, "SubmitWait", o.SubmitWait.String(), "must be positive and at most 1 min")
	switch o.Target {
	case TargetHTTP:
		u, err := url.Parse(o.URL)
		ok := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "" && len(o.URL) <= 1900
		rule(ok, "URL", o.URL, "must be an http or https URL without user, query and fragment, of at most 1,900 bytes")
		rule((o.ServiceAccount == "") == (o.Audience == ""), "Audience", o.Audience, "must be set together with ServiceAccount: pushes carry a token of both or none")
		rule(o.Service == "", "Service", o.Service, "is for TargetAppEngine only")
	case TargetAppEngine:
		rule(o.URL == "", "URL", o.URL, "is for TargetHTTP only")
		rule(o.ServiceAccount == "" && o.Audience == "", "ServiceAccount", o.ServiceAccount+o.Audience, "is for TargetHTTP only: App Engine knows its own queues")
	default:
		rule(false, "Target", o.Target, `must be "http" or "appengine"`)
	}
	return errors.Join(errs...)
}

// Datastore is the client that was given to NewClient; nil when there was none.
func (c *Client) Datastore() *datastore.Client { return c.ds }

// Namespace is the one of ClientOptions.
func (c *Client) Namespace() string { return c.o.Namespace }

// EnqueueSlot creates the task of a coalescing class's slot after t: for the
// runner, which passes on the payload as it came, with fields that only a newer
// version knows.
func (c *Client) EnqueueSlot(ctx context.Context, s Spec, payload json.RawMessage, lockKey string, t time.Time) error {
	m, err := c.newMessage(ctx, s, payload, lockKey, &EnqueueOptions{ETA: t})
	if err != nil {
		return err
	}
	_, err = c.enqueue(ctx, m)
	return err
}

// enqueue creates one task now.
func (c *Client) enqueue(ctx context.Context, m message) (Receipt, error) {
	_, err := c.submit.CreateTask(ctx, c.request(m))
	switch {
	case err == nil:
		return Receipt{ID: m.Envelope.ID, TaskName: m.Name}, nil
	case status.Code(err) == codes.AlreadyExists && m.Name == hopName(m.Envelope):
		// Nobody else makes tasks of this name: a lost answer was repeated.
		return Receipt{ID: m.Envelope.ID, TaskName: m.Name}, nil
	case status.Code(err) == codes.AlreadyExists:
		return Receipt{TaskName: m.Name, Duplicate: true}, nil
	default:
		return Receipt{}, fmt.Errorf("tasks: create a task of class %s in queue %s: %w", m.Envelope.Class, m.Spec.Queue, err)
	}
}
