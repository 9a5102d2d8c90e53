package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/auth/httptransport"
	beta "cloud.google.com/go/cloudtasks/apiv2beta3"
	admin "cloud.google.com/go/datastore/admin/apiv1"

	"github.com/latchwork/latchwork/internal/doctor"
	"github.com/latchwork/latchwork/tasks"
)

type doctorCommand struct {
	services
	Auth            string        `default:"oidc" enum:"oidc,cloud-run-iam,app-engine" help:"The worker's --auth." var:"LATCHWORK_AUTH"`
	Queues          string        `type:"path" help:"queue.yaml, to compare the queues with (default: queue.yaml in the working directory, if it is there)." var:"LATCHWORK_QUEUES"`
	Indexes         string        `type:"path" help:"index.yaml, to compare Datastore's composite indexes with (default: likewise)." var:"LATCHWORK_INDEXES"`
	CloudRunService string        `help:"The worker's Cloud Run service, whose invokers are looked at." var:"K_SERVICE"`
	CloudRunRegion  string        `help:"Its region (default: the location of the queues)." var:"CLOUD_RUN_REGION"`
	Timeout         time.Duration `default:"10s" help:"How long one check may take."`
	JSON            bool          `name:"json" help:"Print JSON."`
}

// Run prints the findings; a failure among them is an error.
func (c *doctorCommand) Run(ctx context.Context, env Env, log *slog.Logger) (err error) {
	if c.Timeout < 100*time.Millisecond || c.Timeout > 5*time.Minute {
		return usageError{fmt.Errorf("--timeout=%v: from 100ms to 5m", c.Timeout)}
	}
	setup, done := c.setup(ctx, env, log)
	findings := doctor.Run(ctx, setup)
	err = done()
	if c.JSON {
		err = errors.Join(err, writeJSON(env.Stdout, map[string]any{
			"project": setup.Project, "location": setup.Location, "emulators": setup.CloudTasksHost != "", "findings": findings,
			"failures": doctor.Count(findings, doctor.Failure), "warnings": doctor.Count(findings, doctor.Warning), "skipped": doctor.Count(findings, doctor.Skipped),
		}))
	} else {
		doctor.Write(env.Stdout, findings)
	}
	if n := doctor.Count(findings, doctor.Failure); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d checks fail", n, len(findings)))
	}
	return err
}

// setup connects as a worker with this configuration would. What keeps it from
// that is a finding, too.
func (c *doctorCommand) setup(ctx context.Context, env Env, log *slog.Logger) (s *doctor.Setup, done func() error) {
	p := platformFrom(env.Getenv)
	if c.embedded(p) {
		c.standsAt(defaultCloudTasksAddr, defaultDatastoreAddr, defaultMemcachedAddr)
	}
	s = &doctor.Setup{Timeout: c.Timeout}
	if s.Broken = c.complete(p); s.Broken != nil {
		return s, func() error { return nil }
	}
	if c.CloudTasksHost != "" { // as withConnections has it
		c.WorkerURL = cmp.Or(c.WorkerURL, "http://"+defaultWorkerAddr)
	}
	conns, err := c.connect(ctx, log)
	if err != nil {
		s.Broken = err
		return s, func() error { return nil }
	}
	s = c.describe(conns, s)
	s.Broken = errors.Join(c.connectMore(ctx, s), c.classes(conns, s, log))
	return s, func() error {
		err := conns.Close()
		if s.TasksBeta != nil {
			err = errors.Join(err, s.TasksBeta.Close())
		}
		if s.Admin != nil {
			err = errors.Join(err, s.Admin.Close())
		}
		return err
	}
}

// describe tells the doctor what the worker is configured to.
func (c *doctorCommand) describe(conns *connections, s *doctor.Setup) *doctor.Setup {
	s.Project, s.Location, s.Database = c.Project, c.Location, c.Database
	s.CloudTasksHost, s.DatastoreHost = c.CloudTasksHost, c.DatastoreHost
	s.Target, s.WorkerURL, s.ServiceAccount, s.Audience = c.Target, c.WorkerURL, c.ServiceAccount, c.audience()
	s.Auth = c.Auth
	s.LockStore, s.Locks, s.MemcacheAddrs = c.LockStore, conns.locks, c.MemcacheAddrs
	s.QueueFile, s.IndexFile = fileOr(c.Queues, "queue.yaml"), fileOr(c.Indexes, "index.yaml")
	s.CloudRunService, s.CloudRunRegion = c.CloudRunService, cmp.Or(c.CloudRunRegion, c.Location)
	s.Tasks, s.Datastore, s.Outbox = conns.queue, conns.entities, conns.client
	s.Dial = (&net.Dialer{Timeout: c.Timeout}).DialContext
	s.Web = &http.Client{Timeout: c.Timeout}
	return s
}

// connectMore makes the clients that only the doctor needs.
func (c *doctorCommand) connectMore(ctx context.Context, s *doctor.Setup) (err error) {
	if s.TasksBeta, err = beta.NewClient(ctx, tasks.EmulatorOptions(c.CloudTasksHost)...); err != nil {
		return fmt.Errorf("connect to Cloud Tasks: %w", err)
	}
	if s.Admin, err = admin.NewDatastoreAdminClient(ctx, tasks.EmulatorOptions(c.DatastoreHost)...); err != nil {
		return fmt.Errorf("connect to Datastore's administration: %w", err)
	}
	if c.CloudTasksHost != "" {
		return nil
	}
	s.Google, err = httptransport.NewClient(&httptransport.Options{DetectOpts: &credentials.DetectOptions{
		Scopes: []string{"https://www.googleapis.com/auth/cloud-platform"},
	}})
	if err != nil {
		return fmt.Errorf("connect to Google's APIs: %w", err)
	}
	return nil
}

// classes says which queues the classes of this program use.
func (c *doctorCommand) classes(conns *connections, s *doctor.Setup, log *slog.Logger) error {
	app, err := conns.newApp(nil, log)
	if err != nil {
		return err
	}
	s.Queues = queuesOf(app.Handlers())
	slices.Sort(s.Queues)
	s.Queues = slices.Compact(s.Queues)
	return nil
}

// fileOr reads the file that was named, or the one of the working directory, if it
// is there.
func fileOr(named, usual string) doctor.File {
	name := cmp.Or(named, usual)
	text, err := readFile(name)
	if named == "" && errors.Is(err, fs.ErrNotExist) {
		return doctor.File{Name: usual}
	}
	if err == nil && text == nil {
		text = []byte{}
	}
	return doctor.File{Name: name, Text: text, Err: err}
}
