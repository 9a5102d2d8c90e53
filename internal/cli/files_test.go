package cli

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"cloud.google.com/go/datastore"
	"go.yaml.in/yaml/v4"

	"github.com/latchwork/latchwork/examples/messages"
	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/tasks"
	"github.com/latchwork/latchwork/tasks/taskstest"
)

// load reads one of App Engine's files at the root of the repository.
func load(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// App Engine's files say what the code needs: a deploy of them is the worker's
// whole configuration.
func TestAppEngineFilesFitTheCode(t *testing.T) {
	t.Setenv("DATASTORE_EMULATOR_HOST", "127.0.0.1:1") // a client without credentials; nothing is sent
	ds, err := datastore.NewClient(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	client, err := tasks.NewClient(ds, new(taskstest.Queue), &tasks.ClientOptions{Project: "p", Location: "l", Target: tasks.TargetAppEngine})
	if err != nil {
		t.Fatal(err)
	}
	app, err := messages.New(&messages.Options{Client: client})
	if err != nil {
		t.Fatal(err)
	}

	var queues struct {
		Queue []struct {
			Name string
			Rate string
		}
	}
	load(t, "queue.yaml", &queues)
	var named []string
	for _, q := range queues.Queue {
		if q.Rate == "" {
			t.Errorf("queue.yaml: queue %s has no rate, which push queues need", q.Name)
		}
		named = append(named, q.Name)
	}
	for _, want := range queuesOf(app.Handlers()) {
		if !slices.Contains(named, want) {
			t.Errorf("queue.yaml omits the queue %s, which a deploy would pause", want)
		}
	}

	var cron struct {
		Cron []struct{ URL, Schedule string }
	}
	load(t, "cron.yaml", &cron)
	if len(cron.Cron) != 1 || cron.Cron[0].URL != handlers.SweepPath || cron.Cron[0].Schedule != "every 1 minutes" {
		t.Errorf("cron.yaml is %+v, want the sweeper at %s each minute", cron.Cron, handlers.SweepPath)
	}

	var indexes struct {
		Indexes []struct {
			Kind       string
			Properties []struct{ Name string }
		}
	}
	load(t, "index.yaml", &indexes)
	if len(indexes.Indexes) != 1 || indexes.Indexes[0].Kind != "tumble.Mutation" || len(indexes.Indexes[0].Properties) != 2 {
		t.Errorf("index.yaml is %+v, want the one of tumble.Mutation", indexes.Indexes)
	}

	var deploy struct {
		Runtime         string
		InboundServices []string `yaml:"inbound_services"`
		Handlers        []struct{ URL, Script, Login string }
		EnvVariables    map[string]string `yaml:"env_variables"`
	}
	load(t, "app.yaml", &deploy)
	if deploy.Runtime != "${RUNTIME}" || !slices.Contains(deploy.InboundServices, "warmup") {
		t.Errorf("app.yaml: runtime %s, inbound services %v", deploy.Runtime, deploy.InboundServices)
	}
	if len(deploy.Handlers) == 0 || deploy.Handlers[0].URL != "/_latchwork/.*" || deploy.Handlers[0].Login != "admin" {
		t.Errorf("app.yaml: the worker's paths must come first and be for admins: %+v", deploy.Handlers)
	}
	if deploy.EnvVariables["LATCHWORK_AUTH"] != authAppEngine || deploy.EnvVariables["TASKS_TARGET"] != "appengine" {
		t.Errorf("app.yaml: %v: App Engine's tasks carry its headers, so both must say so", deploy.EnvVariables)
	}
}
