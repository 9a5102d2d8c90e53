package doctor_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"path"
	"strings"
	"testing"
	"time"

	beta "cloud.google.com/go/cloudtasks/apiv2beta3"
	"cloud.google.com/go/cloudtasks/apiv2beta3/cloudtaskspb"
	admin "cloud.google.com/go/datastore/admin/apiv1"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/latchwork/latchwork/emulator"
	"github.com/latchwork/latchwork/emulator/datastore"
	"github.com/latchwork/latchwork/emulator/emulatortest"
	"github.com/latchwork/latchwork/internal/doctor"
	"github.com/latchwork/latchwork/internal/fault"
	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/tasks"
)

const (
	account   = "worker@test-project.iam.gserviceaccount.com"
	queueYAML = "queue:\n- {name: default, rate: 100/s}\n- {name: mail, rate: 5/s}\n"
	indexYAML = "indexes:\n- kind: Note\n  properties:\n  - name: Owner\n  - name: At\n    direction: desc\n"
)

// A world is a worker's setup in which nothing is wrong: the emulators stand for
// the cloud, unless local is called, and google for Google's REST APIs.
type world struct {
	*emulatortest.Env
	t      *testing.T
	setup  *doctor.Setup
	script *fault.Script // of all gRPC calls
	alter  map[string]func(reply any)
	google *google
	worker http.HandlerFunc
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, script: new(fault.Script), alter: map[string]func(any){}, google: newGoogle()}
	w.Env = emulatortest.Start(t, &emulatortest.Options{
		Suite:       &emulator.Options{Datastore: &datastore.Options{IndexMode: "require"}},
		AllowOutbox: true,
	})
	w.worker = func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusForbidden) }
	w.ServeHTTP("worker.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.worker(rw, r) }))
	apis := w.ServeHTTP("google.example:80", w.google)
	opts := []grpc.DialOption{grpc.WithChainUnaryInterceptor(w.script.Unary(), w.altered)}
	queue, entities := w.NewTasksClient(opts...), w.NewDatastoreClient(opts...)
	client, err := tasks.NewClient(entities, queue, &tasks.ClientOptions{Project: w.Project, Location: w.Location, URL: "https://worker.example", ServiceAccount: account, Audience: "https://worker.example"})
	if err != nil {
		t.Fatal(err)
	}
	w.setup = &doctor.Setup{
		Project: w.Project, Location: w.Location,
		Target: tasks.TargetHTTP, WorkerURL: "https://worker.example", ServiceAccount: account, Audience: "https://worker.example",
		Auth: doctor.AuthOIDC, Queues: []string{"default", "mail"}, LockStore: doctor.LocksMemcached, MemcacheAddrs: []string{w.Suite.MemcachedAddr()},
		QueueFile:       doctor.File{Name: "queue.yaml", Text: []byte(queueYAML)},
		IndexFile:       doctor.File{Name: "index.yaml", Text: []byte(indexYAML)},
		CloudRunService: "worker", CloudRunRegion: "europe-west1",
		Tasks: queue, Datastore: entities, Outbox: client,
		TasksBeta: must(beta.NewClient(t.Context(), w.options(w.Suite.CloudTasksAddr(), opts)...)),
		Admin:     must(admin.NewDatastoreAdminClient(t.Context(), w.options(w.Suite.DatastoreAddr(), opts)...)),
		Locks:     memlock.NewMemcacheStore(w.Memcache, nil),
		Dial:      w.Net.DialContext,
		Web: &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialTLSContext: func(ctx context.Context, _, addr string) (net.Conn, error) { // without TLS
			return w.Net.DialContext(ctx, "tcp", addr)
		}}},
		Google:  w.HTTP,
		APIs:    doctor.APIs{Firestore: apis, CloudRun: apis, IAM: apis},
		Timeout: 10 * time.Second,
	}
	t.Cleanup(func() { // before the servers are closed
		w.setup.Web.CloseIdleConnections()
		w.close(w.setup.TasksBeta.Close)
		w.close(w.setup.Admin.Close)
	})
	w.deploy("default", 100)
	w.deploy("mail", 5)
	w.index("Note", "Owner", "At desc")
	return w
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // an option of the test's own
	}
	return v
}

func (w *world) close(f func() error) {
	if err := f(); err != nil {
		w.t.Error(err)
	}
}

func (w *world) options(addr string, opts []grpc.DialOption) []option.ClientOption {
	all := []option.ClientOption{option.WithEndpoint("passthrough:///" + addr), option.WithoutAuthentication(), option.WithTelemetryDisabled()}
	for _, o := range append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		return w.Net.DialContext(ctx, "tcp", addr)
	})) {
		all = append(all, option.WithGRPCDialOption(o))
	}
	return all
}

// altered lets a test change the answers of a method.
func (w *world) altered(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, cc, opts...)
	if change := w.alter[path.Base(method)]; err == nil && change != nil {
		change(reply)
	}
	return err
}

// local makes the emulators what they are.
func (w *world) local() {
	w.setup.CloudTasksHost, w.setup.DatastoreHost = w.Suite.CloudTasksAddr(), w.Suite.DatastoreAddr()
	w.setup.Google, w.setup.CloudRunService = nil, ""
}

// deploy makes a queue what a queue.yaml with just a rate says.
func (w *world) deploy(name string, rate float64) {
	w.t.Helper()
	_, err := w.setup.TasksBeta.UpdateQueue(w.t.Context(), &cloudtaskspb.UpdateQueueRequest{
		Queue: &cloudtaskspb.Queue{
			Name:        w.QueueName(name),
			RateLimits:  &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: rate, MaxBurstSize: 5, MaxConcurrentDispatches: 1000},
			RetryConfig: &cloudtaskspb.RetryConfig{MaxAttempts: -1},
		},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"rate_limits", "retry_config.max_attempts"}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) run() []doctor.Finding {
	w.t.Helper()
	return doctor.Run(w.t.Context(), w.setup)
}

// find returns the finding of a check.
func find(t *testing.T, findings []doctor.Finding, check string) doctor.Finding {
	t.Helper()
	for _, f := range findings {
		if f.Check == check {
			return f
		}
	}
	t.Fatalf("there is no finding of the check %q", check)
	return doctor.Finding{}
}

// A google answers for Google's REST APIs. Its fields are JSON answers by
// "METHOD path", or a status.
type google struct {
	answers  map[string]string
	statuses map[string]int
}

const (
	ttlPath     = "GET /v1/projects/test-project/databases/(default)/collectionGroups/_latchwork_ledger/fields/ExpireAt"
	servicePath = "GET /v2/projects/test-project/locations/europe-west1/services/worker"
	policyPath  = servicePath + ":getIamPolicy"
	actAsPath   = "POST /v1/projects/-/serviceAccounts/" + account + ":testIamPermissions"
)

func newGoogle() *google {
	return &google{statuses: map[string]int{}, answers: map[string]string{
		ttlPath:     `{"name": "…", "ttlConfig": {"state": "ACTIVE"}}`,
		servicePath: `{"name": "…", "uri": "https://worker.example"}`,
		policyPath:  `{"bindings": [{"role": "roles/run.invoker", "members": ["allUsers"]}]}`,
		actAsPath:   `{"permissions": ["iam.serviceAccounts.actAs"]}`,
	}}
}

// ServeHTTP answers, as Google does where there is nothing, with 404 and a text.
func (g *google) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Method + " " + r.URL.Path
	answer, ok := g.answers[key]
	status := g.statuses[key]
	switch {
	case status == 0 && ok:
		status = http.StatusOK
	case status == 0:
		status = http.StatusNotFound
		fallthrough
	default:
		text, _ := json.Marshal(map[string]any{"error": map[string]any{"code": status, "message": "the words of\n" + strings.Repeat("x", 2000)}})
		answer = string(text)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(answer))
}
