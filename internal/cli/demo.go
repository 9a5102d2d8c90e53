package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"

	"github.com/latchwork/latchwork/examples/messages"
	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/memlock"
)

// exampleFlags are the spans of the example, short enough to watch; the App Engine
// original had 4 s and twice 5 min.
type exampleFlags struct {
	Slot     time.Duration `default:"1s" help:"Slot that the shards' tasks are rounded to." var:"LATCHWORK_SLOT" group:"Example:"`
	Timeout  time.Duration `default:"20s" help:"How long a message's sender waits for receipts." var:"LATCHWORK_TIMEOUT" group:"Example:"`
	Reminder time.Duration `default:"2s" help:"How long after the last receipt the reminder comes." var:"LATCHWORK_REMINDER" group:"Example:"`
}

type demoCommand struct {
	exampleFlags
	Recipients     int           `default:"1000" help:"How many users the message goes to."`
	Unknown        int           `default:"25" help:"How many of them don't exist."`
	ChaosDuplicate float64       `default:"0.1" help:"Probability, 0 to 1, that a task is delivered twice."`
	Seed           uint64        `default:"1" help:"Seed of the duplicates."`
	Within         time.Duration `default:"45s" help:"When to give up." var:"LATCHWORK_DEMO_WITHIN"`

	DatastoreConcurrency string `default:"pessimistic" enum:"pessimistic,optimistic" help:"How transactions meet: pessimistic or optimistic."`
}

func (c *demoCommand) validate() error {
	switch {
	case c.Recipients < 1 || c.Recipients > 100_000:
		return usageError{fmt.Errorf("--recipients=%d: from 1 to 100000", c.Recipients)}
	case c.Unknown < 0 || c.Unknown > c.Recipients:
		return usageError{fmt.Errorf("--unknown=%d: from 0 to the number of recipients, %d", c.Unknown, c.Recipients)}
	}
	return nil
}

// Run starts stand-ins in memory on free ports and a worker, sends one message,
// and prints the books. They don't balance: an error.
func (c *demoCommand) Run(ctx context.Context, env Env, log *slog.Logger) (err error) {
	if err := c.validate(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.Within, fmt.Errorf("not done within %v", c.Within))
	defer cancel()
	defer func() { // whatever call the end of the time cut off, the time is the reason
		if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
			err = errors.Join(cause, err)
		}
	}()

	s := standIns{
		CloudTasksAddr: "127.0.0.1:0", DatastoreAddr: "127.0.0.1:0", MemcachedAddr: "127.0.0.1:0", ConsoleAddr: "off",
		Ephemeral: true, Fsync: "never",
		DatastoreConcurrency: c.DatastoreConcurrency, DatastoreTransactionIdle: time.Minute,
		chaosFlags: chaosFlags{ChaosDuplicate: c.ChaosDuplicate, Seed: c.Seed},
	}
	suite, err := s.start(ctx, log, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, suite.Close()) }()

	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	// All of it shares this machine: a burst may take longer to reach the queue than
	// a sweeper should wait for.
	to := services{WorkerURL: "http://" + listener.Addr().String(), submitWait: time.Minute}
	to.standsAt(suite.CloudTasksAddr(), suite.DatastoreAddr(), suite.MemcachedAddr())
	if err := to.complete(ownMachine); err != nil {
		return err
	}
	conns, err := to.connect(ctx, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conns.Close()) }()

	d := &demo{out: env.Stdout}
	w, err := d.worker(conns, c, env, log)
	if err != nil {
		return err
	}
	if err := conns.createQueues(ctx, w.server.Queues()); err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- w.serve(serving, listener, 5*time.Second) }()
	err = d.run(ctx, conns, w.app, c)
	stop()
	return errors.Join(err, <-ended)
}

// demo counts what its worker did.
type demo struct {
	out        io.Writer
	deliveries handlers.Counters
	lockBusy   atomic.Int64
}

func (d *demo) worker(conns *connections, c *demoCommand, env Env, log *slog.Logger) (*worker, error) {
	locker := conns.newLocker(memlock.Options{
		Observer: memlock.Observer{Busy: func(context.Context, memlock.Event) { d.lockBusy.Add(1) }},
	})
	return conns.worker(locker, &c.exampleFlags, authOIDC, env.Getenv, &workerOptions{
		Local:    true,
		Observer: &d.deliveries,
		Logger:   log,
	})
}

// run sends the message, waits for the last of its tasks, and prints the books.
func (d *demo) run(ctx context.Context, conns *connections, app *messages.App, c *demoCommand) error {
	sender, known, recipients := c.cast()
	if err := app.AddUsers(ctx, append(known, sender)...); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "One message to %d recipients, %d of them unknown; %.0f %% of all deliveries come twice.\n\n",
		c.Recipients, c.Unknown, 100*c.ChaosDuplicate)
	start := time.Now()
	message, err := app.Send(ctx, sender, recipients, "The build is green.")
	if err != nil {
		return err
	}
	err = d.await(ctx, conns, app, message, c)
	took := time.Since(start)
	books, bookErr := app.Books(context.WithoutCancel(ctx), message)
	if bookErr != nil {
		return errors.Join(err, bookErr)
	}
	d.print(books, app.Stats(), took)
	return cmp.Or(books.Balanced(), err)
}

// cast names the sender, the users that exist, and the recipients.
func (c *demoCommand) cast() (sender string, known, recipients []string) {
	for i := range c.Recipients {
		if i < c.Unknown {
			recipients = append(recipients, fmt.Sprintf("unknown-%04d", i))
			continue
		}
		known = append(known, fmt.Sprintf("user-%04d", i))
	}
	return "sender", known, append(recipients, known...)
}

// await shows a progress bar until the books balance and every task that is due
// has run, duplicates included, or until ctx ends.
func (d *demo) await(ctx context.Context, conns *connections, app *messages.App, message string, c *demoCommand) error {
	progress := bar{out: d.out, live: isTerminal(d.out), all: c.Recipients, width: 40}
	defer progress.end()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		books, err := app.Books(ctx, message)
		if err != nil {
			return cmp.Or(context.Cause(ctx), err)
		}
		progress.show(books.Receipts + books.Failures)
		if books.Balanced() == nil {
			due, err := conns.tasksDue(ctx, c.Slot)
			if err != nil || !due {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// tasksDue tells whether a task runs, or will within the given time. The cancelled
// time-out's own task lies further ahead.
func (c *connections) tasksDue(ctx context.Context, within time.Duration) (bool, error) {
	until := time.Now().Add(within)
	for task, err := range c.queue.ListTasks(ctx, &cloudtaskspb.ListTasksRequest{
		Parent: fmt.Sprintf("projects/%s/locations/%s/queues/default", c.Project, c.Location),
	}).All() {
		if err != nil || task.GetScheduleTime().AsTime().Before(until) {
			return true, err
		}
	}
	return false, nil
}

// print shows the books.
func (d *demo) print(b messages.Books, shards messages.Stats, took time.Duration) {
	table := tabwriter.NewWriter(d.out, 0, 0, 2, ' ', 0)
	row := func(name string, value int64, why string) { fmt.Fprintf(table, "%s\t%6d  %s\n", name, value, why) }
	row("recipients", int64(b.Recipients), "")
	row("receipts", int64(b.Receipts), "recipients who got the message")
	row("failures", int64(b.Failures), "recipients who don't exist")
	row("delivered", int64(b.Delivered), "messages in inboxes")
	row("notifications", int64(b.Notifications), "left by transactional tasks, one a delivery")
	row("mutations left", int64(b.MutationsLeft), "")
	row("commits", d.deliveries.Count(handlers.OutcomeCommitted)+shards.Commits, "by tasks and inside shards")
	row("stopped by the lock", d.lockBusy.Load(), "duplicates and others that came while it was held")
	row("stopped by the ledger", d.deliveries.Count(handlers.OutcomeDuplicate), "duplicates that came after the commit")
	row("conflicts", d.deliveries.Conflicts()+shards.Conflicts, "transactions that were aborted")
	if err := table.Flush(); err != nil {
		fmt.Fprintln(d.out, err)
	}
	if err := b.Balanced(); err != nil {
		fmt.Fprintf(d.out, "\nThe books don't balance after %.1f s.\n", took.Seconds())
		return
	}
	fmt.Fprintf(d.out, "\nThe books balance: %d + %d = %d, and every delivery left one notification. It took %.1f s.\n",
		b.Receipts, b.Failures, b.Recipients, took.Seconds())
}
