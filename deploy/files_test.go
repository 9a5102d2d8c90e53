package main

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/datastore"
	"go.yaml.in/yaml/v4"

	"github.com/latchwork/latchwork/examples/messages"
	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/memlock/datastorelock"
	"github.com/latchwork/latchwork/tasks"
	"github.com/latchwork/latchwork/tasks/taskstest"
)

// rendered reads one of the files that a deploy fills in, as it is deployed.
func rendered(t *testing.T, to target, name string, into any) {
	t.Helper()
	w, _ := worldOf(map[string]string{"DRY_RUN": "1"}, "")
	c, err := configure(t.Context(), to, w)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), name)
	if err := render(filepath.Join("..", name), file, c.values()); err != nil {
		t.Fatal(err)
	}
	read(t, file, into)
}

func read(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// queueFile is queue.yaml.
type queueFile struct {
	Queue []struct {
		Name       string
		Concurrent int `yaml:"max_concurrent_requests"`
	}
}

// longest is the longest dispatch deadline of a task of the app.
func longest(t *testing.T) time.Duration {
	t.Helper()
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
	var most time.Duration
	for _, h := range app.Handlers() {
		most = max(most, h.Spec().Timeout+15*time.Second)
	}
	if most < time.Minute {
		t.Fatalf("the longest deadline of the app is %v: the test looks at nothing", most)
	}
	return most
}

// The Cloud Run service takes no more than the queues send, waits as long as the
// longest task, and ends before it is killed.
func TestServiceFitsQueuesAndCode(t *testing.T) {
	var service struct {
		Metadata struct {
			Name        string
			Annotations map[string]string
		}
		Spec struct {
			Template struct {
				Spec struct {
					Account     string `yaml:"serviceAccountName"`
					Concurrency int    `yaml:"containerConcurrency"`
					Timeout     int    `yaml:"timeoutSeconds"`
					Containers  []struct {
						Image   string
						Args    []string
						Startup struct {
							HTTPGet struct{ Path string } `yaml:"httpGet"`
						} `yaml:"startupProbe"`
						Env []struct{ Name, Value string }
					}
				}
			}
		}
	}
	rendered(t, cloudRun, "service.yaml", &service)
	spec := service.Spec.Template.Spec
	if len(spec.Containers) != 1 {
		t.Fatalf("%d containers, want one", len(spec.Containers))
	}
	container, env := spec.Containers[0], map[string]string{}
	for _, e := range spec.Containers[0].Env {
		env[e.Name] = e.Value
	}

	var queues queueFile
	read(t, "../queue.yaml", &queues)
	for _, q := range queues.Queue {
		if spec.Concurrency <= 0 || spec.Concurrency > q.Concurrent {
			t.Errorf("containerConcurrency is %d, the queue %s sends at most %d at once", spec.Concurrency, q.Name, q.Concurrent)
		}
	}
	if limit := time.Duration(spec.Timeout) * time.Second; limit < longest(t) || limit > time.Hour {
		t.Errorf("timeoutSeconds is %v, want at least the longest dispatch deadline, %v, and at most Cloud Run's hour", limit, longest(t))
	}
	if env["CLOUD_RUN_TIMEOUT_SECONDS"] != strconv.Itoa(spec.Timeout) {
		t.Errorf("CLOUD_RUN_TIMEOUT_SECONDS is %s, timeoutSeconds %d", env["CLOUD_RUN_TIMEOUT_SECONDS"], spec.Timeout)
	}
	if grace, err := time.ParseDuration(env["LATCHWORK_GRACE"]); err != nil || grace <= 2*time.Second || grace >= 10*time.Second {
		t.Errorf("LATCHWORK_GRACE is %s: SIGKILL comes 10 s after SIGTERM", env["LATCHWORK_GRACE"])
	}
	if container.Startup.HTTPGet.Path != "/" {
		t.Errorf("the startup probe asks for %q", container.Startup.HTTPGet.Path)
	}
	for name, want := range map[string]string{
		"GOOGLE_CLOUD_PROJECT": "my-project", "CLOUD_TASKS_LOCATION": "europe-west1",
		"WORKER_URL":            "https://latchwork-PROJECT_NUMBER.europe-west1.run.app",
		"TASKS_SERVICE_ACCOUNT": "latchwork-tasks@my-project.iam.gserviceaccount.com", "LATCHWORK_AUTH": "oidc", "MEMCACHE_ADDRS": "",
	} {
		if got, ok := env[name]; !ok || got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if spec.Account != "latchwork-worker@my-project.iam.gserviceaccount.com" || service.Metadata.Name != "latchwork" ||
		container.Image != "europe-west1-docker.pkg.dev/my-project/latchwork/worker:v1.2.3" {
		t.Errorf("the service %s runs %s as %s", service.Metadata.Name, container.Image, spec.Account)
	}
	if got := service.Metadata.Annotations["run.googleapis.com/custom-audiences"]; got != `["`+env["WORKER_URL"]+`"]` {
		t.Errorf("custom audiences are %s", got)
	}

	// The function is deployed with the same bounds.
	w, _ := worldOf(map[string]string{"DRY_RUN": "1"}, "")
	c, err := configure(t.Context(), function, w)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(plan(c), func(s step) bool { return s.why == "The function." })
	for _, want := range []string{"--concurrency=" + strconv.Itoa(spec.Concurrency), "--timeout=" + strconv.Itoa(spec.Timeout) + "s", "--entry-point=Worker"} {
		if args := plan(c)[i].do.args; !slices.Contains(args, want) {
			t.Errorf("the function is deployed without %s: %q", want, args)
		}
	}
}

// App Engine guards the paths that the code guards, and its cron and Cloud
// Scheduler call the path that the code answers.
func TestPathsFitTheCode(t *testing.T) {
	var app struct {
		Runtime         string
		InboundServices []string `yaml:"inbound_services"`
		Basic           struct {
			Instances int `yaml:"max_instances"`
		} `yaml:"basic_scaling"`
		Handlers []struct{ URL, Script, Login string }
		Env      map[string]string `yaml:"env_variables"`
	}
	rendered(t, appEngine, "app.yaml", &app)
	if app.Runtime != "go126" || app.Basic.Instances == 0 || !slices.Contains(app.InboundServices, "warmup") {
		t.Errorf("app.yaml: %+v", app)
	}
	if app.Env["CLOUD_TASKS_LOCATION"] != "europe-west1" || app.Env["TASKS_TARGET"] != "appengine" || app.Env["LATCHWORK_AUTH"] != "app-engine" {
		t.Errorf("app.yaml: %v", app.Env)
	}
	for _, guarded := range []string{tasks.PushPath + "messages.send", handlers.SweepPath} {
		i := slices.IndexFunc(app.Handlers, func(h struct{ URL, Script, Login string }) bool {
			return regexp.MustCompile("^(" + h.URL + ")$").MatchString(guarded)
		})
		if i < 0 || app.Handlers[i].Login != "admin" {
			t.Errorf("app.yaml lets everybody call %s: %+v", guarded, app.Handlers)
		}
	}

	var cron struct{ Cron []struct{ URL string } }
	read(t, "../cron.yaml", &cron)
	if len(cron.Cron) != 1 || cron.Cron[0].URL != handlers.SweepPath {
		t.Errorf("cron.yaml: %+v, want %s", cron, handlers.SweepPath)
	}
	c := config{target: cloudRun, service: "s", workerURL: "https://w"}
	if job := c.sweeper()[0].do; !slices.Contains(job.args, "--uri=https://w"+handlers.SweepPath) || !slices.Contains(job.args, "--oidc-token-audience=https://w") {
		t.Errorf("Cloud Scheduler calls %s", job)
	}
	if ledgerKind != handlers.LedgerKind {
		t.Errorf("the TTL policy is made for %s, the ledger is %s", ledgerKind, handlers.LedgerKind)
	}
	if lockKind != datastorelock.Kind {
		t.Errorf("the TTL policy is made for %s, locks are %s", lockKind, datastorelock.Kind)
	}
}

// A name in a file for which the deploy has no value is an error.
func TestRenderUnknown(t *testing.T) {
	dir := t.TempDir()
	if err := write(filepath.Join(dir, "in.yaml"), []byte("# ${WHATEVER}\na: ${KNOWN}\nb: ${TYPO} $OTHER\n")); err != nil {
		t.Fatal(err)
	}
	err := render(filepath.Join(dir, "in.yaml"), filepath.Join(dir, "out.yaml"), map[string]string{"KNOWN": "x"})
	if err == nil || !strings.Contains(err.Error(), "has ${TYPO}, ${OTHER}, for which there is no value") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "out.yaml")); err == nil {
		t.Error("it wrote the file all the same")
	}
}

// A folder that somebody else filled is not emptied.
func TestStageSparesStrangers(t *testing.T) {
	t.Chdir("..")
	w, _ := worldOf(nil, "")
	dir := t.TempDir()
	if err := run(t.Context(), []string{"stage", "function", dir}, w); err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(dir, "stale.go")
	if err := write(stale, []byte("package stale")); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), []string{"stage", "function", dir}, w); err != nil {
		t.Fatalf("over its own folder: %v", err)
	}
	if _, err := os.Stat(stale); err == nil {
		t.Error("what an earlier run left is still there")
	}
	other := t.TempDir()
	if err := write(filepath.Join(other, "precious"), nil); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), []string{"stage", "function", other}, w); err == nil || !strings.Contains(err.Error(), "is not empty, and was not staged before") {
		t.Errorf("over a stranger's folder: %v", err)
	}
	if _, err := os.Stat(filepath.Join(other, "precious")); err != nil {
		t.Error(err)
	}
}

// What is uploaded to be built has all that the builds read, and neither tests nor
// documents. The patterns are git's, so git reads them.
func TestGcloudignore(t *testing.T) {
	list := func(args ...string) []string {
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = ".."
		out, err := cmd.Output()
		if err != nil {
			t.Skipf("SKIPPED: .gcloudignore was not checked: git %s: %v", strings.Join(args, " "), err)
		}
		return strings.Split(strings.Trim(string(out), "\x00"), "\x00")
	}
	ignored := map[string]bool{}
	for _, name := range list("ls-files", "-z", "-c", "-i", "-X", ".gcloudignore") {
		ignored[name] = true
	}
	uploaded := 0
	for _, name := range list("ls-files", "-z") {
		dead := strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, ".md") || strings.Contains("/"+name, "/testdata/") ||
			strings.HasPrefix(name, "docs/") || strings.HasPrefix(name, "bench/") || strings.HasPrefix(name, ".") && name != ".dockerignore"
		needed := strings.HasSuffix(name, ".go") || slices.Contains([]string{"go.mod", "go.sum", "Dockerfile", ".dockerignore", "deploy/cloudbuild.yaml"}, name)
		switch {
		case dead && !ignored[name]:
			t.Errorf(".gcloudignore uploads %s", name)
		case needed && !dead && ignored[name]:
			t.Errorf(".gcloudignore leaves out %s, which a build reads", name)
		}
		if !ignored[name] {
			uploaded++
		}
	}
	if uploaded < 100 {
		t.Errorf("%d files are uploaded: the test is broken", uploaded)
	}
	t.Logf("%d files are uploaded, %d are not", uploaded, len(ignored))
}

// dockerignore reads .dockerignore as far as ours goes: a pattern matches a path
// or a folder that it is in; ** is any number of folders.
func dockerignore(t *testing.T) func(name string) bool {
	t.Helper()
	text, err := os.ReadFile("../.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	var patterns []*regexp.Regexp
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if strings.ContainsAny(line, "!?[\\") {
			t.Fatalf("the test doesn't know the pattern %s", line)
		}
		p := strings.NewReplacer(`\*\*/`, "(.*/)?", `\*`, "[^/]*").Replace(regexp.QuoteMeta(line))
		patterns = append(patterns, regexp.MustCompile("^"+p+"$"))
	}
	return func(name string) bool {
		for ; name != "."; name = path.Dir(name) {
			if slices.ContainsFunc(patterns, func(p *regexp.Regexp) bool { return p.MatchString(name) }) {
				return true
			}
		}
		return false
	}
}
