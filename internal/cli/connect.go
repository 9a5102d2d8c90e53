package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	cloudtasks "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/datastore"
	"github.com/bradfitz/gomemcache/memcache"

	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/tasks"
)

// The addresses that `serve` has where nobody chose others; client commands try
// them when nothing is configured.
const (
	defaultWorkerAddr     = "127.0.0.1:8080"
	defaultCloudTasksAddr = "127.0.0.1:8123"
	defaultDatastoreAddr  = "127.0.0.1:8081"
	defaultMemcachedAddr  = "127.0.0.1:11211"
)

// connections are the clients of the three services, unmodified.
type connections struct {
	services
	queue    *cloudtasks.Client
	entities *datastore.Client
	cache    *memcache.Client // nil where there is no memcached
	locks    memlock.Store    // as LOCK_STORE says
	client   *tasks.Client
}

// withConnections is for client commands: it connects to what is configured, or else
// to the `serve` that runs on this machine.
func (s *services) withConnections(ctx context.Context, env Env, log *slog.Logger, f func(*connections) error) error {
	p := platformFrom(env.Getenv)
	if s.embedded(p) {
		s.standsAt(defaultCloudTasksAddr, defaultDatastoreAddr, defaultMemcachedAddr)
	}
	if err := s.complete(p); err != nil {
		return err
	}
	if s.CloudTasksHost != "" { // `serve` on this machine, unless told otherwise
		s.WorkerURL = cmp.Or(s.WorkerURL, "http://"+defaultWorkerAddr)
	}
	if err := s.reachable(ctx); err != nil {
		return err
	}
	c, err := s.connect(ctx, log)
	if err != nil {
		return err
	}
	return errors.Join(f(c), c.Close())
}

// locate is for commands that need no worker, only a location's queues or jobs:
// the emulator's, or the real ones where a project is configured and no emulator.
// It returns projects/P/locations/L.
func (s *services) locate(ctx context.Context, env Env) (parent string, err error) {
	if s.embedded(platformFrom(env.Getenv)) {
		s.CloudTasksHost = defaultCloudTasksAddr
	}
	if s.CloudTasksHost != "" {
		s.Project, s.Location = cmp.Or(s.Project, localProject), cmp.Or(s.Location, localLocation)
	}
	if s.Project == "" || s.Location == "" {
		return "", errors.New("GOOGLE_CLOUD_PROJECT and CLOUD_TASKS_LOCATION say whose queues and jobs are meant: set both, or CLOUD_TASKS_EMULATOR_HOST")
	}
	if err := (&services{CloudTasksHost: s.CloudTasksHost}).reachable(ctx); err != nil {
		return "", err
	}
	return "projects/" + s.Project + "/locations/" + s.Location, nil
}

// reachable spares a person the wait: Google's clients retry a refused connection
// for as long as the context lasts.
func (s *services) reachable(ctx context.Context) error {
	dialer := net.Dialer{Timeout: 2 * time.Second}
	for _, host := range []string{s.CloudTasksHost, s.DatastoreHost} {
		if host == "" {
			continue
		}
		conn, err := dialer.DialContext(ctx, "tcp", host)
		if err != nil {
			return fmt.Errorf("no emulator answers at %s: %w\nStart one with `latchwork serve` or `latchwork emulator`, or set CLOUD_TASKS_EMULATOR_HOST, DATASTORE_EMULATOR_HOST and MEMCACHE_ADDRS", host, err)
		}
		conn.Close()
	}
	return nil
}

// standsAt points the services at stand-ins.
func (s *services) standsAt(cloudTasks, datastore, memcached string) {
	s.CloudTasksHost, s.DatastoreHost, s.MemcacheAddrs = cloudTasks, datastore, []string{memcached}
}

// connect makes the clients of complete services. It sends nothing yet: a service
// that is down is found by the first call.
func (s *services) connect(ctx context.Context, log *slog.Logger) (_ *connections, err error) {
	c := &connections{services: *s}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if c.queue, err = cloudtasks.NewClient(ctx, tasks.EmulatorOptions(s.CloudTasksHost)...); err != nil {
		return nil, fmt.Errorf("connect to Cloud Tasks: %w", err)
	}
	if c.entities, err = datastore.NewClientWithDatabase(ctx, s.Project, s.Database, tasks.EmulatorOptions(s.DatastoreHost)...); err != nil {
		return nil, fmt.Errorf("connect to Datastore: %w", err)
	}
	if len(s.MemcacheAddrs) > 0 {
		if c.cache, err = memlock.NewMemcacheClient(s.MemcacheAddrs...); err != nil {
			return nil, fmt.Errorf("MEMCACHE_ADDRS: %w", err)
		}
	}
	if c.locks, err = c.newLockStore(); err != nil {
		return nil, fmt.Errorf("LOCK_STORE=%s: %w", s.LockStore, err)
	}
	o := &tasks.ClientOptions{Project: s.Project, Location: s.Location, Target: s.Target, EagerBegin: s.EagerBegin, SubmitWait: s.submitWait, Logger: log}
	if s.Target == tasks.TargetHTTP {
		o.URL, o.ServiceAccount, o.Audience = s.WorkerURL, s.ServiceAccount, s.audience()
	}
	c.client, err = tasks.NewClient(c.entities, c.queue, o)
	return c, err
}

// audience is what the queue's tokens are made out to and what the worker demands.
func (s *services) audience() string {
	if s.Audience != "" {
		return s.Audience
	}
	return s.WorkerURL
}

// Close ends the connections; it may be called on a half-made value.
func (c *connections) Close() error {
	var errs []error
	if c.queue != nil {
		errs = append(errs, c.queue.Close())
	}
	if c.entities != nil {
		errs = append(errs, c.entities.Close())
	}
	if c.cache != nil {
		errs = append(errs, c.cache.Close())
	}
	return errors.Join(errs...)
}
