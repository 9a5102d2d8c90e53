package auth

import (
	"strings"
	"testing"
)

func cloudRun(t testing.TB) *CloudRunIAM {
	t.Helper()
	v, err := NewCloudRunIAM(&CloudRunIAMOptions{
		Audiences: []string{audience}, Emails: []string{email}, Getenv: env("K_SERVICE", "worker"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestCloudRunAcceptsStrippedSignature(t *testing.T) {
	v, good := cloudRun(t), newIssuer().good()
	want := Caller{Mode: ModeCloudRunIAM, Email: email, Audience: audience}
	stripped := good[:strings.LastIndex(good, ".")+1] + signatureRemoved
	for name, token := range map[string]string{"stripped": stripped, "as signed": good} {
		if c, err := v.Verify(request(t, token)); err != nil || c != want {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	// Cloud Run verifies this header's token instead and lets ours pass.
	r := request(t, stripped)
	r.Header.Set("X-Serverless-Authorization", "Bearer "+good)
	if c, err := v.Verify(r); err == nil {
		t.Errorf("beside X-Serverless-Authorization: accepted as %+v", c)
	}
}

func TestCloudRunIsForCloudRunOnly(t *testing.T) {
	some := []string{"x"}
	on := env("K_SERVICE", "worker")
	for name, test := range map[string]struct {
		o    *CloudRunIAMOptions
		want string
	}{
		"nil options":      {nil, "Audiences"},
		"no audiences":     {&CloudRunIAMOptions{Emails: some, Getenv: on}, "Audiences"},
		"no emails":        {&CloudRunIAMOptions{Audiences: some, Getenv: on}, "Emails"},
		"no environment":   {&CloudRunIAMOptions{Audiences: some, Emails: some}, "K_SERVICE"},
		"elsewhere":        {&CloudRunIAMOptions{Audiences: some, Emails: some, Getenv: env("", "")}, "K_SERVICE"},
		"App Engine's env": {&CloudRunIAMOptions{Audiences: some, Emails: some, Getenv: env("GAE_ENV", "standard")}, "K_SERVICE"},
	} {
		if v, err := NewCloudRunIAM(test.o); err == nil || v != nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, %v; the error must contain %q", name, v, err, test.want)
		}
	}
}

func TestAppEngine(t *testing.T) {
	v, err := NewAppEngine(&AppEngineOptions{Queues: []string{"default", "mail"}, Getenv: env("GAE_ENV", "standard")})
	if err != nil {
		t.Fatal(err)
	}
	const tasks, sweep = "/_latchwork/tasks/x", DefaultCronPath
	queue := func(names ...string) map[string][]string { return map[string][]string{"X-AppEngine-QueueName": names} }
	cron := func(values ...string) map[string][]string { return map[string][]string{"X-Appengine-Cron": values} }
	for name, test := range map[string]struct {
		path    string
		headers map[string][]string
		want    Caller // zero = refused
	}{
		"a listed queue":        {tasks, queue("mail"), Caller{Mode: ModeAppEngine, Queue: "mail"}},
		"its sweep":             {sweep, queue("default"), Caller{Mode: ModeAppEngine, Queue: "default"}},
		"cron sweeps":           {sweep, cron("true"), Caller{Mode: ModeCron}},
		"cron elsewhere":        {tasks, cron("true"), Caller{}},
		"cron below the path":   {sweep + "/x", cron("true"), Caller{}},
		"cron says false":       {sweep, cron("false"), Caller{}},
		"cron twice":            {sweep, cron("true", "true"), Caller{}},
		"nothing":               {tasks, nil, Caller{}},
		"another queue":         {tasks, queue("other"), Caller{}},
		"a queue in other case": {tasks, queue("Mail"), Caller{}},
		"an empty queue":        {tasks, queue(""), Caller{}},
		"two queues":            {tasks, queue("mail", "mail"), Caller{}},
		"Cloud Tasks' header":   {tasks, map[string][]string{"X-CloudTasks-QueueName": {"mail"}}, Caller{}},
	} {
		r := request(t, "")
		r.URL.Path = test.path
		for header, values := range test.headers {
			for _, value := range values {
				r.Header.Add(header, value)
			}
		}
		if c, err := v.Verify(r); c != test.want || (err == nil) != (test.want != Caller{}) {
			t.Errorf("%s: %+v, %v; want %+v", name, c, err, test.want)
		}
	}
}

func TestAppEngineIsForAppEngineOnly(t *testing.T) {
	some := []string{"default"}
	for name, test := range map[string]struct {
		o    *AppEngineOptions
		want string
	}{
		"nil options":    {nil, "Queues"},
		"no queues":      {&AppEngineOptions{Getenv: env("GAE_ENV", "standard")}, "Queues"},
		"an empty queue": {&AppEngineOptions{Queues: []string{""}, Getenv: env("GAE_ENV", "standard")}, "Queues[0]"},
		"no environment": {&AppEngineOptions{Queues: some}, "GAE_ENV"},
		"elsewhere":      {&AppEngineOptions{Queues: some, Getenv: env("", "")}, `not ""`},
		"flexible":       {&AppEngineOptions{Queues: some, Getenv: env("GAE_ENV", "flex")}, `not "flex"`},
		"service alone":  {&AppEngineOptions{Queues: some, Getenv: env("GAE_SERVICE", "worker")}, "GAE_ENV"},
	} {
		if v, err := NewAppEngine(test.o); err == nil || v != nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, %v; the error must contain %q", name, v, err, test.want)
		}
	}
}

func TestAny(t *testing.T) {
	i := newIssuer()
	gae, err := NewAppEngine(&AppEngineOptions{Queues: []string{"default"}, Getenv: env("GAE_ENV", "standard")})
	if err != nil {
		t.Fatal(err)
	}
	v := Any(gae, verifiers(t, i)["google"])

	if c, err := v.Verify(request(t, i.good())); err != nil || c.Mode != ModeOIDC {
		t.Errorf("a token: %+v, %v", c, err)
	}
	r := request(t, "")
	r.Header.Set("X-AppEngine-QueueName", "default")
	if c, err := v.Verify(r); err != nil || c.Mode != ModeAppEngine {
		t.Errorf("a queue: %+v, %v", c, err)
	}
	if _, err := v.Verify(request(t, "")); err == nil || !strings.Contains(err.Error(), "QueueName") || !strings.Contains(err.Error(), "Authorization") {
		t.Errorf("neither: the error is %v; it must give both reasons", err)
	}
	if _, err := Any().Verify(request(t, i.good())); err == nil {
		t.Error("without verifiers: accepted")
	}
}
