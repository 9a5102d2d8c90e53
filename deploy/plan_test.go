package main

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the plans in testdata")

// deployments are the deploys whose plans are kept in testdata.
var deployments = map[string]struct {
	target target
	env    map[string]string
}{
	"app-engine":        {appEngine, nil},
	"cloud-run":         {cloudRun, nil},
	"cloud-run-iam":     {cloudRun, map[string]string{"LATCHWORK_AUTH": "cloud-run-iam", "MEMCACHE_ADDRS": "10.0.0.3:11211,10.0.0.4:11211"}},
	"function":          {function, nil},
	"function-iam":      {function, map[string]string{"LATCHWORK_AUTH": "cloud-run-iam", "RUNTIME": "go125", "SERVICE": "mailer", "MEMCACHE_ADDRS": "10.0.0.3:11211,10.0.0.4:11211"}},
	"cloud-run-unknown": {cloudRun, map[string]string{"GOOGLE_CLOUD_PROJECT": "", "CLOUD_TASKS_LOCATION": "", "DRY_RUN": "1"}},
}

// worldOf is a world with the variables of env over those of an ordinary deploy.
func worldOf(env map[string]string, stdin string) (world, *strings.Builder) {
	all := map[string]string{"GOOGLE_CLOUD_PROJECT": "my-project", "CLOUD_TASKS_LOCATION": "europe-west1", "VERSION": "v1.2.3"}
	maps.Copy(all, env)
	var out strings.Builder
	return world{
		getenv: func(name string) string { return all[name] },
		now:    func() time.Time { return time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC) },
		stdin:  strings.NewReader(stdin), stdout: &out, stderr: &out,
	}, &out
}

// The plans are what testdata shows, to the letter: a change of a command is seen
// in review.
func TestPlans(t *testing.T) {
	t.Chdir("..")
	for name, d := range deployments {
		t.Run(name, func(t *testing.T) {
			env := map[string]string{"DRY_RUN": "1"}
			maps.Copy(env, d.env)
			w, out := worldOf(env, "")
			if err := run(t.Context(), []string{string(d.target)}, w); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("deploy", "testdata", name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(out.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if out.String() != string(want) {
				t.Errorf("the plan is not that of %s (go test ./deploy -update rewrites it):\n%s", golden, out)
			}
		})
	}
}

// gcloud's own parser knows every command and every flag of the plans. It looks at
// the command line alone, and calls nobody.
func TestGcloudKnowsTheCommands(t *testing.T) {
	if os.Getenv("LATCHWORK_CLIENTS") == "" {
		t.Skip("SKIPPED: gcloud's own parser, which takes half a second for each command, did not see those of the deploys: make test-clients")
	}
	program, err := exec.LookPath("gcloud")
	if err != nil {
		t.Skip("SKIPPED: gcloud's own parser did not see the commands of the deploys: install the Google Cloud CLI (apt-get install google-cloud-cli)")
	}
	type line struct {
		Command string `json:"command_string"`
		Success bool   `json:"success"`
		Error   string `json:"error_message"`
	}
	lines := []line{
		{Command: "gcloud run services list --no-such-flag"}, // the check of the check
		{Command: "gcloud firestore databases update '--database=(default)' --type=datastore-mode"},
	}
	for file := range guides {
		for _, command := range guideCommands(t, file) {
			if strings.HasPrefix(command, "gcloud ") {
				lines = append(lines, line{Command: command})
			}
		}
	}
	seen := map[string]bool{}
	for _, d := range deployments {
		w, _ := worldOf(d.env, "")
		if w.getenv("GOOGLE_CLOUD_PROJECT") == "" {
			continue // gcloud refuses PROJECT_ID
		}
		c, err := configure(t.Context(), d.target, world{getenv: func(name string) string {
			if name == "DRY_RUN" {
				return "1"
			}
			return w.getenv(name)
		}, now: w.now})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range plan(c) {
			for _, cmd := range []command{s.look, s.do, s.fix} {
				if shape := shapeOf(cmd); cmd.is() && cmd.args[0] == "gcloud" && !seen[shape] { // a second for each
					seen[shape] = true
					lines = append(lines, line{Command: cmd.String()})
				}
			}
		}
	}
	text, err := json.Marshal(lines)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "commands.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "meta", "lint-gcloud-commands", "--commands-file="+file)
	cmd.Env = append(os.Environ(), "CLOUDSDK_CONFIG="+t.TempDir(), "CLOUDSDK_CORE_DISABLE_PROMPTS=1")
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("SKIPPED: gcloud's own parser did not see the commands of the deploys: this gcloud has no `meta lint-gcloud-commands`: %v", err)
	}
	var checked []line
	if err := json.Unmarshal(out, &checked); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if len(checked) < 20 || checked[0].Success {
		t.Fatalf("%d commands were checked, and the wrong one was found right: %v; this check proves nothing", len(checked), checked[0].Success)
	}
	for _, l := range checked[1:] {
		if !l.Success {
			t.Errorf("gcloud does not understand %s\n%s", l.Command, l.Error)
		}
	}
	t.Logf("gcloud's parser understood %d commands", len(checked)-1)
}

// shapeOf is a command without the values of its flags.
func shapeOf(c command) string {
	var words []string
	for _, a := range c.args {
		name, _, _ := strings.Cut(a, "=")
		words = append(words, name)
	}
	return strings.Join(words, " ")
}

// What can't be deployed is refused before anything is asked or done.
func TestBadConfiguration(t *testing.T) {
	t.Chdir("..")
	for _, bad := range []struct{ target, name, value, want string }{
		{"cloud-run", "GOOGLE_CLOUD_PROJECT", "my project", `GOOGLE_CLOUD_PROJECT="my project" must be a project id`},
		{"cloud-run", "CLOUD_TASKS_LOCATION", "europe", `CLOUD_TASKS_LOCATION="europe" must be a region, as in europe-west1`},
		{"cloud-run", "SERVICE", "Worker", `SERVICE="Worker" must be 4 to 22 lower-case letters`},
		{"cloud-run", "SERVICE", "a-service-with-a-name-too-long", "must be 4 to 22"},
		{"cloud-run", "LATCHWORK_AUTH", "none", `LATCHWORK_AUTH="none" must be oidc or cloud-run-iam`},
		{"cloud-run", "WORKER_URL", "https://h/path", `WORKER_URL="https://h/path" must be https://HOST, without a path`},
		{"cloud-run", "WORKER_URL", "http://h", "must be https://HOST"},
		{"function", "MEMCACHE_ADDRS", "10.0.0.1:11211;X=1", "must be HOST:PORT,HOST:PORT"},
		{"function", "RUNTIME", "go1.26", `RUNTIME="go1.26" must be go126 or go125`},
		{"cloud-run", "VERSION", "a b", `VERSION="a b" must be what can be the tag of an image`},
		{"cloud-run", "DRY_RUN", "yes", `DRY_RUN="yes" must be 1 or 0`},
		{"kubernetes", "", "", `no runtime has the name "kubernetes"; usage: deploy`},
	} {
		t.Run(bad.name+"="+bad.value, func(t *testing.T) {
			w, out := worldOf(map[string]string{"DRY_RUN": "1", bad.name: bad.value}, "")
			if err := run(t.Context(), []string{bad.target}, w); err == nil || !strings.Contains(err.Error(), bad.want) {
				t.Errorf("got %v, want an error that says %q", err, bad.want)
			}
			if out.Len() > 0 {
				t.Errorf("it printed a plan all the same:\n%s", out)
			}
		})
	}
	w, _ := worldOf(nil, "")
	for _, args := range [][]string{nil, {"stage"}, {"a", "b"}, {"stage", "function", "x", "y"}} {
		if err := run(t.Context(), args, w); err == nil || !strings.HasPrefix(err.Error(), "usage: ") {
			t.Errorf("%q: %v, want the usage", args, err)
		}
	}
	if err := run(t.Context(), []string{"stage", "kubernetes", t.TempDir()}, w); err == nil {
		t.Error("staged for a runtime that is none")
	}
	t.Chdir(t.TempDir())
	if err := run(t.Context(), []string{"function"}, w); err == nil || !strings.Contains(err.Error(), "not the root of the repository") {
		t.Errorf("in another folder: %v", err)
	}
}
