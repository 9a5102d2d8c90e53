package doctor

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	cloudtasks "cloud.google.com/go/cloudtasks/apiv2"
	beta "cloud.google.com/go/cloudtasks/apiv2beta3"
	"cloud.google.com/go/datastore"
	admin "cloud.google.com/go/datastore/admin/apiv1"

	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/tasks"
)

// A Setup is what is looked at: the worker's configuration, and clients of its
// services.
type Setup struct {
	Broken error // why there are no clients; then nothing else is needed

	Project, Location, Database, Namespace string

	// The addresses of stand-ins; "" in the cloud. Some things they can't tell.
	CloudTasksHost, DatastoreHost string

	Target         string // tasks.TargetHTTP or tasks.TargetAppEngine
	WorkerURL      string
	ServiceAccount string // whose tokens the pushes carry
	Audience       string // of the tokens
	Auth           string // one of the Auth modes
	Queues         []string
	LockStore      string // memcached, datastore: what Locks is
	MemcacheAddrs  []string

	QueueFile File // queue.yaml
	IndexFile File // index.yaml

	CloudRunService, CloudRunRegion string // "" where the worker doesn't run there

	Tasks     *cloudtasks.Client
	TasksBeta *beta.Client
	Datastore *datastore.Client
	Admin     *admin.DatastoreAdminClient
	Outbox    Outbox
	Locks     memlock.Store

	Dial   func(ctx context.Context, network, addr string) (net.Conn, error) // to memcached, and to stand-ins
	Web    *http.Client                                                      // to the worker, without credentials
	Google *http.Client                                                      // to Google's REST APIs, with credentials; nil: there are none
	APIs   APIs

	Timeout time.Duration // of one check; 0 is 10 s
}

// A File is one of App Engine's, as it was read.
type File struct {
	Name string // for people
	Text []byte
	Err  error // why it could not be read; nil and no Text: there is none
}

// Outbox tells what transactions left for the sweeper: *tasks.Client does.
type Outbox interface {
	Outbox(ctx context.Context, limit int) iter.Seq2[tasks.OutboxEntry, error]
}

// APIs are the addresses of Google's REST APIs; empty ones are Google's own.
type APIs struct{ Firestore, CloudRun, IAM string }

// The modes in which a worker verifies who pushes.
const (
	AuthOIDC        = "oidc"
	AuthCloudRunIAM = "cloud-run-iam"
	AuthAppEngine   = "app-engine"
)

// The stores of locks.
const (
	LocksMemcached = "memcached"
	LocksDatastore = "datastore"
)

// A Status is how a check ended.
type Status string

const (
	OK      Status = "ok"
	Warning Status = "warning" // work goes on, but worse than it could, or not for ever
	Failure Status = "failure" // tasks don't run, or may be lost, or anybody can push them
	Skipped Status = "skipped" // not looked at: Found says why
)

// A Finding is what a check came to.
type Finding struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Looked string `json:"looked_at"`
	Found  string `json:"found"`
	Remedy string `json:"remedy,omitempty"` // commands to paste
}

// look begins a finding: what was looked at.
type look string

func (l look) ok(format string, args ...any) Finding {
	return Finding{Status: OK, Looked: string(l), Found: fmt.Sprintf(format, args...)}
}

func (l look) skip(format string, args ...any) Finding {
	return Finding{Status: Skipped, Looked: string(l), Found: fmt.Sprintf(format, args...)}
}

func (l look) warn(remedy, format string, args ...any) Finding {
	return Finding{Status: Warning, Looked: string(l), Found: fmt.Sprintf(format, args...), Remedy: remedy}
}

func (l look) fail(remedy, format string, args ...any) Finding {
	return Finding{Status: Failure, Looked: string(l), Found: fmt.Sprintf(format, args...), Remedy: remedy}
}

// A check is one thing that can be wrong.
type check struct {
	name  string
	needs string // the check that must not have failed or been skipped; "": none
	run   func(*session, context.Context) Finding
}

func checks() []check {
	return []check{
		{"environment", "", (*session).environment},
		{"auth", "environment", (*session).auth},
		{"audience", "environment", (*session).audience},
		{"worker", "environment", (*session).worker},
		{"invoker", "environment", (*session).invoker},
		{"cloud-tasks", "environment", (*session).cloudTasks},
		{"queues", "cloud-tasks", (*session).queues},
		{"queue-drift", "cloud-tasks", (*session).queueDrift},
		{"retry-override", "cloud-tasks", (*session).retryOverride},
		{"clock", "retry-override", (*session).clock},
		{"roles", "cloud-tasks", (*session).roles},
		{"act-as", "environment", (*session).actAs},
		{"datastore", "environment", (*session).datastore},
		{"indexes", "datastore", (*session).indexes},
		{"ttl", "environment", (*session).ttl},
		{"outbox-age", "datastore", (*session).outboxAge},
		{"outbox-errors", "datastore", (*session).outboxErrors},
		{"dead-letters", "datastore", (*session).deadLetters},
		{"locks", "environment", (*session).locks},
		{"memcached", "environment", (*session).memcached},
	}
}

// Checks lists the names of the checks, in the order of their findings.
func Checks() []string {
	var names []string
	for _, c := range checks() {
		names = append(names, c.name)
	}
	return names
}

// A session is one run, with what several checks look at.
type session struct {
	Setup
	listed func() (queueList, error)
	probed func() (*probe, error)
	left   func() (*leftovers, error)
}

// Run makes all checks at the same time, but for those that rest on another.
func Run(ctx context.Context, setup *Setup) []Finding {
	s := &session{Setup: *setup}
	s.Timeout = cmp.Or(s.Timeout, 10*time.Second)
	limited := func() (context.Context, context.CancelFunc) {
		return context.WithTimeoutCause(ctx, s.Timeout, fmt.Errorf("no answer within %v", s.Timeout))
	}
	s.listed = once(limited, s.list)
	s.probed = once(limited, s.probe)
	s.left = once(limited, s.scanOutbox)

	all := checks()
	findings := make([]Finding, len(all))
	ended := make([]chan struct{}, len(all))
	for i := range ended {
		ended[i] = make(chan struct{})
	}
	var wg sync.WaitGroup
	for i, c := range all {
		wg.Go(func() {
			defer close(ended[i])
			if c.needs != "" {
				before := slices.IndexFunc(all, func(other check) bool { return other.name == c.needs })
				<-ended[before]
				if st := findings[before].Status; st == Failure || st == Skipped {
					findings[i] = look("nothing").skip("it rests on the check %q, whose result is %s", c.needs, st)
					findings[i].Check = c.name
					return
				}
			}
			ctx, cancel := limited()
			defer cancel()
			findings[i] = c.run(s, ctx)
			findings[i].Check = c.name
		})
	}
	wg.Wait()
	return findings
}

// once shares a result among checks. It has a time limit of its own, since the
// check that happens to ask first may end at any time.
func once[T any](limited func() (context.Context, context.CancelFunc), f func(context.Context) (T, error)) func() (T, error) {
	return sync.OnceValues(func() (T, error) {
		ctx, cancel := limited()
		defer cancel()
		return f(ctx)
	})
}

// parent is the location of the queues.
func (s *Setup) parent() string { return "projects/" + s.Project + "/locations/" + s.Location }

// emulated tells whether the services are stand-ins.
func (s *Setup) emulated() bool { return s.CloudTasksHost != "" }

// answers spares the wait for a stand-in that isn't there: Google's clients try
// again for as long as they may.
func (s *Setup) answers(ctx context.Context, host string) error {
	if host == "" {
		return nil
	}
	conn, err := s.Dial(ctx, "tcp", host)
	if err != nil {
		return fmt.Errorf("no emulator answers at %s: %w", host, err)
	}
	conn.Close()
	return nil
}
