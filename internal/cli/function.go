package cli

import (
	"context"
	"net/http"
)

// NewWorker makes the endpoint that `serve` would serve in the cloud, for a runtime
// that brings its own server: Cloud Functions. env.Getenv is its whole
// configuration, read by the same definitions and with the same defaults as for
// `serve`; there are no emulators to fall back on. The endpoint's connections last
// as long as the process.
func NewWorker(ctx context.Context, env Env) (http.Handler, error) {
	var all commands
	parser, err := all.parser(env, func(int) {})
	if err != nil {
		return nil, err
	}
	if _, err := parser.Parse([]string{"serve"}); err != nil {
		return nil, err
	}
	c := &all.Serve
	requestTimeout, err := requestTimeoutFrom(env.Getenv)
	if err != nil {
		return nil, err
	}
	if err := c.complete(platformFrom(env.Getenv)); err != nil {
		return nil, err
	}
	_, w, err := c.open(ctx, env, requestTimeout, all.logger(env.Stderr))
	if err != nil {
		return nil, err
	}
	return w.routes(), nil
}
