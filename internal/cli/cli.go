package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"
)

// An Env is what a command knows of the world around the process.
type Env struct {
	Getenv         func(string) string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// commands is the whole command line; the struct tags are its help.
type commands struct {
	Verbose bool `help:"Log every delivery and request, not only what needs attention." var:"LATCHWORK_VERBOSE"`

	Serve    serveCommand    `cmd:"" default:"withargs" help:"Run the worker, and, where no cloud is configured, the emulators and the console in the same process (the default command)."`
	Emulator emulatorCommand `cmd:"" help:"Run the stand-ins for Cloud Tasks, Datastore and memcached alone, for clients in any language."`
	Enqueue  enqueueCommand  `cmd:"" help:"Enqueue one task of a class, with a JSON payload."`
	Dead     deadCommand     `cmd:"" help:"Look at the dead letters: tasks that failed for good. List, show, redrive or drop them."`
	Cron     cronCommand     `cmd:"" help:"Look at the jobs of Cloud Scheduler and of cron.yaml: list them, or run one now."`
	Doctor   doctorCommand   `cmd:"" help:"Look at everything that a worker rests on, and say what is wrong and how to put it right. Exit status 1 when a check fails."`
	Queues   queuesCommand   `cmd:"" help:"Compare the queues with queue.yaml, and make them what it says."`
	Demo     demoCommand     `cmd:"" help:"Send one message to 1,000 recipients over stand-ins of its own, and print books that anyone can check. Exit status 1 when they don't balance."`
	Version  versionCommand  `cmd:"" help:"Print the version."`
}

// A usageError is a command line that says nothing this program can do.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// An exitError ends the process with a status of its command's own.
type exitError struct {
	status int
	error
}

func (e exitError) Unwrap() error { return e.error }

// ExitStatus is what the process ends with: 0 for nil, 2 for a command line that
// can't be understood, what the command says of its own errors, else 1.
func ExitStatus(err error) int {
	if err == nil {
		return 0
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return 2
	}
	if e, ok := errors.AsType[exitError](err); ok {
		return e.status
	}
	return 1
}

// Run parses args (without the program's name) and runs the command that they
// name until it ends or ctx does. Help goes to env.Stdout.
func Run(ctx context.Context, args []string, env Env) error {
	var all commands
	helped := false
	parser, err := all.parser(env, func(int) { helped = true }) // kong's --help asks for an exit; ours is returning
	if err != nil {
		return err
	}
	parsed, err := parser.Parse(args)
	if helped {
		return nil
	}
	if err != nil {
		return usageError{fmt.Errorf("%w (latchwork --help lists commands and flags)", err)}
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	return parsed.Run(env, all.logger(env.Stderr))
}

// parser reads a command line, and env's variables, into c.
func (c *commands) parser(env Env, exit func(int)) (*kong.Kong, error) {
	parser, err := kong.New(c,
		kong.Name("latchwork"),
		kong.Description("Background tasks for Go on Google's serverless platforms, and local stand-ins for the services under them."),
		kong.Writers(env.Stdout, env.Stderr),
		kong.Exit(exit),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Resolvers(fromEnvironment(env.Getenv)),
		kong.ValueFormatter(withVariable),
	)
	if err != nil {
		return nil, fmt.Errorf("the command line's own definition: %w", err)
	}
	return parser, nil
}

// fromEnvironment gives a flag the value of the variable that its tag names, so
// that the environment is handed in like everything else. A set but empty variable
// counts as unset.
func fromEnvironment(getenv func(string) string) kong.ResolverFunc {
	return func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		name := flag.Tag.Get("var")
		if name == "" {
			return nil, nil
		}
		value := getenv(name)
		if value == "" {
			return nil, nil
		}
		if flag.Target.Kind() == reflect.Bool {
			switch strings.ToLower(value) {
			case "1", "true", "yes", "on":
				return true, nil
			case "0", "false", "no", "off":
				return false, nil
			}
			return nil, fmt.Errorf("%s=%q: want true or false", name, value)
		}
		return value, nil
	}
}

// withVariable adds to a flag's help the variable that sets it too.
func withVariable(value *kong.Value) string {
	name := value.Tag.Get("var")
	if name == "" {
		return value.Help
	}
	return strings.TrimSuffix(value.Help, ".") + " ($" + name + ")."
}

func (c *commands) logger(w io.Writer) *slog.Logger {
	level := slog.LevelWarn
	if c.Verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}
