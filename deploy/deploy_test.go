package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/latchwork/latchwork/deploy/internal/standin"
)

// program is the stand-in for gcloud and go.
var program string

func TestMain(m *testing.M) {
	os.Exit(withStandIn(m.Run))
}

// withStandIn builds the stand-in for as long as run takes: without the race
// detector and all that the tests link, since it is started hundreds of times.
func withStandIn(run func() int) int {
	dir, err := os.MkdirTemp("", "standin")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program = filepath.Join(dir, "gcloud")
	if out, err := exec.Command("go", "build", "-o", program, "./internal/standin/gcloud").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the stand-in for gcloud: %v\n%s", err, out)
		return 1
	}
	return run()
}

// rehearsal is what a deploy reads of the tree, and a PATH on which gcloud and go are stand-ins.
type rehearsal struct{ state string }

func rehearse(t *testing.T) rehearsal {
	t.Helper()
	tree, bin := t.TempDir(), t.TempDir()
	for _, name := range []string{"go.mod", "app.yaml", "service.yaml", "main.go", "function/function.go"} {
		text, err := os.ReadFile(filepath.Join("..", name))
		if err == nil {
			err = write(filepath.Join(tree, name), text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"gcloud", "go"} {
		if err := os.Symlink(program, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	r := rehearsal{filepath.Join(t.TempDir(), "cloud.json")}
	r.set(t, standin.Cloud{})
	t.Setenv("PATH", bin)
	t.Setenv("STAND_IN", r.state)
	t.Chdir(tree)
	return r
}

func (r rehearsal) set(t *testing.T, c standin.Cloud) {
	t.Helper()
	if err := c.Save(r.state); err != nil {
		t.Fatal(err)
	}
}

func (r rehearsal) cloud(t *testing.T) standin.Cloud {
	t.Helper()
	c, err := standin.Load(r.state)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// planned are the commands of a deploy that others than this program run.
func planned(t *testing.T, to target, w world) []string {
	t.Helper()
	c, err := configure(t.Context(), to, w)
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for _, s := range plan(c) {
		if s.own == nil {
			commands = append(commands, strings.Join(s.do.args, " "))
		}
	}
	return commands
}

// A deploy to a project in which nothing is does what the plan says, in its order;
// a second one changes nothing but the service's version.
func TestDeployTwice(t *testing.T) {
	for name, d := range deployments {
		if d.env["DRY_RUN"] == "1" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			r := rehearse(t)
			env := map[string]string{"YES": "1"}
			maps.Copy(env, d.env)
			w, out := worldOf(env, "")
			want := planned(t, d.target, w)
			if d.env["LATCHWORK_AUTH"] == "cloud-run-iam" { // there is no service yet whose door would be closed
				want = slices.DeleteFunc(want, func(c string) bool { return strings.Contains(c, "remove-iam-policy-binding") })
			}
			if err := run(t.Context(), []string{string(d.target)}, w); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			first := r.cloud(t)
			if !slices.Equal(first.Commands, want) {
				t.Errorf("the commands were\n%s\nand the plan says\n%s", strings.Join(first.Commands, "\n"), strings.Join(want, "\n"))
			}

			w, out = worldOf(env, "")
			if err := run(t.Context(), []string{string(d.target)}, w); err != nil {
				t.Fatalf("the second time: %v\n%s", err, out)
			}
			second := r.cloud(t)
			if !maps.EqualFunc(first.Lists, second.Lists, func(a, b []string) bool {
				slices.Sort(a)
				slices.Sort(b)
				return slices.Equal(a, b)
			}) {
				t.Errorf("the second deploy changed what there is:\n%v\n%v", first.Lists, second.Lists)
			}
			for _, c := range second.Commands[len(first.Commands):] {
				for _, once := range []string{" create ", "ttls update", "jobs update"} {
					if strings.Contains(c, once) && !strings.Contains(c, "indexes create") {
						t.Errorf("the second deploy ran %s", c)
					}
				}
			}
			if n := strings.Count(out.String(), "is so already"); n < 3 {
				t.Errorf("the second deploy found %d things done already:\n%s", n, out)
			}
		})
	}
}

// A command that fails stops the rest, says who can help, and the next run goes on
// from there.
func TestFailureStops(t *testing.T) {
	for _, failing := range []struct {
		target       target
		fail, remedy string
	}{
		{cloudRun, "services enable", "roles/serviceusage.serviceUsageAdmin"},
		{cloudRun, "iam service-accounts create", "roles/iam.serviceAccountAdmin"},
		{cloudRun, "firestore databases create", "roles/datastore.owner"},
		{cloudRun, "run queues apply", "gcloud auth application-default login"},
		{cloudRun, "builds submit", "roles/cloudbuild.builds.editor"},
		{cloudRun, "run services replace", "roles/run.admin"},
		{cloudRun, "scheduler jobs create", "roles/cloudscheduler.admin"},
		{function, "functions deploy", "RUNTIME=go125"},
		{appEngine, "app create", "roles/owner"},
		{appEngine, "app deploy", "roles/appengine.deployer"},
	} {
		t.Run(failing.fail, func(t *testing.T) {
			r := rehearse(t)
			fail := strings.Replace(failing.fail, "run queues", "run . queues", 1)
			r.set(t, standin.Cloud{Fail: fail})
			w, out := worldOf(map[string]string{"YES": "1"}, "")
			want := planned(t, failing.target, w)
			err := run(t.Context(), []string{string(failing.target)}, w)
			if err == nil || !strings.Contains(err.Error(), failing.remedy) || !strings.Contains(err.Error(), "were not taken") {
				t.Fatalf("got %v, want an error that says %s\n%s", err, failing.remedy, out)
			}
			if !strings.Contains(out.String(), "PERMISSION_DENIED") {
				t.Errorf("what gcloud said is not shown:\n%s", out)
			}
			stopped := r.cloud(t)
			if n := len(stopped.Commands); n == 0 || !slices.Equal(stopped.Commands, want[:n]) || !strings.Contains(stopped.Commands[n-1], fail) {
				t.Errorf("the commands up to the failure were\n%s", strings.Join(stopped.Commands, "\n"))
			}

			stopped.Fail = ""
			r.set(t, stopped)
			if err := run(t.Context(), []string{string(failing.target)}, w); err != nil {
				t.Errorf("when it is mended: %v", err)
			}
			if last := r.cloud(t).Commands; last[len(last)-1] != want[len(want)-1] {
				t.Errorf("the second run ended with %s, want %s", last[len(last)-1], want[len(want)-1])
			}
		})
	}
}

// A service that Cloud Run shall guard is closed before the version is deployed
// that relies on it, and one that guards itself is opened after its version is.
func TestDoorsAreClosedFirst(t *testing.T) {
	for _, to := range []target{cloudRun, function} {
		t.Run(string(to), func(t *testing.T) {
			r := rehearse(t)
			deployed := map[target]string{cloudRun: "run services replace", function: "functions deploy"}[to]
			order := func(env map[string]string) (closing, deploying, opening int) {
				before := len(r.cloud(t).Commands)
				env["YES"] = "1"
				w, out := worldOf(env, "")
				if err := run(t.Context(), []string{string(to)}, w); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				commands := r.cloud(t).Commands[before:]
				at := func(what ...string) int {
					return slices.IndexFunc(commands, func(c string) bool {
						return !slices.ContainsFunc(what, func(w string) bool { return !strings.Contains(c, w) })
					})
				}
				return at("remove-iam-policy-binding", "allUsers"), at(deployed), at("run services add-iam-policy-binding")
			}
			if closing, deploying, opening := order(map[string]string{}); closing >= 0 || deploying < 0 || opening < deploying {
				t.Errorf("oidc: closed at %d, deployed at %d, opened at %d", closing, deploying, opening)
			}
			if got := r.cloud(t).Lists["invokers"]; !slices.Equal(got, []string{"allUsers\troles/run.invoker"}) {
				t.Errorf("oidc: invokers are %q", got)
			}
			if closing, deploying, opening := order(map[string]string{"LATCHWORK_AUTH": "cloud-run-iam"}); closing < 0 || deploying < closing || opening < deploying {
				t.Errorf("cloud-run-iam: closed at %d, deployed at %d, opened at %d", closing, deploying, opening)
			}
			if got := r.cloud(t).Lists["invokers"]; !slices.Equal(got, []string{"serviceAccount:latchwork-tasks@my-project.iam.gserviceaccount.com\troles/run.invoker"}) {
				t.Errorf("cloud-run-iam: invokers are %q", got)
			}
		})
	}
}

// What is there with other values is put right where that can be done, and is an
// error where it can't.
func TestWhatIsThereAlready(t *testing.T) {
	r := rehearse(t)
	r.set(t, standin.Cloud{Lists: map[string][]string{
		"scheduler jobs list": {"other\t* * * * *\tx\ty\tz", "latchwork-sweep\t0 * * * *\thttps://old\ty\tz"},
	}})
	w, out := worldOf(map[string]string{"YES": "1"}, "")
	if err := run(t.Context(), []string{"cloud-run"}, w); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if c := r.cloud(t).Commands; !strings.HasPrefix(c[len(c)-1], "gcloud scheduler jobs update http latchwork-sweep") {
		t.Errorf("the sweeper's old job was not updated: %s", c[len(c)-1])
	}

	for name, there := range map[string]struct {
		target target
		lists  map[string][]string
		want   string
	}{
		"a database in native mode": {cloudRun, map[string][]string{"firestore databases list": {"(default)\tFIRESTORE_NATIVE"}},
			`it is there, but otherwise: "(default)\tFIRESTORE_NATIVE" instead of "(default)\tDATASTORE_MODE"`},
		"an app elsewhere": {appEngine, map[string][]string{"app": {"my-project\tus-central"}},
			`it is there, but otherwise: "my-project\tus-central" instead of "my-project\teurope-west"`},
	} {
		r.set(t, standin.Cloud{Lists: there.lists})
		w, _ := worldOf(map[string]string{"YES": "1"}, "")
		if err := run(t.Context(), []string{string(there.target)}, w); err == nil || !strings.Contains(err.Error(), there.want) {
			t.Errorf("%s: got %v, want %s", name, err, there.want)
		}
	}
}

// Without a yes, a project, or gcloud itself, nothing is done.
func TestNothingIsDone(t *testing.T) {
	r := rehearse(t)
	for name, c := range map[string]struct {
		env   map[string]string
		stdin string
		err   string
		out   string
	}{
		"no answer":  {nil, "", "the answer was not y", "Do this? [y/N]"},
		"no":         {nil, "n\n", "the answer was not y", "Do this? [y/N]"},
		"dry run":    {map[string]string{"DRY_RUN": "1"}, "y\n", "", "# Nothing was done: DRY_RUN=1.\n"},
		"no project": {map[string]string{"GOOGLE_CLOUD_PROJECT": ""}, "y\n", "", "# Nothing was done: gcloud has no project: set GOOGLE_CLOUD_PROJECT"},
		"no region":  {map[string]string{"CLOUD_TASKS_LOCATION": ""}, "y\n", "CLOUD_TASKS_LOCATION is not set", ""},
	} {
		w, out := worldOf(c.env, c.stdin)
		err := run(t.Context(), []string{"cloud-run"}, w)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || !strings.Contains(out.String(), c.out) {
			t.Errorf("%s: got %v, want %q\n%s", name, err, c.err, out)
		}
		if done := r.cloud(t).Commands; len(done) > 0 {
			t.Fatalf("%s: it ran %q", name, done)
		}
	}
	w, out := worldOf(nil, "yes\n")
	if err := run(t.Context(), []string{"cloud-run"}, w); err != nil {
		t.Errorf("after yes: %v\n%s", err, out)
	}

	t.Setenv("PATH", t.TempDir())
	w, out = worldOf(nil, "y\n")
	if err := run(t.Context(), []string{"cloud-run"}, w); err != nil || !strings.Contains(out.String(), "# Nothing was done: gcloud is not installed") {
		t.Errorf("without gcloud: %v\n%s", err, out)
	}
}

// The project of gcloud's own configuration is taken where none is set.
func TestProjectOfGcloud(t *testing.T) {
	r := rehearse(t)
	r.set(t, standin.Cloud{Lists: map[string][]string{"project": {"from-gcloud"}}})
	w, out := worldOf(map[string]string{"GOOGLE_CLOUD_PROJECT": "", "YES": "1"}, "")
	if err := run(t.Context(), []string{"function"}, w); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, c := range r.cloud(t).Commands {
		if strings.HasPrefix(c, "gcloud") && !strings.Contains(c, "from-gcloud") {
			t.Errorf("not for the project from-gcloud: %s", c)
		}
	}
}

// A command is printed so that a shell reads the same words.
func TestQuote(t *testing.T) {
	for word, want := range map[string]string{
		"--region=europe-west1": "--region=europe-west1",
		"--schedule=* * * * *":  "'--schedule=* * * * *'",
		"it's":                  `'it'\''s'`,
		"":                      "''",
		"$(rm)":                 "'$(rm)'",
	} {
		if got := quote(word); got != want {
			t.Errorf("quote(%q) = %s, want %s", word, got, want)
		}
	}
}
