package main

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
)

// Entities of these kinds are deleted by a TTL policy on this property.
const (
	ledgerKind     = "_latchwork_ledger"
	lockKind       = "_latchwork_lock"
	expiryProperty = "ExpireAt"
)

// sweepJob is the name of the Cloud Scheduler job that calls the sweeper, which
// finds work on Cloud Run only while it is called.
func (c *config) sweepJob() string { return c.service + "-sweep" }

// plan is all that a deploy does, in order: what the service needs comes before the
// service, who may call it and what calls it after it.
func plan(c config) []step {
	switch c.target {
	case appEngine:
		return slices.Concat(
			c.apis("appengine.googleapis.com", "cloudscheduler.googleapis.com"), c.app(),
			c.roles(), c.datastore(), c.queues(), c.appEngineService())
	case cloudRun:
		return slices.Concat(
			c.apis("run.googleapis.com", "artifactregistry.googleapis.com", "cloudscheduler.googleapis.com"),
			c.accounts(), c.roles(), c.datastore(), c.queues(),
			c.closed(), c.cloudRunService(), c.callers(), c.sweeper())
	default:
		return slices.Concat(
			c.apis("cloudfunctions.googleapis.com", "run.googleapis.com", "artifactregistry.googleapis.com", "cloudscheduler.googleapis.com"),
			c.accounts(), c.roles(), c.datastore(), c.queues(),
			c.closed(), c.functionService(), c.callers(), c.sweeper())
	}
}

func (c *config) apis(more ...string) []step {
	args := append([]string{"services", "enable", "cloudtasks.googleapis.com", "firestore.googleapis.com", "datastore.googleapis.com",
		"iam.googleapis.com", "cloudbuild.googleapis.com"}, more...)
	return []step{{
		why:    "The APIs of the services that are used.",
		do:     gcloud(append(args, "--project="+c.project)...),
		remedy: "You need roles/serviceusage.serviceUsageAdmin, and the project a billing account.",
	}}
}

// app makes the App Engine application, whose region is for ever.
func (c *config) app() []step {
	return []step{{
		why:    "The project's App Engine application. Its region can never be changed.",
		look:   gcloud("app", "describe", "--format=value(id,locationId)", "--project="+c.project),
		want:   c.project + "\t" + c.appRegion(),
		do:     gcloud("app", "create", "--region="+c.appRegion(), "--project="+c.project),
		remedy: "You need roles/owner for this one step, or somebody who has it. An application in another region stays there: set CLOUD_TASKS_LOCATION to it.",
	}}
}

func (c *config) accounts() []step {
	var steps []step
	for _, a := range []struct{ email, why, display string }{
		{c.workerAccount(), "The account that the worker runs as.", "Latchwork: the worker"},
		{c.tasksAccount(), "The account whose tokens tasks and sweeps carry.", "Latchwork: tokens of tasks"},
		{c.buildAccount(), "The account that builds.", "Latchwork: builds"},
	} {
		id, _, _ := strings.Cut(a.email, "@")
		steps = append(steps, step{
			why:    a.why,
			look:   gcloud("iam", "service-accounts", "list", "--format=value(email)", "--project="+c.project),
			want:   a.email,
			do:     gcloud("iam", "service-accounts", "create", id, "--display-name="+a.display, "--project="+c.project),
			remedy: "You need roles/iam.serviceAccountAdmin.",
		})
	}
	return steps
}

func (c *config) roles() []step {
	const remedy = "You need roles/resourcemanager.projectIamAdmin and roles/iam.serviceAccountAdmin. An account that has just been made is known everywhere after a minute."
	bind := func(why, account, role string) step {
		return step{
			why: why,
			do: gcloud("projects", "add-iam-policy-binding", c.project, "--member=serviceAccount:"+account, "--role="+role,
				"--condition=None", "--format=none"),
			remedy: remedy,
		}
	}
	steps := []step{
		bind("The worker reads and writes entities.", c.workerAccount(), "roles/datastore.user"),
		bind("The worker creates tasks.", c.workerAccount(), "roles/cloudtasks.enqueuer"),
	}
	if c.target == appEngine {
		return steps
	}
	return append(steps,
		step{
			why: "The worker gives tasks the tokens of their account.",
			do: gcloud("iam", "service-accounts", "add-iam-policy-binding", c.tasksAccount(), "--member=serviceAccount:"+c.workerAccount(),
				"--role=roles/iam.serviceAccountUser", "--format=none", "--project="+c.project),
			remedy: remedy,
		},
		bind("Builds read the source, write images and logs.", c.buildAccount(), "roles/cloudbuild.builds.builder"),
	)
}

func (c *config) datastore() []step {
	steps := []step{
		{
			why:    "The database, of the kind that the client for Datastore talks to.",
			look:   gcloud("firestore", "databases", "list", "--format=value(name.basename(),type)", "--project="+c.project),
			want:   "(default)\tDATASTORE_MODE",
			do:     gcloud("firestore", "databases", "create", "--database=(default)", "--location="+c.region, "--type=datastore-mode", "--project="+c.project),
			remedy: "You need roles/datastore.owner. A default database in Firestore's native mode can be changed only while it is empty: gcloud firestore databases update --database='(default)' --type=datastore-mode",
		},
		c.ttl("The ledger's rows are deleted when no delivery can come any more.", ledgerKind),
	}
	if c.memcache == "" {
		steps = append(steps, c.ttl("Locks whose holders died are deleted, of work that never comes again.", lockKind))
	}
	return append(steps, step{
		why:    "The composite indexes of the app's queries. They are built in the background; queries that need them fail until then.",
		do:     gcloud("datastore", "indexes", "create", "index.yaml", "--quiet", "--project="+c.project),
		remedy: "You need roles/datastore.indexAdmin. gcloud datastore indexes list shows what there is.",
	})
}

// ttl is the policy that deletes entities of a kind.
func (c *config) ttl(why, kind string) step {
	return step{
		why:    why,
		look:   gcloud("firestore", "fields", "ttls", "list", "--database=(default)", "--format=value(name)", "--project="+c.project),
		want:   "projects/" + c.project + "/databases/(default)/collectionGroups/" + kind + "/fields/" + expiryProperty,
		do:     gcloud("firestore", "fields", "ttls", "update", expiryProperty, "--collection-group="+kind, "--database=(default)", "--enable-ttl", "--async", "--project="+c.project),
		remedy: "You need roles/datastore.owner. Work goes on without the policy, but entities are kept and paid for.",
	}
}

func (c *config) queues() []step {
	return []step{{
		why:    "The queues of queue.yaml. Others are left alone.",
		do:     command{env: c.environment(), args: []string{"go", "run", ".", "queues", "apply", "queue.yaml"}},
		remedy: "You need roles/cloudtasks.queueAdmin, and gcloud auth application-default login, since this is no gcloud command.",
	}}
}

// closed takes the service from the public before a version is deployed that relies
// on Cloud Run to keep strangers out.
func (c *config) closed() []step {
	if c.auth != "cloud-run-iam" {
		return nil
	}
	return []step{{
		why: "Nobody but the accounts that are named may call the service: the next version relies on it.",
		look: gcloud("run", "services", "get-iam-policy", c.service, "--flatten=bindings[].members",
			"--format=value(bindings.members,bindings.role)", "--region="+c.region, "--project="+c.project),
		want:     "allUsers\troles/run.invoker",
		unwanted: true,
		do: gcloud("run", "services", "remove-iam-policy-binding", c.service, "--member=allUsers", "--role=roles/run.invoker",
			"--format=none", "--region="+c.region, "--project="+c.project),
		remedy: "You need roles/run.admin.",
	}}
}

// callers lets in whom the mode of LATCHWORK_AUTH counts on.
func (c *config) callers() []step {
	const remedy = "You need roles/run.admin. Where an organization's policy forbids allUsers, LATCHWORK_AUTH=cloud-run-iam does without."
	add := func(why, member string) step {
		return step{
			why: why,
			do: gcloud("run", "services", "add-iam-policy-binding", c.service, "--member="+member, "--role=roles/run.invoker",
				"--format=none", "--region="+c.region, "--project="+c.project),
			remedy: remedy,
		}
	}
	if c.auth == "cloud-run-iam" {
		return []step{add("Cloud Run lets the tokens of tasks and sweeps in, and nobody else's.", "serviceAccount:"+c.tasksAccount())}
	}
	return []step{add("Cloud Run lets everybody knock; the worker checks every token in full.", "allUsers")}
}

func (c *config) cloudRunService() []step {
	return []step{
		{
			why:    "The repository of the images.",
			look:   gcloud("artifacts", "repositories", "list", "--location="+c.region, "--format=value(name.basename())", "--project="+c.project),
			want:   c.service,
			do:     gcloud("artifacts", "repositories", "create", c.service, "--repository-format=docker", "--location="+c.region, "--project="+c.project),
			remedy: "You need roles/artifactregistry.admin.",
		},
		{
			why: "The image, built from this folder by the Dockerfile.",
			do: gcloud("builds", "submit", ".", "--config=deploy/cloudbuild.yaml", "--substitutions=_IMAGE="+c.image()+",_VERSION="+c.version,
				"--service-account=projects/"+c.project+"/serviceAccounts/"+c.buildAccount(), "--region="+c.region, "--project="+c.project),
			remedy: "You need roles/cloudbuild.builds.editor, roles/storage.admin for the uploads, and roles/iam.serviceAccountUser on the account that builds.",
		},
		c.staged("service.yaml with this deploy's values."),
		{
			why: "The service.",
			do: gcloud("run", "services", "replace", filepath.ToSlash(filepath.Join(buildFolder(c.target), "service.yaml")),
				"--region="+c.region, "--project="+c.project),
			remedy: "You need roles/run.admin, and roles/iam.serviceAccountUser on the account that the worker runs as. A version that doesn't become ready says why in its log: a half-configured environment is named there.",
		},
	}
}

func (c *config) functionService() []step {
	public := "--no-allow-unauthenticated"
	if c.auth == "oidc" {
		public = "--allow-unauthenticated"
	}
	var env []string
	for _, e := range append(c.environment(), "LATCHWORK_AUTH="+c.auth) {
		env = append(env, strings.ReplaceAll(e, ";", ""))
	}
	return []step{
		c.staged("The tree that Cloud Functions builds: this one, with function/ at its root."),
		{
			why: "The function.",
			do: gcloud("functions", "deploy", c.service, "--gen2", "--runtime="+c.runtime, "--entry-point=Worker", "--trigger-http", public,
				"--source="+buildFolder(c.target), "--service-account="+c.workerAccount(),
				"--build-service-account=projects/"+c.project+"/serviceAccounts/"+c.buildAccount(),
				"--timeout=1800s", "--concurrency=64", "--cpu=1", "--memory=512Mi", "--max-instances=10",
				"--set-env-vars=^;^"+strings.Join(env, ";"), "--region="+c.region, "--project="+c.project),
			remedy: "You need roles/cloudfunctions.admin, roles/run.admin, and roles/iam.serviceAccountUser on the accounts that build and run it. Where go126 is not offered yet: RUNTIME=go125. What is wrong with its environment, the function answers to every request.",
		},
	}
}

func (c *config) appEngineService() []step {
	folder := buildFolder(c.target)
	return []step{
		c.staged("The tree that App Engine builds: this one, with this deploy's values in app.yaml."),
		{
			why:    "The service. The version before it stays, without traffic.",
			do:     gcloud("app", "deploy", filepath.ToSlash(filepath.Join(folder, "app.yaml")), "--quiet", "--project="+c.project),
			remedy: "You need roles/appengine.deployer, roles/appengine.serviceAdmin, roles/cloudbuild.builds.editor, roles/storage.admin, and roles/iam.serviceAccountUser on " + c.workerAccount() + ". Where go126 is not offered yet: RUNTIME=go125.",
		},
		{
			why:    "The sweeper's schedule. This is definitive: jobs that cron.yaml doesn't have are deleted.",
			do:     gcloud("app", "deploy", "cron.yaml", "--quiet", "--project="+c.project),
			remedy: "You need roles/cloudscheduler.admin and roles/appengine.deployer.",
		},
	}
}

// sweeper is the job that calls the sweeper each minute, with a token like a task's.
func (c *config) sweeper() []step {
	const schedule = "* * * * *"
	uri := c.workerURL + "/_latchwork/sweep"
	job := func(verb string) command {
		return gcloud("scheduler", "jobs", verb, "http", c.sweepJob(), "--location="+c.region, "--schedule="+schedule, "--uri="+uri, "--http-method=POST",
			"--oidc-service-account-email="+c.tasksAccount(), "--oidc-token-audience="+c.workerURL, "--attempt-deadline=180s", "--project="+c.project)
	}
	return []step{{
		why: "The sweeper is called each minute: Cloud Run has no cron of its own, and no CPU between requests.",
		look: gcloud("scheduler", "jobs", "list", "--location="+c.region,
			"--format=value(name.basename(),schedule,httpTarget.uri,httpTarget.oidcToken.serviceAccountEmail,httpTarget.oidcToken.audience)", "--project="+c.project),
		want:   strings.Join([]string{c.sweepJob(), schedule, uri, c.tasksAccount(), c.workerURL}, "\t"),
		do:     job("create"),
		fix:    job("update"),
		remedy: "You need roles/cloudscheduler.admin, and roles/iam.serviceAccountUser on the tasks' account. What waits in the outbox is not swept until this is done.",
	}}
}

// staged is the step that prepares a folder of build/.
func (c *config) staged(why string) step {
	do := command{args: []string{"go", "run", "./deploy", "stage", string(c.target)}}
	switch c.target {
	case appEngine:
		do.env = append(c.environment(), "RUNTIME="+c.runtime)
	case cloudRun:
		do.env = append(c.environment(), "SERVICE="+c.service, "LATCHWORK_AUTH="+c.auth, "VERSION="+c.version)
	}
	return step{
		why:    why,
		do:     do,
		own:    func(context.Context) error { return prepare(*c, buildFolder(c.target)) },
		remedy: "The disk may be full, or the folder not yours: rm -r " + buildFolder(c.target),
	}
}
