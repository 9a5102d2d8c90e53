package doctor_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	betapb "cloud.google.com/go/cloudtasks/apiv2beta3/cloudtaskspb"
	ds "cloud.google.com/go/datastore"
	"cloud.google.com/go/datastore/admin/apiv1/adminpb"
	"cloud.google.com/go/iam/apiv1/iampb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/latchwork/latchwork/emulator"
	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/internal/doctor"
	"github.com/latchwork/latchwork/internal/fault"
	"github.com/latchwork/latchwork/tasks"
)

// index creates a composite index: properties as in "At desc".
func (w *world) index(kind string, properties ...string) {
	w.t.Helper()
	x := &adminpb.Index{Kind: kind, Ancestor: adminpb.Index_NONE}
	for _, p := range properties {
		name, desc := strings.CutSuffix(p, " desc")
		direction := adminpb.Index_ASCENDING
		if desc {
			direction = adminpb.Index_DESCENDING
		}
		x.Properties = append(x.Properties, &adminpb.Index_IndexedProperty{Name: name, Direction: direction})
	}
	if _, err := w.setup.Admin.CreateIndex(w.t.Context(), &adminpb.CreateIndexRequest{ProjectId: w.Project, Index: x}); err != nil {
		w.t.Fatal(err)
	}
}

// outbox leaves an entity as a transaction does whose tasks could not be submitted.
func (w *world) outbox(name string, age time.Duration, refusal string) {
	w.t.Helper()
	_, err := w.Datastore.Put(w.t.Context(), ds.NameKey(tasks.OutboxKind, name, nil), &ds.PropertyList{
		{Name: "Tasks", Value: []byte("[]"), NoIndex: true},
		{Name: "CreatedAt", Value: time.Now().Add(-age), NoIndex: true},
		{Name: "Attempts", Value: int64(3), NoIndex: true},
		{Name: "NextTry", Value: time.Now().Add(time.Minute), NoIndex: true},
		{Name: "Error", Value: refusal, NoIndex: true},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) dead(names ...string) {
	w.t.Helper()
	for _, name := range names {
		if _, err := w.Datastore.Put(w.t.Context(), ds.NameKey(handlers.DeadKind, name, nil), &ds.PropertyList{}); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) policy(bindings string) {
	w.google.answers[policyPath] = `{"bindings": [` + bindings + `]}`
}

func (w *world) mayNotList() {
	w.script.On("ListQueues", 0, fault.Fail(status.Error(codes.PermissionDenied, "no")))
}

// denied grants all permissions but those.
func denied(permissions ...string) func(any) {
	return func(reply any) {
		r := reply.(*iampb.TestIamPermissionsResponse)
		r.Permissions = slices.DeleteFunc(r.Permissions, func(p string) bool { return slices.Contains(permissions, p) })
	}
}

// Everything that can be wrong, what the doctor says of it, and the remedy.
var cases = []struct {
	name, check string
	arrange     func(*world)
	status      doctor.Status
	found       string
	remedy      string
}{
	{"half configured", "environment", func(w *world) { w.setup.Broken = errors.New("the environment is half configured") }, doctor.Failure, "half configured", "latchwork doctor --help"},

	{"headers for tokens", "auth", func(w *world) { w.setup.Auth = doctor.AuthAppEngine }, doctor.Failure, "every push would be refused", "LATCHWORK_AUTH=oidc"},
	{"tokens for headers", "auth", func(w *world) { w.setup.Target = tasks.TargetAppEngine }, doctor.Failure, "every push would be refused", "LATCHWORK_AUTH=app-engine"},
	{"no Cloud Run", "auth", func(w *world) { w.setup.Auth = doctor.AuthCloudRunIAM; w.local() }, doctor.Failure, "isn't there with emulators", "LATCHWORK_AUTH=oidc"},
	{"which service", "auth", func(w *world) { w.setup.Auth, w.setup.CloudRunService = doctor.AuthCloudRunIAM, "" }, doctor.Warning, "nobody looked", "--cloud-run-service"},

	{"plain http", "audience", func(w *world) { w.setup.WorkerURL = "http://worker.example" }, doctor.Failure, "in the clear", "WORKER_URL=https://worker.example"},
	{"this machine", "audience", func(w *world) { w.setup.WorkerURL = "https://127.0.0.1:8080" }, doctor.Failure, "can't reach", "WORKER_URL="},
	{"localhost", "audience", func(w *world) { w.setup.WorkerURL = "https://localhost" }, doctor.Failure, "can't reach", "WORKER_URL="},
	{"no host", "audience", func(w *world) { w.setup.WorkerURL = "worker" }, doctor.Failure, "names no host", "WORKER_URL="},
	{"a query", "audience", func(w *world) { w.setup.Audience += "?x=1" }, doctor.Warning, "a query", "unset TASKS_AUDIENCE"},
	{"a path", "audience", func(w *world) { w.setup.Audience += "/tasks" }, doctor.Warning, "a path", "unset TASKS_AUDIENCE"},
	{"a space", "audience", func(w *world) { w.setup.Audience += " " }, doctor.Failure, "no audience", "unset TASKS_AUDIENCE"},
	{"of somebody else", "audience", func(w *world) { w.setup.Audience, w.setup.Auth = "https://other.example", doctor.AuthCloudRunIAM }, doctor.Warning, "for its own URL", "--add-custom-audiences=https://other.example"},

	{"open to all", "worker", func(w *world) { w.worker = func(http.ResponseWriter, *http.Request) {} }, doctor.Failure, "accepts tasks from anybody", "curl -i -X POST https://worker.example/_latchwork/tasks/latchwork-doctor"},
	{"elsewhere", "worker", func(w *world) { w.worker = http.NotFound }, doctor.Warning, "is the worker there", "curl"},
	{"redirecting", "worker", func(w *world) {
		w.worker = func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "https://new.example/x?y", http.StatusMovedPermanently)
		}
	}, doctor.Failure, "redirects (301)", "WORKER_URL=https://new.example"},
	{"broken", "worker", func(w *world) {
		w.worker = func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) }
	}, doctor.Warning, "502", "curl"},
	{"not there", "worker", func(w *world) { w.setup.WorkerURL = "https://nobody.example" }, doctor.Warning, "no answer", "curl"},
	{"not started", "worker", func(w *world) { w.setup.WorkerURL = "https://nobody.example"; w.local() }, doctor.Warning, "no answer", "latchwork serve"},

	{"not public", "invoker", func(w *world) { w.policy("") }, doctor.Failure, "isn't public", "--member=allUsers --role=roles/run.invoker"},
	{"public on a condition", "invoker", func(w *world) {
		w.policy(`{"role": "roles/run.invoker", "members": ["allUsers"], "condition": {"expression": "x"}}`)
	}, doctor.Failure, "isn't public", "--member=allUsers"},
	{"public without a check of code", "invoker", func(w *world) { w.setup.Auth = doctor.AuthCloudRunIAM }, doctor.Failure, "anybody can push tasks", "remove-iam-policy-binding worker --project=test-project --region=europe-west1 --member=allUsers"},
	{"every account", "invoker", func(w *world) {
		w.setup.Auth = doctor.AuthCloudRunIAM
		w.policy(`{"role": "roles/run.invoker", "members": ["serviceAccount:` + account + `", "allAuthenticatedUsers"]}`)
	}, doctor.Failure, "anybody can push tasks", "--member=allAuthenticatedUsers"},
	{"no check at all", "invoker", func(w *world) {
		w.setup.Auth = doctor.AuthCloudRunIAM
		w.google.answers[servicePath] = `{"invokerIamDisabled": true}`
		w.policy(`{"role": "roles/run.invoker", "members": ["serviceAccount:` + account + `"]}`)
	}, doctor.Failure, "Cloud Run checks nobody", "--invoker-iam-check"},
	{"the queue is kept out", "invoker", func(w *world) { w.setup.Auth = doctor.AuthCloudRunIAM; w.policy("") }, doctor.Failure, account + " may not invoke it", "--member=serviceAccount:" + account},
	{"no such service", "invoker", func(w *world) { w.setup.CloudRunService = "nobody" }, doctor.Failure, "no such service", "gcloud run services list"},
	{"may not look", "invoker", func(w *world) { w.google.statuses[policyPath] = http.StatusForbidden }, doctor.Warning, "403: the words of x", "roles/run.viewer"},
	{"not JSON", "invoker", func(w *world) { w.google.answers[policyPath] = "<html>" }, doctor.Warning, "invalid character", "curl -sSI http://google.example"},

	{"may not list", "cloud-tasks", (*world).mayNotList, doctor.Warning, "may not list the queues", "roles/cloudtasks.viewer"},
	{"may not list", "queues", (*world).mayNotList, doctor.Skipped, "may not list", ""},
	{"may not list", "queue-drift", (*world).mayNotList, doctor.Skipped, "may not list", ""},
	{"may not list", "roles", (*world).mayNotList, doctor.OK, "may create tasks", ""},
	{"may not list", "retry-override", (*world).mayNotList, doctor.OK, "keeps the retry settings", ""},
	{"trouble", "cloud-tasks", func(w *world) { w.script.On("ListQueues", 0, fault.Fail(status.Error(codes.Internal, "trouble"))) }, doctor.Failure, "trouble", "gcloud tasks queues list"},
	{"no such location", "cloud-tasks", func(w *world) { w.setup.Location = "no where" }, doctor.Failure, "InvalidArgument", "gcloud tasks locations list"},
	{"no emulator", "cloud-tasks", func(w *world) { w.local(); w.setup.CloudTasksHost = "127.0.0.1:1" }, doctor.Failure, "no emulator answers at 127.0.0.1:1", "latchwork emulator"},

	{"missing", "queues", func(w *world) { w.setup.Queues = append(w.setup.Queues, "new") }, doctor.Failure, "missing: new", "gcloud tasks queues create new --location=us-central1 --project=test-project"},
	{"missing and in the file", "queues", func(w *world) {
		w.setup.Queues, w.setup.QueueFile.Text = append(w.setup.Queues, "new"), []byte(queueYAML+"- {name: new, rate: 1/s}\n")
	}, doctor.Failure, "missing: new", "latchwork queues apply queue.yaml"},
	{"missing in an emulator", "queues", func(w *world) { w.local(); w.setup.Queues = append(w.setup.Queues, "new") }, doctor.Failure, "missing: new", "latchwork serve"},
	{"paused", "queues", func(w *world) {
		if _, err := w.Tasks.PauseQueue(w.t.Context(), &cloudtaskspb.PauseQueueRequest{Name: w.QueueName("mail")}); err != nil {
			w.t.Fatal(err)
		}
	}, doctor.Warning, "paused: mail: their tasks wait", "gcloud tasks queues resume mail"},
	{"disabled", "queues", func(w *world) {
		w.alter["ListQueues"] = func(reply any) { reply.(*betapb.ListQueuesResponse).Queues[1].State = betapb.Queue_DISABLED }
	}, doctor.Failure, "disabled by a deploy of queue.yaml that left them out: mail", "gcloud tasks queues resume mail"},
	{"pull", "queues", func(w *world) {
		w.alter["ListQueues"] = func(reply any) { reply.(*betapb.ListQueuesResponse).Queues[1].Type = betapb.Queue_PULL }
	}, doctor.Failure, "pull queues, which push nothing: mail", "latchwork queues apply"},

	{"changed by hand", "queue-drift", func(w *world) { w.deploy("mail", 7) }, doctor.Warning, "mail: rate_limits.max_dispatches_per_second 7 -> 5", "latchwork queues apply queue.yaml"},
	{"not in the file", "queue-drift", func(w *world) { w.deploy("stranger", 1) }, doctor.Warning, "stranger: the file leaves it out", "before the next deploy"},
	{"many", "queue-drift", func(w *world) {
		for _, name := range []string{"a", "b", "c", "d", "e", "f", "g"} {
			w.deploy(name, 1)
		}
	}, doctor.Warning, "and 2 more", "before the next deploy"},
	{"not a file", "queue-drift", func(w *world) { w.setup.QueueFile = doctor.File{Name: "q.yaml", Err: errors.New("no such file")} }, doctor.Failure, "no such file", "latchwork queues diff q.yaml"},
	{"not a queue.yaml", "queue-drift", func(w *world) { w.setup.QueueFile.Text = []byte("queue: 7") }, doctor.Failure, "line 1", "latchwork queues diff"},

	{"not kept", "retry-override", func(w *world) {
		w.alter["GetTask"] = func(reply any) { reply.(*cloudtaskspb.Task).RetryConfig = nil }
	}, doctor.Failure, "does not keep a task's own retry settings: sent -1 attempts", "gcloud tasks queues update default"},
	{"kept by half", "retry-override", func(w *world) {
		w.alter["GetTask"] = func(reply any) { reply.(*cloudtaskspb.Task).RetryConfig.MaxDoublings = 16 }
	}, doctor.Failure, "read -1 attempts in 0s with 7s to 11m0s and 16 doublings", "--max-attempts=-1"},
	{"left behind", "retry-override", func(w *world) {
		w.setup.Queues = []string{"mail"}
		w.script.On("DeleteTask", 0, fault.Fail(status.Error(codes.PermissionDenied, "no")))
	}, doctor.Warning, "could not be deleted", "gcloud tasks delete projects/"},
	{"not created", "retry-override", func(w *world) {
		w.script.On("CreateTask", 0, fault.Fail(status.Error(codes.ResourceExhausted, "quota")))
	}, doctor.Failure, "quota", "gcloud tasks list --queue=default"},
	{"not read", "retry-override", func(w *world) { w.script.On("GetTask", 0, fault.Fail(status.Error(codes.Internal, "trouble"))) }, doctor.Failure, "trouble", "gcloud tasks list"},
	{"may not delete", "retry-override", func(w *world) { w.alter["TestIamPermissions"] = denied("cloudtasks.tasks.delete") }, doctor.Skipped, "lack [cloudtasks.tasks.delete]", ""},
	{"no queue", "retry-override", func(w *world) { w.setup.Queues = []string{"nothing"} }, doctor.Skipped, "none of the queues", ""},

	{"far ahead", "clock", func(w *world) { w.alter["GetTask"] = shifted(time.Hour) }, doctor.Failure, "1h0m0s ahead of this machine's", "timedatectl"},
	{"behind", "clock", func(w *world) { w.alter["GetTask"] = shifted(-20 * time.Second) }, doctor.Warning, "behind this machine's", "timedatectl"},
	{"advanced", "clock", func(w *world) {
		w.local()
		if err := w.Suite.Clock().Advance(48 * time.Hour); err != nil {
			w.t.Fatal(err)
		}
	}, doctor.Warning, "ahead of this machine's: it was advanced", "latchwork emulator"},

	{"may not create", "roles", func(w *world) { w.alter["TestIamPermissions"] = denied("cloudtasks.tasks.create") }, doctor.Failure, "they lack cloudtasks.tasks.create on: default, mail", "gcloud tasks queues add-iam-policy-binding mail --location=us-central1 --project=test-project"},
	{"can't be tested", "roles", func(w *world) {
		w.script.On("TestIamPermissions", 0, fault.Fail(status.Error(codes.PermissionDenied, "no")))
	}, doctor.Failure, "test the permissions", "gcloud tasks queues get-iam-policy"},

	{"may not", "act-as", func(w *world) { w.google.answers[actAsPath] = "{}" }, doctor.Failure, "lack iam.serviceAccounts.actAs", "gcloud iam service-accounts add-iam-policy-binding " + account},
	{"no account", "act-as", func(w *world) { delete(w.google.answers, actAsPath) }, doctor.Failure, "no such account", "gcloud iam service-accounts create worker"},
	{"API disabled", "act-as", func(w *world) { w.google.statuses[actAsPath] = http.StatusForbidden }, doctor.Warning, "403", "gcloud services enable iam.googleapis.com"},

	{"may not read", "datastore", func(w *world) { w.script.On("Lookup", 0, fault.Fail(status.Error(codes.PermissionDenied, "no"))) }, doctor.Failure, "PermissionDenied", "roles/datastore.user"},
	{"no database", "datastore", func(w *world) { w.script.On("Lookup", 0, fault.Fail(status.Error(codes.NotFound, "no"))) }, doctor.Failure, "NotFound", "gcloud firestore databases create --database='(default)'"},
	{"no transactions", "datastore", func(w *world) {
		w.script.On("BeginTransaction", 0, fault.Fail(status.Error(codes.FailedPrecondition, "no")))
	}, doctor.Failure, "FailedPrecondition", "gcloud firestore databases describe"},
	{"no emulator", "datastore", func(w *world) { w.local(); w.setup.DatastoreHost = "127.0.0.1:1" }, doctor.Failure, "no emulator answers", "latchwork emulator"},

	{"missing", "indexes", func(w *world) {
		w.setup.IndexFile.Text = []byte(indexYAML + "- {kind: Note, properties: [{name: At}, {name: Owner}]}\n")
	}, doctor.Failure, "missing, so that queries that need them fail: Note (At, Owner)", "gcloud datastore indexes create index.yaml"},
	{"missing in an emulator", "indexes", func(w *world) {
		w.local()
		w.setup.IndexFile.Text = []byte(indexYAML + "- {kind: Note, ancestor: yes, properties: [{name: At}]}\n")
	}, doctor.Failure, "Note (ancestor, At)", "latchwork emulator --indexes=index.yaml"},
	{"being built", "indexes", func(w *world) { w.alter["ListIndexes"] = state(adminpb.Index_CREATING) }, doctor.Warning, "being built", "gcloud datastore indexes list"},
	{"not built", "indexes", func(w *world) { w.alter["ListIndexes"] = state(adminpb.Index_ERROR) }, doctor.Failure, "could not be built: Note (Owner, At desc)", "gcloud datastore indexes cleanup"},
	{"may not list", "indexes", func(w *world) { w.script.On("ListIndexes", 0, fault.Fail(status.Error(codes.PermissionDenied, "no"))) }, doctor.Warning, "it can't be told", "roles/datastore.viewer"},
	{"not listed", "indexes", func(w *world) { w.script.On("ListIndexes", 0, fault.Fail(status.Error(codes.Internal, "trouble"))) }, doctor.Failure, "trouble", "gcloud datastore indexes list"},
	{"not an index.yaml", "indexes", func(w *world) { w.setup.IndexFile.Text = []byte("indexes: 7") }, doctor.Failure, "line 1", "latchwork emulator --indexes"},
	{"not the default database", "indexes", func(w *world) { w.setup.Database = "other" }, doctor.Skipped, "default database only", ""},

	{"none", "ttl", func(w *world) { delete(w.google.answers, ttlPath) }, doctor.Warning, "grows for ever", "gcloud firestore fields ttls update ExpireAt --collection-group=_latchwork_ledger --database='(default)' --project=test-project --enable-ttl"},
	{"none of locks", "ttl", func(w *world) { w.setup.LockStore = doctor.LocksDatastore }, doctor.Warning, "none of _latchwork_lock", "--collection-group=_latchwork_lock "},
	{"default", "ttl", func(w *world) { w.google.answers[ttlPath] = "{}" }, doctor.Warning, "grows for ever", "--enable-ttl"},
	{"by half", "ttl", func(w *world) { w.google.answers[ttlPath] = `{"ttlConfig": {"state": "NEEDS_REPAIR"}}` }, doctor.Warning, "could not be applied", "--enable-ttl"},
	{"may not look", "ttl", func(w *world) { w.google.statuses[ttlPath] = http.StatusForbidden }, doctor.Warning, "it can't be told", "gcloud firestore fields ttls list"},

	{"stale", "outbox-age", func(w *world) { w.outbox("a", time.Minute, ""); w.outbox("b", 6*time.Minute, "") }, doctor.Failure, "the tasks of 2 transactions wait, the oldest (b) for 6m0s", "gcloud scheduler jobs run latchwork-sweep --location=us-central1 --project=test-project"},
	{"stale on App Engine", "outbox-age", func(w *world) { w.outbox("b", 6*time.Minute, ""); w.setup.Target = tasks.TargetAppEngine }, doctor.Failure, "6m0s", "gcloud app deploy cron.yaml"},
	{"stale on emulators", "outbox-age", func(w *world) { w.outbox("b", 6*time.Minute, ""); w.local() }, doctor.Failure, "6m0s", "latchwork serve"},
	{"not read", "outbox-age", func(w *world) { w.script.On("RunQuery", 0, fault.Fail(status.Error(codes.Internal, "trouble"))) }, doctor.Failure, "trouble", "latchwork doctor"},

	{"refused", "outbox-errors", func(w *world) { w.outbox("a", time.Minute, "Queue does not exist.") }, doctor.Failure, "the first, a, was tried 3 times, next at 2000-01-01T00:01:00Z, because: Queue does not exist.", "latchwork queues diff"},
	{"not read", "outbox-errors", func(w *world) { w.script.On("RunQuery", 0, fault.Fail(status.Error(codes.Internal, "trouble"))) }, doctor.Failure, "trouble", "latchwork doctor"},

	{"two", "dead-letters", func(w *world) { w.dead("a", "b") }, doctor.Warning, "2 tasks failed for good", "latchwork dead list"},
	{"not counted", "dead-letters", func(w *world) {
		w.script.On("RunAggregationQuery", 0, fault.Fail(status.Error(codes.Internal, "trouble")))
	}, doctor.Failure, "trouble", "latchwork dead list"},

	{"two have one", "locks", func(w *world) { w.setup.Locks = store{} }, doctor.Failure, "two had one lock", "latchwork doctor"},
	{"unreachable", "locks", func(w *world) { w.setup.Locks = store{err: errors.New("refused")} }, doctor.Warning, "stopped by the ledger alone", `"memcached" is ok`},
	{"in Datastore", "locks", func(w *world) {
		w.setup.Locks, w.setup.LockStore = store{err: errors.New("refused")}, doctor.LocksDatastore
	}, doctor.Warning, "refused", `"datastore" is ok`},

	{"down", "memcached", func(w *world) { w.setup.MemcacheAddrs = append(w.setup.MemcacheAddrs, "127.0.0.1:1") }, doctor.Warning, "127.0.0.1:1: ", `printf 'version\r\nquit\r\n' | nc 127.0.0.1 1`},
	{"something else", "memcached", func(w *world) { w.setup.MemcacheAddrs = []string{"google.example:80"} }, doctor.Warning, "is that memcached?", "nc google.example 80"},
	{"forgetful", "memcached", func(w *world) {
		if err := w.Suite.Chaos().Set(emulator.ChaosSettings{Evict: 1}); err != nil {
			w.t.Fatal(err)
		}
	}, doctor.Warning, "to get", "nc"},
	{"too small", "memcached", func(w *world) {
		answers := w.listen("small.example:11211")
		go answers("VERSION 1.6\r\n", "", "STORED\r\n", "VALUE KEY 0 2\r\nok\r\nEND\r\n", "DELETED\r\n", "STAT evictions 7\r\nEND\r\n")
		w.setup.MemcacheAddrs = []string{"small.example:11211"}
	}, doctor.Warning, "small.example:11211 has evicted 7 items", "memcached -m"},
}

// listen waits for one connection, and then answers a text for each line of it. KEY
// stands for the second word of the line.
func (w *world) listen(addr string) (answer func(texts ...string)) {
	w.t.Helper()
	l, err := w.Net.Listen(addr)
	if err != nil {
		w.t.Fatal(err)
	}
	return func(texts ...string) {
		defer l.Close()
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		for lines := bufio.NewScanner(conn); len(texts) > 0 && lines.Scan(); texts = texts[1:] {
			_, key, _ := strings.Cut(lines.Text(), " ")
			if _, err := io.WriteString(conn, strings.ReplaceAll(texts[0], "KEY", key)); err != nil {
				return
			}
		}
	}
}

// shifted moves the time at which a task was created.
func shifted(d time.Duration) func(any) {
	return func(reply any) {
		t := reply.(*cloudtaskspb.Task)
		t.CreateTime = timestamppb.New(t.GetCreateTime().AsTime().Add(d))
	}
}

func state(s adminpb.Index_State) func(any) {
	return func(reply any) {
		for _, x := range reply.(*adminpb.ListIndexesResponse).GetIndexes() {
			x.State = s
		}
	}
}

// A store gives every lock to everybody, or answers with an error.
type store struct{ err error }

func (s store) Acquire(context.Context, string, string, time.Duration) (string, error) {
	return "", s.err
}

func (s store) Extend(context.Context, string, string, time.Duration) (bool, error) {
	return true, s.err
}

func (s store) Release(context.Context, string, string) error { return s.err }

func TestFindings(t *testing.T) {
	for _, c := range cases {
		t.Run(c.check+"/"+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				c.arrange(w)
				f := find(t, w.run(), c.check)
				if f.Status != c.status || !strings.Contains(f.Found, c.found) || !strings.Contains(f.Remedy, c.remedy) {
					t.Errorf("%+v\nwant %s, found %q, remedy %q", f, c.status, c.found, c.remedy)
				}
				if f.Looked == "" || (f.Remedy == "") != (f.Status == doctor.Skipped || f.Status == doctor.OK) {
					t.Errorf("%+v: want what was looked at, and a remedy for what is wrong", f)
				}
			})
		})
	}
}

// Each check can fail: there is a case for it above.
func TestEachCheckCanFail(t *testing.T) {
	for _, name := range doctor.Checks() {
		bad := 0
		for _, c := range cases {
			if c.check == name && (c.status == doctor.Failure || c.status == doctor.Warning) {
				bad++
			}
		}
		if bad == 0 {
			t.Errorf("no case in which the check %q finds something", name)
		}
	}
}

// Each check passes where nothing is wrong, and nothing is left behind.
func TestHealthy(t *testing.T) {
	for _, mode := range []string{doctor.AuthOIDC, doctor.AuthCloudRunIAM} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			if w.setup.Auth = mode; mode == doctor.AuthCloudRunIAM {
				w.policy(`{"role": "roles/run.invoker", "members": ["serviceAccount:` + account + `"]}`)
			}
			findings := w.run()
			for i, name := range doctor.Checks() {
				if f := findings[i]; f.Check != name || f.Status != doctor.OK || f.Looked == "" || f.Found == "" || f.Remedy != "" {
					t.Errorf("%+v, want ok for %s", f, name)
				}
			}
			for _, q := range w.Suite.Stats().CloudTasks.Queues {
				if q.Tasks > 0 {
					t.Errorf("%s has %d tasks", q.Name, q.Tasks)
				}
			}
			if kinds := w.Suite.Stats().Datastore.Kinds; len(kinds) > 0 {
				t.Errorf("entities are left: %+v", kinds)
			}
		})
	}
}

// What emulators can't tell is skipped, and said.
func TestEmulators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.local()
		var skipped []string
		for _, f := range w.run() {
			switch f.Status {
			case doctor.Skipped:
				skipped = append(skipped, f.Check)
				if !strings.Contains(f.Found, "emulator") {
					t.Errorf("%+v does not say why", f)
				}
			case doctor.OK:
			default:
				t.Errorf("%+v", f)
			}
		}
		if want := []string{"invoker", "roles", "act-as", "ttl"}; !slices.Equal(skipped, want) {
			t.Errorf("skipped %q, want %q", skipped, want)
		}
	})
}

// On App Engine nothing has tokens, and there is no service to invoke.
func TestAppEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.setup.Target, w.setup.Auth = tasks.TargetAppEngine, doctor.AuthAppEngine
		w.setup.WorkerURL, w.setup.ServiceAccount, w.setup.Audience, w.setup.CloudRunService = "", "", "", ""
		var skipped []string
		for _, f := range w.run() {
			if f.Status == doctor.Skipped {
				skipped = append(skipped, f.Check)
			} else if f.Status != doctor.OK {
				t.Errorf("%+v", f)
			}
		}
		if want := []string{"audience", "worker", "invoker", "act-as"}; !slices.Equal(skipped, want) {
			t.Errorf("skipped %q, want %q", skipped, want)
		}
	})
}

// Without an environment there is one failure, and no client is needed.
func TestNothingIsConfigured(t *testing.T) {
	findings := doctor.Run(t.Context(), &doctor.Setup{Broken: errors.New("nothing is set")})
	if len(findings) != len(doctor.Checks()) || doctor.Count(findings, doctor.Failure) != 1 || doctor.Count(findings, doctor.Skipped) != len(findings)-1 {
		t.Errorf("%+v", findings)
	}
}

// Services that never answer end no check, but its time does.
func TestTimeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.script.On("*", 0, func(ctx context.Context, _ func() error) error {
			<-ctx.Done()
			return status.FromContextError(ctx.Err()).Err()
		})
		hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		w.worker = hang
		w.ServeHTTP("hangs.example:80", http.HandlerFunc(hang))
		w.setup.APIs = doctor.APIs{Firestore: "http://hangs.example", CloudRun: "http://hangs.example", IAM: "http://hangs.example"}
		w.setup.MemcacheAddrs = []string{"hangs.example:80"}
		start := time.Now()
		findings := w.run()
		if took := time.Since(start); took > 2*w.setup.Timeout {
			t.Errorf("it took %v", took)
		}
		for _, name := range []string{"worker", "invoker", "cloud-tasks", "act-as", "datastore", "ttl", "memcached"} {
			if f := find(t, findings, name); f.Status != doctor.Failure && f.Status != doctor.Warning {
				t.Errorf("%+v", f)
			}
		}
		if f := find(t, findings, "cloud-tasks"); !strings.Contains(f.Found, "no answer within 10s") {
			t.Errorf("%+v", f)
		}
	})
}

// A task that can neither be read nor be taken back is the longest way: the list of
// the queues, the task, its deletion.
func TestTimeOfTheProbeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hang := func(ctx context.Context, _ func() error) error {
			<-ctx.Done()
			return status.FromContextError(ctx.Err()).Err()
		}
		w.script.On("ListQueues", 1, fault.Delay(w.setup.Timeout-time.Second))
		w.script.On("GetTask", 0, hang)
		w.script.On("DeleteTask", 0, hang)
		start := time.Now()
		f := find(t, w.run(), "retry-override")
		if took := time.Since(start); took > 3*w.setup.Timeout {
			t.Errorf("it took %v", took)
		}
		if f.Status != doctor.Warning || !strings.Contains(f.Remedy, "gcloud tasks delete") {
			t.Errorf("%+v", f)
		}
	})
}

// What people read: a line for each finding, what is below it in a column, and a
// count.
func TestWrite(t *testing.T) {
	const want = `ok       queues          all is�well
warning  queue-drift     one
                         two
              looked at  the file
                 remedy  do this
                         and that
FAILURE  indexes         missing
              looked at  the indexes
SKIPPED  ttl             why

1 ok, 1 warnings, 1 failures, 1 skipped (SKIPPED is not ok: nobody looked)
`
	var out strings.Builder
	doctor.Write(&out, []doctor.Finding{
		{Check: "queues", Status: doctor.OK, Looked: "x", Found: "all is\x1bwell"},
		{Check: "queue-drift", Status: doctor.Warning, Looked: "the file", Found: "one\ntwo", Remedy: "do this\nand that"},
		{Check: "indexes", Status: doctor.Failure, Looked: "the indexes", Found: "missing\n"},
		{Check: "ttl", Status: doctor.Skipped, Looked: "x", Found: "why"},
	})
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", out.String(), want)
	}
}
