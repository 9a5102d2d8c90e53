package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"text/tabwriter"

	"cloud.google.com/go/datastore"

	"github.com/latchwork/latchwork/handlers"
)

type deadCommand struct {
	List    deadList    `cmd:"" default:"withargs" help:"List the dead letters."`
	Show    deadShow    `cmd:"" help:"Print one dead letter, its payload included, as JSON."`
	Redrive deadRedrive `cmd:"" help:"Run dead tasks again, with no failures and a new deadline."`
	Drop    deadDrop    `cmd:"" help:"Delete dead letters; their tasks stay dead."`
}

type deadList struct {
	services
	Class string `help:"Only this class."`
}

func (c *deadList) Run(ctx context.Context, env Env, log *slog.Logger) error {
	return c.withDeadLetters(ctx, env, log, func(letters *handlers.DeadLetters) error {
		table := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "KEY\tCLASS\tREASON\tFAILURES\tAT\tERROR")
		for letter, err := range letters.List(ctx, c.Class) {
			if err != nil {
				return errors.Join(err, table.Flush())
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\n", letter.Key, letter.Class, letter.Reason, letter.Failures,
				letter.At.Format("2006-01-02 15:04:05"), oneLine(letter.Error, 80))
		}
		return table.Flush()
	})
}

type deadShow struct {
	services
	Key string `arg:"" help:"The dead letter's key, as dead list prints it."`
}

func (c *deadShow) Run(ctx context.Context, env Env, log *slog.Logger) error {
	return c.withDeadLetters(ctx, env, log, func(letters *handlers.DeadLetters) error {
		letter, err := letters.Get(ctx, c.Key)
		if err != nil {
			return noSuchLetter(c.Key, err)
		}
		text, err := json.MarshalIndent(letter, "", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "%s\n", text)
		return nil
	})
}

type deadRedrive struct {
	services
	Keys      []string `arg:"" help:"Keys of dead letters."`
	MayRepeat bool     `help:"Redrive even where the task may have committed before (reason outcome-unknown)."`
}

func (c *deadRedrive) Run(ctx context.Context, env Env, log *slog.Logger) error {
	return c.withDeadLetters(ctx, env, log, func(letters *handlers.DeadLetters) error {
		return each(c.Keys, func(key string) error {
			receipt, err := letters.Redrive(ctx, key, &handlers.RedriveOptions{MayRepeat: c.MayRepeat})
			if err != nil {
				return noSuchLetter(key, err)
			}
			fmt.Fprintf(env.Stdout, "redriven %s id=%s task=%s\n", key, receipt.ID, receipt.TaskName)
			return nil
		})
	})
}

type deadDrop struct {
	services
	Keys []string `arg:"" help:"Keys of dead letters."`
}

func (c *deadDrop) Run(ctx context.Context, env Env, log *slog.Logger) error {
	return c.withDeadLetters(ctx, env, log, func(letters *handlers.DeadLetters) error {
		return each(c.Keys, func(key string) error {
			if err := letters.Drop(ctx, key); err != nil {
				return noSuchLetter(key, err)
			}
			fmt.Fprintf(env.Stdout, "dropped %s\n", key)
			return nil
		})
	})
}

func (s *services) withDeadLetters(ctx context.Context, env Env, log *slog.Logger, f func(*handlers.DeadLetters) error) error {
	return s.withConnections(ctx, env, log, func(c *connections) error {
		return f(handlers.NewDeadLetters(c.client))
	})
}

// each goes on after an error: one key that is wrong does not keep the others.
func each(keys []string, do func(key string) error) error {
	var errs []error
	for _, key := range keys {
		errs = append(errs, do(key))
	}
	return errors.Join(errs...)
}

func noSuchLetter(key string, err error) error {
	if errors.Is(err, datastore.ErrNoSuchEntity) {
		return fmt.Errorf("no dead letter has the key %q (latchwork dead list shows them)", key)
	}
	return fmt.Errorf("dead letter %s: %w", key, err)
}

// oneLine cuts text to at most limit runes of its first line.
func oneLine(text string, limit int) string {
	out := []rune{}
	for _, r := range text {
		if r == '\n' || r == '\r' || len(out) == limit {
			return string(out) + " …"
		}
		out = append(out, r)
	}
	return string(out)
}
