package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The tests' binary is also the gcloud and the go that deploys call: by its name.
func TestMain(m *testing.M) {
	switch name := filepath.Base(os.Args[0]); name {
	case "gcloud", "go":
		if err := standIn(os.Getenv("STAND_IN"), name, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "ERROR:", err)
			os.Exit(1)
		}
	default:
		os.Exit(m.Run())
	}
}

// A cloud is what the stand-in for gcloud keeps in a file: what commands list, and
// the commands that were given, apart from those that look.
type cloud struct {
	Lists    map[string][]string // by the command that lists: its lines
	Commands []string
	Fail     string // the beginning of the command that is denied
}

func load(file string) (cloud, error) {
	c := cloud{Lists: map[string][]string{}}
	text, err := os.ReadFile(file)
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(text, &c)
}

func (c cloud) save(file string) error {
	if c.Lists == nil {
		c.Lists = map[string][]string{}
	}
	text, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

// has adds a line to what a command lists, in place of one that begins alike.
func (c cloud) has(list, line string) {
	key, _, _ := strings.Cut(line, "\t")
	c.Lists[list] = slices.DeleteFunc(c.Lists[list], func(l string) bool { return l == line || strings.HasPrefix(l, key+"\t") })
	c.Lists[list] = append(c.Lists[list], line)
}

// standIn does what gcloud would, as far as the commands of the deploys show it; a
// command that it doesn't know is an error.
func standIn(file, program string, args []string) error {
	c, err := load(file)
	if err != nil {
		return err
	}
	flags, words := map[string]string{}, []string{}
	for _, a := range args {
		if name, value, ok := strings.Cut(a, "="); ok && strings.HasPrefix(a, "--") {
			flags[name] = value
		} else if !strings.HasPrefix(a, "--") {
			words = append(words, a)
		}
	}
	line := strings.Join(words, " ")
	is := func(prefix string) bool { return line == prefix || strings.HasPrefix(line, prefix+" ") }

	looks := true
	switch {
	case program == "go":
		looks = false
	case is("config get-value project"):
		fmt.Println(strings.Join(c.Lists["project"], "\n"))
	case is("projects describe"):
		fmt.Println("123456789012")
	case is("app describe"):
		if len(c.Lists["app"]) == 0 {
			return fmt.Errorf("(gcloud.app.describe) The current Google Cloud project [%s] does not contain an App Engine application", flags["--project"])
		}
		fmt.Println(strings.Join(c.Lists["app"], "\n"))
	case is("run services get-iam-policy"):
		if len(c.Lists["run services list"]) == 0 {
			return fmt.Errorf("(gcloud.run.services.get-iam-policy) NOT_FOUND: Resource 'x' of kind 'SERVICE' does not exist")
		}
		fmt.Println(strings.Join(c.Lists["invokers"], "\n"))
	case is("iam service-accounts list"), is("firestore databases list"), is("firestore fields ttls list"), is("artifacts repositories list"), is("scheduler jobs list"):
		fmt.Println(strings.Join(c.Lists[line], "\n"))
	default:
		looks = false
	}
	if looks {
		return nil
	}
	c.Commands = append(c.Commands, command{args: append([]string{program}, args...)}.String())
	if c.Fail != "" && is(c.Fail) {
		if err := c.save(file); err != nil {
			return err
		}
		return fmt.Errorf("(gcloud.%s) PERMISSION_DENIED: Permission denied on resource project %s", line, flags["--project"])
	}

	last := words[len(words)-1]
	switch {
	case program == "go":
	case is("services enable"):
		for _, api := range words[2:] {
			c.has("services", api)
		}
	case is("app create"):
		c.has("app", flags["--project"]+"\t"+flags["--region"])
	case is("iam service-accounts create"):
		c.has("iam service-accounts list", last+"@"+flags["--project"]+".iam.gserviceaccount.com")
	case is("projects add-iam-policy-binding"), is("iam service-accounts add-iam-policy-binding"):
		c.has("policy", last+" "+flags["--role"]+" "+flags["--member"])
	case is("firestore databases create"):
		c.has("firestore databases list", flags["--database"]+"\tDATASTORE_MODE")
	case is("firestore fields ttls update"):
		c.has("firestore fields ttls list", fmt.Sprintf("projects/%s/databases/%s/collectionGroups/%s/fields/%s", flags["--project"], flags["--database"], flags["--collection-group"], last))
	case is("datastore indexes create"):
		c.has("indexes", last)
	case is("artifacts repositories create"):
		c.has("artifacts repositories list", last)
	case is("builds submit"), is("run services replace"), is("functions deploy"), is("app deploy"):
		c.has("run services list", "deployed")
		if slices.Contains(args, "--allow-unauthenticated") {
			c.has("invokers", "allUsers\troles/run.invoker")
		}
	case is("run services add-iam-policy-binding"):
		c.has("invokers", flags["--member"]+"\t"+flags["--role"])
	case is("run services remove-iam-policy-binding"):
		c.Lists["invokers"] = slices.DeleteFunc(c.Lists["invokers"], func(l string) bool { return l == flags["--member"]+"\t"+flags["--role"] })
	case is("scheduler jobs create http"), is("scheduler jobs update http"):
		there := slices.ContainsFunc(c.Lists["scheduler jobs list"], func(l string) bool { return strings.HasPrefix(l, last+"\t") })
		if there != is("scheduler jobs update http") {
			return fmt.Errorf("the job %s: there is %v", last, there)
		}
		c.has("scheduler jobs list", strings.Join([]string{last, flags["--schedule"], flags["--uri"], flags["--oidc-service-account-email"], flags["--oidc-token-audience"]}, "\t"))
	default:
		return fmt.Errorf("the stand-in for gcloud doesn't know: %s", line)
	}
	return c.save(file)
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
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"gcloud", "go"} {
		if err := os.Symlink(program, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	r := rehearsal{filepath.Join(t.TempDir(), "cloud.json")}
	r.set(t, cloud{})
	t.Setenv("PATH", bin)
	t.Setenv("STAND_IN", r.state)
	t.Chdir(tree)
	return r
}

func (r rehearsal) set(t *testing.T, c cloud) {
	t.Helper()
	if err := c.save(r.state); err != nil {
		t.Fatal(err)
	}
}

func (r rehearsal) cloud(t *testing.T) cloud {
	t.Helper()
	c, err := load(r.state)
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
			commands = append(commands, command{args: s.do.args}.String())
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
			r.set(t, cloud{Fail: fail})
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
	r.set(t, cloud{Lists: map[string][]string{
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
		r.set(t, cloud{Lists: there.lists})
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
	r.set(t, cloud{Lists: map[string][]string{"project": {"from-gcloud"}}})
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
