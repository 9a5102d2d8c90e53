// Deploy puts the worker on one of Google's runtimes: App Engine, Cloud Run or
// Cloud Functions. `make deploy-app-engine`, `deploy-cloud-run` and
// `deploy-function` run it; docs/deploy-*.md are its guides.
//
// It prints every command with its values, asks, and then runs them one after the
// other. Each is either harmless to repeat or preceded by a look at what there is,
// so that a run that stopped half-way is repeated until it gets to the end, and a
// run on what is deployed already changes nothing but the service's version. A
// command that fails stops the rest.
//
// The environment is the configuration; config.go lists it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], world{getenv: os.Getenv, now: time.Now, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr})
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "deploy:", err)
		os.Exit(1)
	}
}

// A world is what the program knows of what is around it. Files are those of the
// working directory, which is the root of the repository.
type world struct {
	getenv         func(string) string
	now            func() time.Time
	stdin          io.Reader
	stdout, stderr io.Writer
}

const usage = "usage: deploy app-engine|cloud-run|function, or deploy stage app-engine|cloud-run|function [DIR]"

func run(ctx context.Context, args []string, w world) error {
	if err := atRoot(); err != nil {
		return err
	}
	switch {
	case len(args) == 1 && args[0] != "stage":
		return deploy(ctx, target(args[0]), w)
	case len(args) == 2 && args[0] == "stage":
		return stage(ctx, target(args[1]), buildFolder(target(args[1])), w)
	case len(args) == 3 && args[0] == "stage":
		return stage(ctx, target(args[1]), args[2], w)
	}
	return errors.New(usage)
}

// deploy prints the plan, asks, and follows it.
func deploy(ctx context.Context, t target, w world) error {
	c, err := configure(ctx, t, w)
	if err != nil {
		return err
	}
	steps := plan(c)
	fmt.Fprintf(w.stdout, "# Deploys %s to %s, project %s, %s.\n", c.service, t.title(), c.project, c.region)
	for i, s := range steps {
		fmt.Fprintf(w.stdout, "\n# %d. %s\n%s", i+1, s.why, s.text())
	}
	fmt.Fprintln(w.stdout)
	if c.dry != "" {
		fmt.Fprintf(w.stdout, "# Nothing was done: %s.\n", c.dry)
		return nil
	}
	if err := confirm(w); err != nil {
		return err
	}
	if err := follow(ctx, steps, w); err != nil {
		return err
	}
	fmt.Fprintf(w.stdout, "\nDeployed. To check it:\n%s\n", c.doctor())
	return nil
}

// confirm asks, unless YES=1 has answered.
func confirm(w world) error {
	if w.getenv("YES") == "1" {
		return nil
	}
	fmt.Fprint(w.stdout, "Do this? [y/N] ")
	var answer string
	if _, err := fmt.Fscanln(io.LimitReader(w.stdin, 100), &answer); err != nil || answer != "y" && answer != "yes" {
		return errors.New("nothing was done: the answer was not y (YES=1 answers without being asked)")
	}
	return nil
}
