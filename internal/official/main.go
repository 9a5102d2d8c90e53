// Command official runs the integration tests of examples/messages over every
// backend that this machine has, and prints a table: which tests, over which
// servers, how many passed, were skipped and failed.
//
//	go run ./internal/official [-short] [-race] [-only WORD] [-run REGEXP]
//
// The embedded servers run in fake time. Google's two emulators and the real
// memcached run on the real clock, with shorter spans; see docs/backends.md.
// What is missing is named, with the way to install it, and left out.
//
// Failure modes: it exits with 1 when a test failed, when a backend could not be
// run to its end, and, with CI=true, when memcached is missing. The servers that
// it starts end with it, but for a kill -9.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/latchwork/latchwork/emulator/datastore/difftest/oracle"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}

// A lane is a Datastore and what runs over it, one after the other. Lanes run
// beside each other: their tests mostly wait.
type lane struct {
	datastore string // as the tests' flag has it
	server    oracle.Kind
	backends  []backend
}

type backend struct {
	name  string
	locks string // as the tests' flag has it
	short string // the tests of a short run: a pattern; "" leaves the backend out
}

// few are the tests that a short run takes to each of Google's emulators.
const few = "^(TestB_DuplicatesMeetTheLock|TestC_BusyIsNeverLost|TestG_TailCalls)$"

func lanes() []lane {
	return []lane{
		{"embedded", "", []backend{
			{"embedded", "embedded", ""}, // `make test` has run it
			{"embedded, locks in Datastore", "datastore", ""},
			{"embedded, memcached", "memcached", "^Test[BCDG]_"},
		}},
		{"firestore", oracle.FS, []backend{
			{"Firestore emulator, memcached", "memcached", few},
			{"Firestore emulator, locks in Datastore", "datastore", ""},
		}},
		{"datastore", oracle.DS, []backend{
			{"Datastore emulator, memcached", "memcached", few},
			{"Datastore emulator, locks in Datastore", "datastore", ""},
		}},
	}
}

// limit bounds a whole run.
const limit = 15 * time.Minute

// suite is where the tests are.
const suite = "examples/messages"

// runner runs the lanes.
type runner struct {
	short     bool
	only, run string
	program   string    // the compiled tests
	until     time.Time // they end themselves, and say where they stood
	report    *report
}

func run(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) (err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	flags := flag.NewFlagSet("official", flag.ContinueOnError)
	short := flags.Bool("short", false, "a few tests over each backend that `make test` leaves out: a minute")
	race := flags.Bool("race", false, "with the race detector")
	only := flags.String("only", "", "only backends whose name contains this")
	pattern := flags.String("run", "^Test([A-K]_|FullBatches|FailingMutation|SlowCommit|UnknownUsers|SendByTask)", "which tests")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if _, err := os.Stat(suite); err != nil {
		return fmt.Errorf("run it in the root of the repository: %w", err)
	}
	folder, err := os.MkdirTemp("", "official-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()

	r := &runner{short: *short, only: *only, run: *pattern, program: filepath.Join(folder, "messages.test"), report: newReport(stdout),
		until: time.Now().Add(limit - time.Minute)}
	compile := []string{"test", "-c", "-o", r.program}
	if *race {
		compile = append(compile, "-race")
	}
	if out, err := exec.CommandContext(ctx, "go", append(compile, "./"+suite)...).CombinedOutput(); err != nil {
		return fmt.Errorf("compile the tests: %w\n%s", err, out)
	}
	var wg sync.WaitGroup
	for _, l := range lanes() {
		wg.Go(func() { r.lane(ctx, l) })
	}
	wg.Wait()
	r.report.table()
	return errors.Join(ctx.Err(), r.report.verdict(getenv("CI") == "true"))
}

// lane starts the lane's server, runs its backends and ends the server.
func (r *runner) lane(ctx context.Context, l lane) {
	var wanted []backend
	for _, b := range l.backends {
		if strings.Contains(b.name, r.only) && (!r.short || b.short != "") {
			wanted = append(wanted, b)
		}
	}
	if len(wanted) == 0 {
		return
	}
	address := l.datastore
	if l.server != "" {
		server, err := oracle.Start(ctx, l.server)
		if err != nil {
			for _, b := range wanted {
				r.report.notRun(b.name, err)
			}
			return
		}
		defer server.Close()
		address += "@" + server.Addr
	}
	for _, b := range wanted {
		if b.locks == "memcached" {
			if _, err := exec.LookPath("memcached"); err != nil {
				r.report.notRun(b.name, fmt.Errorf("%w: %w: apt-get install memcached, or brew install memcached", errNoMemcached, err))
				continue
			}
		}
		if err := r.backend(ctx, address, b); err != nil {
			r.report.failed(b.name, err)
		}
	}
}

var errNoMemcached = errors.New("memcached is not installed")

// backend runs the tests over one backend and reads what becomes of them.
func (r *runner) backend(ctx context.Context, address string, b backend) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pattern := r.run
	if r.short {
		pattern = b.short
	}
	tests := exec.CommandContext(ctx, r.program, "-test.v=test2json", "-test.run="+pattern,
		"-test.timeout="+max(time.Until(r.until), time.Second).String(), "-test.parallel=6", "-datastore="+address, "-locks="+b.locks)
	tests.Dir = filepath.FromSlash(suite)
	tests.Stderr = os.Stderr
	convert := exec.Command("go", "tool", "test2json", "-t") //nolint:noctx // it ends when the tests do
	convert.Stderr = os.Stderr
	var events io.Reader
	var err error
	if convert.Stdin, err = tests.StdoutPipe(); err != nil {
		return err
	}
	if events, err = convert.StdoutPipe(); err != nil {
		return err
	}
	if err := tests.Start(); err != nil {
		return err
	}
	if err := convert.Start(); err != nil {
		cancel()
		return errors.Join(err, tests.Wait())
	}
	failed, err := r.report.read(b.name, events)
	err = errors.Join(err, convert.Wait())
	if ended := tests.Wait(); !failed { // what failed tests make of it is known
		err = errors.Join(err, ended)
	}
	return err
}
