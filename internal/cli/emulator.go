package cli

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"time"

	"github.com/latchwork/latchwork/emulator"
	"github.com/latchwork/latchwork/emulator/cloudtasks"
	"github.com/latchwork/latchwork/emulator/datastore"
)

// standIns are the flags of the emulators, shared by `emulator` and `serve`.
type standIns struct {
	CloudTasksAddr string `default:"127.0.0.1:8123" help:"Address of the Cloud Tasks emulator; port 0 picks a free one." var:"LATCHWORK_CLOUD_TASKS_ADDR" group:"Emulators:"`
	DatastoreAddr  string `default:"127.0.0.1:8081" help:"Address of the Datastore emulator." var:"LATCHWORK_DATASTORE_ADDR" group:"Emulators:"`
	MemcachedAddr  string `default:"127.0.0.1:11211" help:"Address of the memcached stand-in." var:"LATCHWORK_MEMCACHED_ADDR" group:"Emulators:"`
	ConsoleAddr    string `default:"127.0.0.1:8000" help:"Address of the status page; 'off' for none." var:"LATCHWORK_CONSOLE_ADDR" group:"Emulators:"`

	Data      string `default:".latchwork" help:"Folder that queues, tasks and entities are kept in." var:"LATCHWORK_DATA" group:"Emulators:"`
	Ephemeral bool   `help:"Keep everything in memory instead." var:"LATCHWORK_EPHEMERAL" group:"Emulators:"`
	Fsync     string `default:"interval" enum:"never,interval,always" help:"When what was written reaches the disk: never, interval or always. kill -9 loses nothing in any mode; this is about power loss." var:"LATCHWORK_FSYNC" group:"Emulators:"`

	DatastoreConcurrency     string        `default:"pessimistic" enum:"pessimistic,optimistic" help:"How transactions meet: pessimistic (they wait) or optimistic (one is aborted)." var:"LATCHWORK_DATASTORE_CONCURRENCY" group:"Emulators:"`
	DatastoreTransactionIdle time.Duration `default:"60s" help:"How long a transaction may be idle before it expires; bounds the locks of a dead worker." var:"LATCHWORK_DATASTORE_TRANSACTION_IDLE" group:"Emulators:"`

	Queues    string `type:"existingfile" help:"queue.yaml. Accepted, but not read yet: the worker creates the queues of its classes." var:"LATCHWORK_QUEUES" group:"Emulators:"`
	Cron      string `type:"existingfile" help:"cron.yaml. Accepted, but not read yet." var:"LATCHWORK_CRON" group:"Emulators:"`
	Indexes   string `type:"existingfile" help:"index.yaml. Accepted, but not read yet." var:"LATCHWORK_INDEXES" group:"Emulators:"`
	IndexMode string `default:"autogen" enum:"autogen,require,off" help:"What a query without its composite index gets: autogen, require or off. Accepted, but all three answer every query yet." var:"LATCHWORK_INDEX_MODE" group:"Emulators:"`

	AppEngine map[string]string `help:"Addresses of App Engine services for App Engine tasks: SERVICE=HOST:PORT, 'default' for the default service and for those not named." var:"LATCHWORK_APP_ENGINE" placeholder:"SERVICE=HOST:PORT" group:"Emulators:"`

	Unlimited      bool     `help:"Lift the queues' rates, for load tests." var:"LATCHWORK_UNLIMITED" group:"Emulators:"`
	ChaosDuplicate float64  `help:"Probability, 0 to 1, that a task is delivered twice." var:"LATCHWORK_CHAOS_DUPLICATE" group:"Emulators:"`
	Seed           uint64   `help:"Seed of the chaos; 0 picks one and logs it." var:"LATCHWORK_SEED" group:"Emulators:"`
	AllowHost      []string `help:"Further Host names that HTTP requests may carry." var:"LATCHWORK_ALLOW_HOST" group:"Emulators:"`
	AllowRemote    bool     `help:"Let the emulators listen beyond loopback. They ask nobody who they are." var:"LATCHWORK_ALLOW_REMOTE" group:"Emulators:"`
}

func (f *standIns) validate() error {
	if f.ChaosDuplicate < 0 || f.ChaosDuplicate > 1 {
		return usageError{fmt.Errorf("--chaos-duplicate=%v: a probability lies between 0 and 1", f.ChaosDuplicate)}
	}
	if f.DatastoreTransactionIdle <= 0 {
		return usageError{fmt.Errorf("--datastore-transaction-idle=%v: must be positive", f.DatastoreTransactionIdle)}
	}
	for service, addr := range f.AppEngine {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return usageError{fmt.Errorf("--app-engine %s=%s: want SERVICE=HOST:PORT: %w", service, addr, err)}
		}
	}
	return nil
}

// appEngine is what the queue wants to know: the default service has no name.
func (f *standIns) appEngine() map[string]string {
	addrs := maps.Clone(f.AppEngine)
	if addr, ok := addrs["default"]; ok {
		delete(addrs, "default")
		addrs[""] = addr
	}
	return addrs
}

// start runs the three servers and the console; they are ready when it returns.
func (f *standIns) start(ctx context.Context, log *slog.Logger) (*emulator.Suite, error) {
	if err := f.validate(); err != nil {
		return nil, err
	}
	o := &emulator.Options{
		CloudTasksAddr: f.CloudTasksAddr,
		DatastoreAddr:  f.DatastoreAddr,
		MemcachedAddr:  f.MemcachedAddr,
		Fsync:          f.Fsync,
		AllowHosts:     f.AllowHost,
		AllowRemote:    f.AllowRemote,
		Logger:         log,
		Datastore:      &datastore.Options{Concurrency: f.DatastoreConcurrency, TransactionIdle: f.DatastoreTransactionIdle},
		CloudTasks:     &cloudtasks.Options{AppEngine: f.appEngine(), Unlimited: f.Unlimited, ChaosDuplicate: f.ChaosDuplicate, Seed: f.Seed},
	}
	if f.ConsoleAddr != "off" {
		o.ConsoleAddr = f.ConsoleAddr
	}
	if !f.Ephemeral {
		o.Dir = f.Data
	}
	return emulator.Start(ctx, o)
}

type emulatorCommand struct {
	standIns
}

// Run serves the stand-ins until ctx ends. Its first lines are what a shell can
// eval, and what wrappers of Google's emulators wait for.
func (c *emulatorCommand) Run(ctx context.Context, env Env, log *slog.Logger) error {
	suite, err := c.start(ctx, log)
	if err != nil {
		return err
	}
	for _, assignment := range suite.Env() {
		fmt.Fprintf(env.Stdout, "export %s\n", assignment)
	}
	fmt.Fprintln(env.Stdout, "# Dev App Server is now running.")
	if addr := suite.ConsoleAddr(); addr != "" {
		fmt.Fprintf(env.Stdout, "# Console: http://%s/\n", addr)
	}
	<-ctx.Done()
	return suite.Close()
}
