package cli

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// services says which Cloud Tasks, Datastore and memcached the worker uses: flags,
// or the variables that Google's runtimes and our emulators set.
type services struct {
	Project        string   `help:"Google Cloud project." var:"GOOGLE_CLOUD_PROJECT" group:"Services:"`
	Location       string   `help:"Location of the task queues, as in europe-west1." var:"CLOUD_TASKS_LOCATION" group:"Services:"`
	WorkerURL      string   `help:"Where Cloud Tasks reaches the worker: https://HOST, without a path." var:"WORKER_URL" group:"Services:"`
	ServiceAccount string   `help:"Service account whose OIDC tokens the queue sends and the worker accepts." var:"TASKS_SERVICE_ACCOUNT" group:"Services:"`
	Audience       string   `help:"Audience of those tokens (default: the worker's URL)." var:"TASKS_AUDIENCE" group:"Services:"`
	Target         string   `help:"How the queue reaches the worker: http or appengine (default: appengine on App Engine, else http)." var:"TASKS_TARGET" enum:",http,appengine" default:"" group:"Services:"`
	MemcacheAddrs  []string `help:"memcached servers, HOST:PORT,HOST:PORT." var:"MEMCACHE_ADDRS" group:"Services:"`
	LockStore      string   `help:"Where memlock keeps its locks: memcached or datastore (default: memcached if there are servers, else datastore)." var:"LOCK_STORE" enum:",memcached,datastore" default:"" group:"Services:"`
	CloudTasksHost string   `help:"Cloud Tasks emulator, HOST:PORT." var:"CLOUD_TASKS_EMULATOR_HOST" group:"Services:"`
	DatastoreHost  string   `help:"Datastore emulator, HOST:PORT." var:"DATASTORE_EMULATOR_HOST" group:"Services:"`
	Database       string   `help:"Datastore database (default: the project's default database)." var:"DATASTORE_DATABASE" group:"Services:"`
	EagerBegin     bool     `help:"Begin each transaction by a call of its own, as Google's Firestore emulator needs it." var:"DATASTORE_EAGER_BEGIN" group:"Services:"`

	submitWait time.Duration // see tasks.ClientOptions; 0 is the default
}

// What the worker calls itself where no cloud says otherwise.
const (
	localProject        = "latchwork-local"
	localLocation       = "local1"
	localServiceAccount = "worker@latchwork-local.iam.gserviceaccount.com"
)

// A platform is the runtime of Google's that the process finds itself on.
type platform string

const (
	ownMachine     platform = ""
	cloudRun       platform = "Cloud Run"
	appEngine      platform = "App Engine"
	cloudFunctions platform = "Cloud Functions"
)

// platformFrom reads what each runtime sets. Cloud Functions run on Cloud Run and
// set K_SERVICE too.
func platformFrom(getenv func(string) string) platform {
	switch {
	case getenv("FUNCTION_TARGET") != "":
		return cloudFunctions
	case getenv("GAE_ENV") != "":
		return appEngine
	case getenv("K_SERVICE") != "":
		return cloudRun
	default:
		return ownMachine
	}
}

// embedded tells whether nothing points at any service, so that the process brings
// its own stand-ins.
func (s *services) embedded(p platform) bool {
	return p == ownMachine && slices.Equal(s.set(), nil)
}

// set lists the variables that are set.
func (s *services) set() []string {
	var names []string
	for _, v := range []struct{ name, value string }{
		{"GOOGLE_CLOUD_PROJECT", s.Project},
		{"CLOUD_TASKS_LOCATION", s.Location},
		{"WORKER_URL", s.WorkerURL},
		{"TASKS_SERVICE_ACCOUNT", s.ServiceAccount},
		{"TASKS_AUDIENCE", s.Audience},
		{"TASKS_TARGET", s.Target},
		{"MEMCACHE_ADDRS", strings.Join(s.MemcacheAddrs, ",")},
		{"LOCK_STORE", s.LockStore},
		{"CLOUD_TASKS_EMULATOR_HOST", s.CloudTasksHost},
		{"DATASTORE_EMULATOR_HOST", s.DatastoreHost},
		{"DATASTORE_DATABASE", s.Database},
	} {
		if v.value != "" {
			names = append(names, v.name)
		}
	}
	return names
}

// complete fills what follows from the rest, and says all that is missing at once:
// a half-configured environment never falls back to the emulators.
func (s *services) complete(p platform) error {
	set := cmp.Or(strings.Join(s.set(), ", "), string(p))
	if p == appEngine && s.Target == "" {
		s.Target = "appengine"
	}
	if s.Target == "" {
		s.Target = "http"
	}
	if s.CloudTasksHost != "" { // an emulator asks for no account: names of ours will do
		s.Project = cmp.Or(s.Project, localProject)
		s.Location = cmp.Or(s.Location, localLocation)
		s.ServiceAccount = cmp.Or(s.ServiceAccount, localServiceAccount)
	}

	var missing []string
	require := func(ok bool, name, why string) {
		if !ok {
			missing = append(missing, fmt.Sprintf("  %s: %s", name, why))
		}
	}
	require(s.Project != "", "GOOGLE_CLOUD_PROJECT", "the project of queues and entities")
	require(s.Location != "", "CLOUD_TASKS_LOCATION", "the location of the queues")
	require((s.CloudTasksHost == "") == (s.DatastoreHost == ""), "CLOUD_TASKS_EMULATOR_HOST and DATASTORE_EMULATOR_HOST",
		"set both, or neither: half of the work in the cloud and half of it in an emulator is never meant")
	s.MemcacheAddrs = slices.DeleteFunc(s.MemcacheAddrs, func(addr string) bool { return addr == "" })
	s.LockStore = cmp.Or(s.LockStore, s.lockStore())
	require(s.LockStore == locksInDatastore || len(s.MemcacheAddrs) > 0, "MEMCACHE_ADDRS",
		"the memcached servers that hold the locks (LOCK_STORE=datastore needs none)")
	if s.Target == "http" {
		require(s.WorkerURL != "" || s.CloudTasksHost != "", "WORKER_URL", "where Cloud Tasks reaches this worker")
		require(s.ServiceAccount != "", "TASKS_SERVICE_ACCOUNT", "whose OIDC tokens prove that it is Cloud Tasks that pushes")
	}
	if len(missing) > 0 {
		return fmt.Errorf("the environment is half configured (set: %s); missing:\n%s\nUnset them all to run on the built-in emulators",
			set, strings.Join(missing, "\n"))
	}
	if s.Target == "http" && !strings.Contains(s.ServiceAccount, "@") {
		return fmt.Errorf("TASKS_SERVICE_ACCOUNT=%q must be the account's e-mail address, NAME@PROJECT.iam.gserviceaccount.com", s.ServiceAccount)
	}
	if s.Target == "appengine" && s.WorkerURL != "" {
		return fmt.Errorf("WORKER_URL=%q is for TASKS_TARGET=http: App Engine's tasks come to the app that they belong to. Unset one of the two", s.WorkerURL)
	}
	return s.checkWorkerURL()
}

func (s *services) checkWorkerURL() error {
	if s.WorkerURL == "" {
		return nil
	}
	u, err := url.Parse(s.WorkerURL)
	switch {
	case err != nil:
		return fmt.Errorf("WORKER_URL: %w", err)
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return fmt.Errorf("WORKER_URL=%q must be http://HOST or https://HOST", s.WorkerURL)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("WORKER_URL=%q must name the host alone: the worker adds its own paths", s.WorkerURL)
	case s.CloudTasksHost == "" && loopback(u.Hostname()):
		return fmt.Errorf("WORKER_URL=%q is this machine's own name for itself, which Cloud Tasks can't reach: set the address that the deployed worker has", s.WorkerURL)
	}
	s.WorkerURL = strings.TrimSuffix(s.WorkerURL, "/")
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip.IsLoopback() || ip.IsUnspecified()
}
