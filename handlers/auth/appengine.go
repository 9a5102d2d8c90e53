package auth

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
)

// DefaultCronPath is where the cron jobs of an App Engine worker call: the
// sweeper.
const DefaultCronPath = "/_latchwork/sweep"

// AppEngineOptions configure [NewAppEngine].
type AppEngineOptions struct {
	Queues   []string            // required: the queues whose tasks are accepted
	CronPath string              // the one path that cron may call; "" = DefaultCronPath
	Getenv   func(string) string // required: os.Getenv in programs; GAE_ENV must be standard
}

// AppEngine accepts requests of App Engine's own queues and cron, by headers
// that its front end strips from all others.
type AppEngine struct {
	queues   allowList
	cronPath string
}

// NewAppEngine returns the verifier of a service in App Engine's standard
// environment. Elsewhere the headers prove nothing, and it is an error.
func NewAppEngine(o *AppEngineOptions) (*AppEngine, error) {
	if o == nil {
		o = &AppEngineOptions{}
	}
	queues, err := newAllowList("Queues", o.Queues)
	if err != nil {
		return nil, err
	}
	if o.Getenv == nil {
		return nil, errors.New("auth: App Engine's headers are trusted only with GAE_ENV=standard, and there is no Getenv to ask")
	}
	if env := o.Getenv("GAE_ENV"); env != "standard" {
		return nil, fmt.Errorf("auth: App Engine's headers are trusted only with GAE_ENV=standard, not %q", clip(env))
	}
	return &AppEngine{queues, cmp.Or(o.CronPath, DefaultCronPath)}, nil
}

// Verify returns the queue that pushes or, on the cron path, the cron service.
func (v *AppEngine) Verify(r *http.Request) (Caller, error) {
	if r.URL.Path == v.cronPath {
		if cron := r.Header.Values("X-Appengine-Cron"); len(cron) == 1 && cron[0] == "true" {
			return Caller{Mode: ModeCron}, nil
		}
	}
	names := r.Header.Values("X-AppEngine-QueueName")
	if len(names) != 1 {
		return Caller{}, fmt.Errorf("auth: the request has %d X-AppEngine-QueueName headers; exactly one is accepted", len(names))
	}
	if !v.queues.has(names[0]) {
		return Caller{}, fmt.Errorf("auth: the queue %q is not in the allow-list", clip(names[0]))
	}
	return Caller{Mode: ModeAppEngine, Queue: names[0]}, nil
}
