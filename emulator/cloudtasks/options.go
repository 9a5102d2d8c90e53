package cloudtasks

import (
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/latchwork/latchwork/emulator/internal/chaos"
	"github.com/latchwork/latchwork/emulator/internal/clock"
	"github.com/latchwork/latchwork/emulator/internal/journal"
)

// Options tunes a Server; nil and the zero values mean what is stated.
type Options struct {
	Dir   string // data folder; "" keeps everything in memory
	Fsync string // "interval" (also ""), "never" or "always"; see package journal

	// Logger gets a line for each attempt at DEBUG, but for the first failure of a
	// task: WARN without an answer, INFO with one. WARN says that a task is given
	// up, ERROR that the data folder fails. Lines carry server=cloudtasks. Nil
	// discards.
	Logger *slog.Logger

	// AllowHosts are names, besides loopback names and IP literals, under which
	// the HTTP/1.1 side answers.
	AllowHosts []string

	Unlimited   bool // ignore the rates of queues; their concurrency still counts
	MaxInFlight int  // deliveries at a time over all queues; 1000
	Throttle    bool // slow queues down whose targets answer 429 or 503, or fail often

	Clock *clock.Clock // of schedules and lives; nil is the machine's
	Chaos *chaos.Chaos // the faults of deliveries and of the API; nil is none

	// Admin serves the paths below /_latchwork/ on the same port, guarded as all
	// of HTTP/1.1; nil answers them with 404.
	Admin http.Handler

	// TaskTombstone is how long the name of an ended task stays taken; 0: as its
	// queue says, which is 1 h, and 9 days where queue.yaml made the queue.
	// QueueTombstone is the same for queues: 72 h. Negative: not at all.
	TaskTombstone, QueueTombstone time.Duration

	// Transport carries deliveries; nil is one of the server's own, sized to
	// MaxInFlight. Close closes its idle connections.
	Transport http.RoundTripper

	// AppEngine has the address (host:port) that stands in for each App Engine
	// service; "" is the default service, which also gets what no other name
	// matches.
	AppEngine map[string]string

	// PubSub is the address (host:port) of a Pub/Sub emulator, for the jobs of Cloud
	// Scheduler that publish; without one their attempts fail.
	PubSub string

	// QueueYAML, CronYAML and DispatchYAML are paths of App Engine's files; "" is
	// none. They are read at the start, where what is wrong with them is an error,
	// and watched: what is wrong later is logged and changes nothing. The queues of
	// the location become what queue.yaml says, as after a deploy, which pauses
	// those that it leaves out; the jobs of cron.yaml are jobs of Cloud Scheduler.
	QueueYAML, CronYAML, DispatchYAML string
	Project, Location                 string // of queues and jobs of the files; needed with them
}

// check finds what New would otherwise find too late. The engine checks the
// rest.
func (o *Options) check() (journal.Fsync, error) {
	fsync, err := journal.ParseFsync(o.Fsync)
	if err != nil {
		return "", err
	}
	for _, service := range slices.Sorted(maps.Keys(o.AppEngine)) {
		address := o.AppEngine[service]
		if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
			return "", fmt.Errorf("address %q of the App Engine service %q: must be host:port", address, service)
		}
	}
	return fsync, o.checkFiles()
}
