package messages

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/latchwork/latchwork/tasks"
)

// Options of an App. Client is required; a zero value elsewhere is the default.
type Options struct {
	// Client enqueues and runs transactions. Its Datastore holds the users, in
	// its namespace.
	Client *tasks.Client
	// Cache spares runs of shards that have just been looked at. Nil = every
	// task looks for itself.
	Cache Cache
	// Queue is the short id of the queue of all tasks; "" = "default".
	Queue string
	// Logger gets what needs attention. Nil discards.
	Logger *slog.Logger

	Timeout  time.Duration // until missing answers are noted; default 5 min
	Reminder time.Duration // from the last answer to the reminder; default 5 min

	Shards         int           // users are spread over; default 32, at most 1,024
	Parallel       int           // roots processed at once in a shard; default 16
	Batch          int           // mutations in a transaction; default 128, at most 400
	Slot           time.Duration // of the shards' tasks; default 4 s
	ProcessLoop    time.Duration // after which a run begins no round; default 4 min 30 s
	HandlerTimeout time.Duration // of a run; default 9 min
	DustSettle     time.Duration // between rounds; default 2 s
	TaskAge        time.Duration // how long a run that fails is retried; default 2 min
}

// withDefaults returns a copy that has them, or says which rule is broken.
func (o *Options) withDefaults() (Options, error) {
	if o == nil || o.Client == nil || o.Client.Datastore() == nil {
		return Options{}, errors.New("messages: Options.Client with a Datastore client is required")
	}
	d := *o
	d.Queue = cmp.Or(d.Queue, "default")
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	return d, errors.Join(
		setting("Timeout", &d.Timeout, 5*time.Minute, time.Millisecond, 7*24*time.Hour),
		setting("Reminder", &d.Reminder, 5*time.Minute, time.Millisecond, 7*24*time.Hour),
		setting("Shards", &d.Shards, 32, 1, 1024),
		setting("Parallel", &d.Parallel, 16, 1, 1024),
		setting("Batch", &d.Batch, 128, 1, 400),
		setting("Slot", &d.Slot, 4*time.Second, 100*time.Millisecond, time.Hour),
		setting("ProcessLoop", &d.ProcessLoop, 4*time.Minute+30*time.Second, 1, 24*time.Hour),
		setting("HandlerTimeout", &d.HandlerTimeout, 9*time.Minute, time.Second, 24*time.Hour),
		setting("DustSettle", &d.DustSettle, 2*time.Second, time.Millisecond, time.Hour),
		setting("TaskAge", &d.TaskAge, 2*time.Minute, time.Second, 14*24*time.Hour),
	)
}

// setting fills in the default and checks the range.
func setting[T int | time.Duration](name string, v *T, byDefault, least, most T) error {
	*v = cmp.Or(*v, byDefault)
	if *v < least || *v > most {
		return fmt.Errorf("messages: Options.%s is %v; %v to %v are accepted", name, *v, least, most)
	}
	return nil
}
