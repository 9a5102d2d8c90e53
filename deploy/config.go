package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// A target is the runtime to deploy to.
type target string

const (
	appEngine target = "app-engine"
	cloudRun  target = "cloud-run"
	function  target = "function"
)

func (t target) title() string {
	return map[target]string{appEngine: "App Engine", cloudRun: "Cloud Run", function: "Cloud Functions"}[t]
}

// config is what a plan is made from.
type config struct {
	target  target
	project string // GOOGLE_CLOUD_PROJECT, or gcloud's own
	number  string // the project's; asked for, since the default URL contains it
	region  string // CLOUD_TASKS_LOCATION: of the queues, the service and the database
	service string // SERVICE: its name, from which the accounts are named; "latchwork"

	auth      string // LATCHWORK_AUTH: oidc (default) or cloud-run-iam
	workerURL string // WORKER_URL: where Cloud Tasks reaches the service; default: Cloud Run's own URL
	memcache  string // MEMCACHE_ADDRS; empty: locks are kept in Datastore
	runtime   string // RUNTIME: go126 (default), or go125
	version   string // VERSION: of the image; default: what git says
	dry       string // why nothing is done; empty: it is. DRY_RUN=1 asks for it
}

// What stands in a printed plan for what nobody has said.
const (
	unknownProject = "PROJECT_ID"
	unknownNumber  = "PROJECT_NUMBER"
	unknownRegion  = "REGION"
)

// configure reads the environment. Without gcloud or a project there is nothing to
// deploy to, and the plan is only shown; so it is with DRY_RUN=1, which asks
// nobody for anything.
func configure(ctx context.Context, t target, w world) (config, error) {
	c := config{
		target:    t,
		project:   w.getenv("GOOGLE_CLOUD_PROJECT"),
		region:    w.getenv("CLOUD_TASKS_LOCATION"),
		service:   cmp.Or(w.getenv("SERVICE"), "latchwork"),
		auth:      cmp.Or(w.getenv("LATCHWORK_AUTH"), "oidc"),
		workerURL: w.getenv("WORKER_URL"),
		memcache:  w.getenv("MEMCACHE_ADDRS"),
		runtime:   cmp.Or(w.getenv("RUNTIME"), "go126"),
		version:   w.getenv("VERSION"),
	}
	switch dry := w.getenv("DRY_RUN"); dry {
	case "", "0":
	case "1":
		c.dry = "DRY_RUN=1"
	default:
		return config{}, fmt.Errorf("DRY_RUN=%q must be 1 or 0", dry)
	}
	if c.dry == "" {
		if _, err := exec.LookPath("gcloud"); err != nil {
			c.dry = "gcloud is not installed (https://cloud.google.com/sdk/docs/install)"
		}
	}
	if c.dry == "" && c.project == "" {
		out, err := output(ctx, command{args: []string{"gcloud", "config", "get-value", "project"}})
		if err != nil {
			return config{}, fmt.Errorf("ask gcloud for its project: %w", err)
		}
		if c.project = strings.TrimSpace(out); c.project == "" || c.project == "(unset)" {
			c.project = ""
			c.dry = "gcloud has no project: set GOOGLE_CLOUD_PROJECT, or run gcloud config set project PROJECT_ID"
		}
	}
	if c.dry == "" && c.region == "" {
		return config{}, errors.New("CLOUD_TASKS_LOCATION is not set: it is the region of queues and service, as in europe-west1")
	}
	c.project, c.region = cmp.Or(c.project, unknownProject), cmp.Or(c.region, unknownRegion)
	if err := c.check(); err != nil {
		return config{}, err
	}
	return c, c.complete(ctx, w)
}

// check refuses what gcloud would refuse half-way, or what would end up in another
// place of a command than where it belongs.
func (c *config) check() error {
	for _, rule := range []struct{ name, value, pattern, want string }{
		{"GOOGLE_CLOUD_PROJECT", c.project, `[a-z0-9][a-z0-9.:-]{2,60}|` + unknownProject, "a project id"},
		{"CLOUD_TASKS_LOCATION", c.region, `[a-z]+-[a-z]+[0-9]+|` + unknownRegion, "a region, as in europe-west1"},
		{"SERVICE", c.service, `[a-z][a-z0-9-]{2,20}[a-z0-9]`, "4 to 22 lower-case letters, digits and dashes, since the names of its accounts are made from it"},
		{"LATCHWORK_AUTH", c.auth, `oidc|cloud-run-iam`, "oidc or cloud-run-iam (App Engine has one mode, and takes no notice)"},
		{"WORKER_URL", c.workerURL, `|https://[a-z0-9.-]+`, "https://HOST, without a path"},
		{"MEMCACHE_ADDRS", c.memcache, `|[A-Za-z0-9.-]+:[0-9]+(,[A-Za-z0-9.-]+:[0-9]+)*`, "HOST:PORT,HOST:PORT"},
		{"RUNTIME", c.runtime, `go1[0-9]{2}`, "go126 or go125"},
		{"VERSION", c.version, `|[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`, "what can be the tag of an image"},
	} {
		if !regexp.MustCompile(`^(` + rule.pattern + `)$`).MatchString(rule.value) {
			return fmt.Errorf("%s=%q must be %s", rule.name, rule.value, rule.want)
		}
	}
	if c.target.title() == "" {
		return fmt.Errorf("no runtime has the name %q; %s", c.target, usage)
	}
	return nil
}

// complete finds out what was not said.
func (c *config) complete(ctx context.Context, w world) error {
	if c.version == "" {
		c.version = c.describe(ctx, w)
	}
	if c.target == appEngine || c.workerURL != "" {
		return nil
	}
	c.number = unknownNumber
	if c.dry == "" {
		out, err := output(ctx, command{args: []string{"gcloud", "projects", "describe", c.project, "--format=value(projectNumber)"}})
		if err != nil {
			return fmt.Errorf("ask for the number of the project %s: %w\nLog in with gcloud auth login, or correct GOOGLE_CLOUD_PROJECT", c.project, err)
		}
		if c.number = strings.TrimSpace(out); !regexp.MustCompile(`^[0-9]+$`).MatchString(c.number) {
			return fmt.Errorf("the number of the project %s is %q, which is none", c.project, c.number)
		}
	}
	label := c.service + "-" + c.number
	if len(label) > 63 {
		return fmt.Errorf("SERVICE=%q makes %s, too long for the first part of a host name: choose a shorter one, or set WORKER_URL", c.service, label)
	}
	c.workerURL = "https://" + label + "." + c.region + ".run.app"
	return nil
}

// describe is the version by git. Uncommitted changes get the time as well: under
// an unchanged tag Cloud Run would keep the image that it has.
func (c *config) describe(ctx context.Context, w world) string {
	out, err := output(ctx, command{args: []string{"git", "describe", "--tags", "--always", "--dirty"}})
	version := strings.TrimSpace(out)
	if err != nil || version == "" {
		version = "unknown-dirty"
	}
	if strings.HasSuffix(version, "-dirty") {
		version += w.now().UTC().Format("-20060102T150405")
	}
	return version
}

// The accounts that a deploy makes: one that the worker runs as, one whose tokens
// tasks carry, one that builds. App Engine has an account of its own.
func (c *config) workerAccount() string {
	if c.target == appEngine {
		return c.project + "@appspot.gserviceaccount.com"
	}
	return c.account("worker")
}
func (c *config) tasksAccount() string { return c.account("tasks") }
func (c *config) buildAccount() string { return c.account("build") }

func (c *config) account(role string) string {
	return c.service + "-" + role + "@" + c.project + ".iam.gserviceaccount.com"
}

func (c *config) repository() string {
	return c.region + "-docker.pkg.dev/" + c.project + "/" + c.service
}

func (c *config) image() string { return c.repository() + "/worker:" + c.version }

// appRegion is App Engine's name of the region: two are older than the others'
// numbering.
func (c *config) appRegion() string {
	if slices.Contains([]string{"europe-west1", "us-central1"}, c.region) {
		return strings.TrimSuffix(c.region, "1")
	}
	return c.region
}

// environment is what the worker's commands need to work on what is deployed.
func (c *config) environment() []string {
	env := []string{"GOOGLE_CLOUD_PROJECT=" + c.project, "CLOUD_TASKS_LOCATION=" + c.region}
	if c.target == appEngine {
		env = append(env, "TASKS_TARGET=appengine")
	} else {
		env = append(env, "WORKER_URL="+c.workerURL, "TASKS_SERVICE_ACCOUNT="+c.tasksAccount())
	}
	if c.memcache != "" {
		env = append(env, "MEMCACHE_ADDRS="+c.memcache)
	}
	return env
}

// doctor is the command that checks what is deployed.
func (c *config) doctor() command {
	args := []string{"go", "run", ".", "doctor"}
	if c.target == appEngine {
		args = append(args, "--auth=app-engine")
	} else {
		args = append(args, "--auth="+c.auth, "--cloud-run-service="+c.service)
	}
	return command{env: c.environment(), args: args}
}

// values are what ${…} stands for in service.yaml and app.yaml.
func (c *config) values() map[string]string {
	return map[string]string{
		"GOOGLE_CLOUD_PROJECT": c.project,
		"CLOUD_TASKS_LOCATION": c.region,
		"SERVICE":              c.service,
		"WORKER_URL":           c.workerURL,
		"WORKER_ACCOUNT":       c.workerAccount(),
		"TASKS_ACCOUNT":        c.tasksAccount(),
		"LATCHWORK_AUTH":       c.auth,
		"MEMCACHE_ADDRS":       c.memcache,
		"RUNTIME":              c.runtime,
		"IMAGE":                c.image(),
	}
}

// atRoot refuses to work in another folder than the repository's.
func atRoot() error {
	text, err := os.ReadFile("go.mod")
	if err != nil || !strings.HasPrefix(string(text), "module github.com/latchwork/latchwork\n") {
		return errors.New("this is not the root of the repository: run make deploy-… there")
	}
	return nil
}
