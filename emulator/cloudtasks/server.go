package cloudtasks

import (
	"cmp"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	v2pb "cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	v2beta2pb "cloud.google.com/go/cloudtasks/apiv2beta2/cloudtaskspb"
	v2beta3pb "cloud.google.com/go/cloudtasks/apiv2beta3/cloudtaskspb"
	"cloud.google.com/go/scheduler/apiv1/schedulerpb"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/dispatch"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/engine"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/identity"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/scheduler"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/service"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/v2"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/v2beta2"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/v2beta3"
	"github.com/latchwork/latchwork/emulator/internal/chaos"
	"github.com/latchwork/latchwork/emulator/internal/wire"
	"github.com/latchwork/latchwork/emulator/internal/wire/transcode"
)

const defaultInFlight = 1000

// A Server is a Cloud Tasks emulator. New makes it, and starts to deliver what
// its data folder holds.
type Server struct {
	engine    *engine.Engine
	service   *service.Service
	scheduler *scheduler.Scheduler
	files     *files
	versions  []version
	wire      *wire.Server
	transport http.RoundTripper
}

// A version of the API.
type version struct {
	name     string
	register func(grpc.ServiceRegistrar)
	buffer   func(queue, id, contentType string, body []byte) (proto.Message, error) // BufferTask, of HTTP alone
}

func versions(s *service.Service, upload func(app string, text []byte) error) []version {
	stable, beta3, beta2 := &v2.Server{Service: s}, &v2beta3.Server{Service: s}, &v2beta2.Server{Service: s, Upload: upload}
	return []version{
		{"v2", func(r grpc.ServiceRegistrar) { v2pb.RegisterCloudTasksServer(r, stable) }, stable.BufferTask},
		{"v2beta3", func(r grpc.ServiceRegistrar) { v2beta3pb.RegisterCloudTasksServer(r, beta3) }, beta3.BufferTask},
		{"v2beta2", func(r grpc.ServiceRegistrar) { v2beta2pb.RegisterCloudTasksServer(r, beta2) }, beta2.BufferTask},
	}
}

// New opens the data folder and returns a server that delivers tasks from now
// on, and answers once Serve is called. The error says which option is wrong, or
// what is wrong with the folder.
func New(o *Options) (*Server, error) {
	if o == nil {
		o = new(Options)
	}
	fsync, err := o.check()
	if err != nil {
		return nil, err
	}
	logger := o.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	logger = logger.With("server", "cloudtasks") // for the lines of shared packages, too
	inFlight := cmp.Or(o.MaxInFlight, defaultInFlight)
	transport := o.Transport
	if transport == nil {
		transport = dispatch.NewTransport(inFlight)
	}
	tokens := identity.New(o.Dir)
	f := &files{parent: o.parent(), location: o.Location, log: logger}
	if err := f.watchDispatch(o.DispatchYAML); err != nil {
		return nil, err
	}
	d := &dispatch.Dispatcher{Transport: transport, Tokens: tokens, AppEngine: o.AppEngine, Route: f.route, Logger: logger}
	u := &upset{chaos: o.Chaos, deliver: d.Deliver}
	e, err := engine.Open(engine.Options{
		Deliver: u.Deliver, Duplicate: u.duplicate,
		Dir: o.Dir, Fsync: fsync, Clock: o.Clock,
		MaxInFlight: inFlight, Unlimited: o.Unlimited,
		TaskTombstone: o.TaskTombstone, QueueTombstone: o.QueueTombstone,
		Throttle: o.Throttle, Logger: logger,
	})
	if err != nil {
		f.close()
		return nil, err
	}
	s := &Server{engine: e, service: service.New(e, o.Clock.Now), transport: transport, files: f}
	if err := s.schedule(o, fsync, d, logger); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	s.versions = versions(s.service, s.upload)
	interceptors := []grpc.UnaryServerInterceptor{o.Chaos.Outage(chaos.CloudTasksOutage, "/google.cloud.tasks.", changes)}
	server := grpc.NewServer(append(wire.GRPCOptions(), grpc.ChainUnaryInterceptor(interceptors...))...)
	s.register(server)
	api := transcode.Lazy(&transcode.Options{Interceptors: interceptors, Rules: s.rules()}, s.register)
	s.wire = &wire.Server{GRPC: server, HTTP: s.endpoints(api, tokens.Handler(), o.Admin), AllowHosts: o.AllowHosts, Logger: logger}
	return s, nil
}

// register registers every service, for gRPC and for HTTP.
func (s *Server) register(r grpc.ServiceRegistrar) {
	for _, v := range s.versions {
		v.register(r)
	}
	schedulerpb.RegisterCloudSchedulerServer(r, s.scheduler)
	s.service.RegisterMixins(r)
}

// rules are the paths of services that have none in their annotations.
func (s *Server) rules() []*annotations.HttpRule {
	var names []string
	for _, v := range s.versions {
		names = append(names, v.name)
	}
	return service.MixinRules(append(names, "v1")...) // which is Cloud Scheduler's
}

// Serve answers on l until Close, and then returns nil. It can be called for
// several listeners.
func (s *Server) Serve(l net.Listener) error { return s.wire.Serve(l) }

// Close ends the connections, cancels the deliveries in flight, whose tasks stay
// to be delivered again, and closes the data folder. Closing twice is harmless.
func (s *Server) Close() error {
	err := errors.Join(s.wire.Close(), s.stop())
	if t, ok := s.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
	return err
}

// stop ends what works by itself: the files, the jobs and the tasks.
func (s *Server) stop() error {
	s.files.close()
	var err error
	if s.scheduler != nil {
		err = s.scheduler.Close()
	}
	return errors.Join(err, s.engine.Close())
}

// Stats is a look at a server.
type Stats struct {
	Queues   []QueueStats // in the order of names
	InFlight int          // deliveries under way, duplicates of chaos included
}

// QueueStats is a look at a queue.
type QueueStats struct {
	Name               string // projects/P/locations/L/queues/Q
	State              string // RUNNING or PAUSED
	Pull               bool   // tasks wait for workers that lease them
	Tasks              int    // waiting or running
	Waiting            int    // tasks without a delivery under way
	Running            int    // deliveries under way
	OldestETA          time.Time
	ExecutedLastMinute uint64 // deliveries that were answered
	Attempts           uint64 // since the server started
	LastFailure        Failure
}

// A Failure is the latest attempt of a queue that failed since the server
// started.
type Failure struct {
	At     time.Time // when it ended; zero: there is none
	Task   string    // id
	Reason string    // such as UNAVAILABLE(14): HTTP status code 503; some 200 bytes
}

// Stats looks at all queues. OldestETA is zero where nothing waits.
func (s *Server) Stats() Stats {
	seen := s.engine.Stats()
	stats := Stats{InFlight: seen.InFlight, Queues: make([]QueueStats, len(seen.Queues))}
	for i, q := range seen.Queues {
		state := v2pb.Queue_RUNNING
		if q.Paused {
			state = v2pb.Queue_PAUSED
		}
		stats.Queues[i] = QueueStats{
			Name: q.Name, State: state.String(), Pull: q.Pull, Tasks: q.Tasks, Waiting: q.Waiting, Running: q.Running,
			ExecutedLastMinute: q.Executed, Attempts: q.Dispatched,
		}
		if q.Oldest != 0 {
			stats.Queues[i].OldestETA = time.UnixMicro(int64(q.Oldest))
		}
		if f := q.Failure; f.At != 0 {
			stats.Queues[i].LastFailure = Failure{At: time.UnixMicro(int64(f.At)), Task: f.Task, Reason: f.Reason}
		}
	}
	return stats
}
