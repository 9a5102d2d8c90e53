package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	beta "cloud.google.com/go/cloudtasks/apiv2beta3"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
	"github.com/latchwork/latchwork/internal/queues"
	"github.com/latchwork/latchwork/tasks"
)

type queuesCommand struct {
	Diff  queuesDiff  `cmd:"" help:"Show what a deploy of queue.yaml would create, change and pause. Exit status 0: nothing; 1: something; 2: it could not be told."`
	Apply queuesApply `cmd:"" help:"Create and change queues so that they are what queue.yaml says. Those that it leaves out stay as they are, where a deploy would pause them."`
}

// queueFlags are what both commands know.
type queueFlags struct {
	services
	File string `arg:"" optional:"" default:"queue.yaml" help:"App Engine's queue.yaml."`
	JSON bool   `name:"json" help:"Print JSON."`
}

type queuesDiff struct{ queueFlags }

// Run prints the differences; that there are some is an error.
func (c *queuesDiff) Run(ctx context.Context, env Env) error {
	parent, changes, err := c.compare(ctx, env, nil)
	switch {
	case err != nil:
		return exitError{2, err}
	case c.JSON:
		err = writeJSON(env.Stdout, queuesReport{Location: parent, File: c.File, Changes: append([]queues.Change{}, changes...)})
	case len(changes) == 0:
		fmt.Fprintf(env.Stdout, "no differences between %s and %s\n", c.File, parent)
	default:
		queues.Write(env.Stdout, changes)
	}
	if err != nil {
		return exitError{2, err}
	}
	if len(changes) > 0 {
		return fmt.Errorf("%s would change %d things in %s", c.File, len(changes), parent)
	}
	return nil
}

type queuesApply struct {
	queueFlags
	PauseOmitted bool `help:"Pause the queues that the file leaves out, as a deploy of it does."`
}

// Run makes the changes, and prints each as it is made.
func (c *queuesApply) Run(ctx context.Context, env Env) error {
	var done []queues.Change
	made := func(change queues.Change) {
		done = append(done, change)
		if !c.JSON {
			queues.Write(env.Stdout, []queues.Change{change})
		}
	}
	parent, changes, err := c.compare(ctx, env, func(client *beta.Client, parent string, changes []queues.Change) error {
		return queues.Apply(ctx, client, parent, changes, &queues.Options{PauseOmitted: c.PauseOmitted, Done: made})
	})
	if parent == "" {
		return err
	}
	var left []queues.Change
	if !c.PauseOmitted {
		left = slices.DeleteFunc(slices.Clone(changes), func(change queues.Change) bool { return change.Action != queues.Omitted })
	}
	if c.JSON {
		return errors.Join(err, writeJSON(env.Stdout, queuesReport{Location: parent, File: c.File, Changes: append([]queues.Change{}, done...), Left: left}))
	}
	if len(done) == 0 && err == nil {
		fmt.Fprintf(env.Stdout, "no differences between %s and %s\n", c.File, parent)
	}
	if len(left) > 0 {
		fmt.Fprintf(env.Stdout, "left alone (--pause-omitted pauses them):\n")
		queues.Write(env.Stdout, left)
	}
	if err != nil {
		return fmt.Errorf("%w\nWhat is printed above is done; when the reason is gone, apply again", err)
	}
	return nil
}

// queuesReport is the output as JSON.
type queuesReport struct {
	Location string          `json:"location"`
	File     string          `json:"file"`
	Changes  []queues.Change `json:"changes"`
	Left     []queues.Change `json:"left_alone,omitempty"` // of apply: omitted queues
}

// compare reads the file and the queues, and hands the differences to then, if
// that isn't nil. The parent is empty when it didn't get that far.
func (c *queueFlags) compare(ctx context.Context, env Env, then func(*beta.Client, string, []queues.Change) error) (parent string, changes []queues.Change, err error) {
	file, err := readQueueFile(c.File)
	if err != nil {
		return "", nil, err
	}
	where, err := c.locate(ctx, env)
	if err != nil {
		return "", nil, err
	}
	client, err := beta.NewClient(ctx, tasks.EmulatorOptions(c.CloudTasksHost)...)
	if err != nil {
		return "", nil, fmt.Errorf("connect to Cloud Tasks: %w", err)
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	have, err := queues.List(ctx, client, where)
	if err != nil {
		return "", nil, err
	}
	changes = queues.Compare(file, have)
	if then != nil {
		err = then(client, where, changes)
	}
	return where, changes, err
}

func readQueueFile(name string) (*cloudtasks.QueueFile, error) {
	text, err := readFile(name)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w: the queues are compared with App Engine's queue.yaml, name it as the argument", err)
		}
		return nil, err
	}
	file, err := cloudtasks.ParseQueueYAML(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return file, nil
}

func writeJSON(w io.Writer, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", text)
	return err
}
