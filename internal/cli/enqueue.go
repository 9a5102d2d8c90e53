package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/latchwork/latchwork/tasks"
)

// maxPayload bounds what enqueue reads; the envelope's own limit is lower.
const maxPayload = 1 << 20

type enqueueCommand struct {
	services
	Class   string        `arg:"" help:"The task's class."`
	Payload string        `arg:"" optional:"" default:"null" help:"JSON, or @FILE, or - for standard input."`
	Name    string        `help:"Name that de-duplicates: a second task of this name is reported as a duplicate."`
	Delay   time.Duration `help:"How long from now the task is due."`
}

// Run enqueues one task and prints its execution id and its name in the queue.
func (c *enqueueCommand) Run(ctx context.Context, env Env, log *slog.Logger) error {
	payload, err := c.payload(env.Stdin)
	if err != nil {
		return err
	}
	return c.withConnections(ctx, env, log, func(conns *connections) error {
		app, err := conns.newApp(nil, log)
		if err != nil {
			return err
		}
		handler, err := find(app.Handlers(), c.Class)
		if err != nil {
			return err
		}
		receipt, err := handler.Enqueue(ctx, conns.client, payload, &tasks.EnqueueOptions{Name: c.Name, Delay: c.Delay})
		if err != nil {
			return fmt.Errorf("enqueue %s: %w", c.Class, err)
		}
		if receipt.Duplicate {
			fmt.Fprintf(env.Stdout, "duplicate: a task of this name exists or existed lately: %s\n", receipt.TaskName)
			return nil
		}
		fmt.Fprintf(env.Stdout, "enqueued %s id=%s task=%s\n", c.Class, receipt.ID, receipt.TaskName)
		return nil
	})
}

// payload reads what the argument points at, and checks that it is JSON.
func (c *enqueueCommand) payload(stdin io.Reader) (json.RawMessage, error) {
	text := []byte(c.Payload)
	var err error
	switch name, isFile := strings.CutPrefix(c.Payload, "@"); {
	case isFile:
		text, err = readFile(name)
	case c.Payload == "-":
		text, err = readBounded(stdin)
	}
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	text = bytes.TrimSpace(text)
	if !json.Valid(text) {
		return nil, usageError{errors.New("the payload is not JSON: a string needs its quotes, as in '\"text\"'")}
	}
	return text, nil
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f)
}

func readBounded(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxPayload+1))
	if err == nil && len(text) > maxPayload {
		err = fmt.Errorf("larger than %d bytes", maxPayload)
	}
	return text, err
}

// find returns the handler of class, which may be an alias.
func find(handlers []tasks.Handler, class string) (tasks.Handler, error) {
	var names []string
	for _, h := range handlers {
		spec := h.Spec()
		if spec.Name == class || slices.Contains(spec.Aliases, class) {
			return h, nil
		}
		names = append(names, spec.Name)
	}
	slices.Sort(names)
	return tasks.Handler{}, usageError{fmt.Errorf("no class %q; there are: %s", class, strings.Join(names, ", "))}
}
