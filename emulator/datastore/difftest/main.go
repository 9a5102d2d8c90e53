// Command difftest sends random scripts to our Datastore and to both of Google's
// emulators and reports where they answer differently and nothing justifies it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/diff"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/generate"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/oracle"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errDifferent):
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "difftest:", err)
		os.Exit(2)
	}
}

// errDifferent says that a difference was found that nothing justifies.
var errDifferent = errors.New("unjustified difference")

type options struct {
	seed        uint64
	seeds       int
	count       int
	workers     int
	concurrency string
	only        string
	against     string
	replay      string
	out         string
	table       bool
	print       int
	examples    string
	brief       bool
	keepGoing   int
	shrink      bool
	allow       bool
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o options
	flags := flag.NewFlagSet("difftest", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Uint64Var(&o.seed, "seed", 1, "the first seed")
	flags.IntVar(&o.seeds, "seeds", 1, "how many seeds, one after the other")
	flags.IntVar(&o.count, "count", 5000, "operations of each seed")
	flags.IntVar(&o.workers, "workers", 16, "scripts that run at once")
	flags.StringVar(&o.concurrency, "concurrency", "pessimistic", "our transactions: pessimistic or optimistic")
	flags.StringVar(&o.only, "only", "", "sorts of scripts, with commas between them: "+strings.Join(generate.Subjects(), ", "))
	flags.StringVar(&o.against, "against", "FS,DS", "which of Google's emulators")
	flags.StringVar(&o.replay, "replay", "", "run the script in this file, or those in this folder, instead of random ones")
	flags.StringVar(&o.out, "out", "", "file for the transcript of the first failure (a temporary one by default)")
	flags.BoolVar(&o.table, "table", false, "print the document with the table of justified differences, and end")
	flags.StringVar(&o.examples, "examples", "", "write a minimal example of each entry of the table that matches to this folder, unless it has one")
	flags.IntVar(&o.print, "print", -1, "print the seed's script of this number, and end")
	flags.IntVar(&o.keepGoing, "failures", 1, "how many failures of different sorts to report before giving up")
	flags.BoolVar(&o.brief, "brief", false, "report failures in a few lines each")
	flags.BoolVar(&o.shrink, "shrink", true, "make failing scripts small")
	flags.BoolVar(&o.allow, "allow-unimplemented", false, "count what our side doesn't implement instead of failing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.print >= 0 {
		_, err := io.WriteString(stdout, generate.Script(o.seed, o.print, o.subjects()...).String())
		return err
	}
	if o.table {
		_, err := io.WriteString(stdout, diff.Markdown(diff.Justified()))
		return err
	}

	ours, stopOurs, err := startOurs(ctx, o.concurrency)
	if err != nil {
		return err
	}
	defer stopOurs()
	r := &diff.Runner{Ours: diff.Server{Name: "ours", Client: ours}, Table: diff.Justified(),
		AllowUnimplemented: o.allow, Counts: diff.NewCounts()}
	for name := range strings.SplitSeq(o.against, ",") {
		p, err := oracle.Start(ctx, oracle.Kind(name))
		if err != nil {
			return err
		}
		defer p.Close()
		r.Theirs = append(r.Theirs, diff.Server{Name: name, Client: p.Client})
	}

	scripts := o.scripts
	if o.replay != "" {
		all, err := read(o.replay)
		if err != nil {
			return err
		}
		scripts = func(yield func(script.Script) bool) { slices.Values(all)(yield) }
		if len(all) == 1 {
			r.Show = stdout
		}
	}
	if o.examples != "" {
		var taken sync.Map
		r.Seek = func(entry string, _ *diff.Case) bool {
			_, before := taken.LoadOrStore(entry, true)
			_, err := os.Stat(example(o.examples, entry))
			return err != nil && !before
		}
	}
	began := time.Now()
	found, err := r.All(ctx, scripts, o.workers, o.keepGoing)
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	if err != nil {
		o.shrink, o.examples = false, "" // interrupted: only what is known
		fmt.Fprintln(stdout, "interrupted")
	}
	var failures []*diff.Failure
	for _, f := range found {
		if f.Entry == "" {
			failures = append(failures, f)
		} else if o.examples != "" {
			if err := writeExample(ctx, r, f, o.examples); err != nil {
				return err
			}
		}
	}
	for i, f := range failures {
		if o.shrink {
			f = r.Shrink(ctx, f)
		}
		if o.brief {
			fmt.Fprintf(stdout, "%s\n", f.Brief())
		} else {
			fmt.Fprintf(stdout, "%s\n", f)
		}
		if o.out != "" && i == 0 {
			if err := os.WriteFile(o.out, []byte(f.String()), 0o600); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(stdout, "seeds %d to %d, %s, %v\n%s", o.seed, o.seed+uint64(o.seeds)-1, o.concurrency, time.Since(began).Round(time.Millisecond), r.Counts.Summary(r.Table))
	if len(failures) > 0 {
		return errDifferent
	}
	return err
}

// subjects are the sorts of scripts that were asked for; none means all.
func (o options) subjects() []string {
	if o.only == "" {
		return nil
	}
	return strings.Split(o.only, ",")
}

// scripts are those of all seeds.
func (o options) scripts(yield func(script.Script) bool) {
	for i := range o.seeds {
		for s := range generate.Scripts(o.seed+uint64(i), o.count, o.subjects()...) {
			if !yield(s) {
				return
			}
		}
	}
}

// startOurs serves our Datastore, in memory, on a free port.
func startOurs(ctx context.Context, concurrency string) (pb.DatastoreClient, func(), error) {
	s, err := datastore.New(&datastore.Options{Concurrency: concurrency, IndexMode: "off"})
	if err != nil {
		return nil, nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	go func() { _ = s.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, err
	}
	return pb.NewDatastoreClient(conn), func() {
		_ = conn.Close()
		_ = s.Close()
	}, nil
}

// read reads the script in a file, or those in a folder.
func read(name string) ([]script.Script, error) {
	files := []string{name}
	if info, err := os.Stat(name); err != nil {
		return nil, err
	} else if info.IsDir() {
		if files, err = filepath.Glob(filepath.Join(name, "*.txt")); err != nil {
			return nil, err
		}
	}
	var all []script.Script
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		s, err := script.Parse(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		s.Origin = file
		all = append(all, s)
	}
	return all, nil
}

// example is the file with the example of an entry.
func example(folder, entry string) string { return filepath.Join(folder, entry+".txt") }

// writeExample makes an example small, records what the other server says to
// it, and writes it.
func writeExample(ctx context.Context, r *diff.Runner, f *diff.Failure, folder string) error {
	s, err := r.Record(ctx, r.Shrink(ctx, f))
	if err != nil {
		return err
	}
	return os.WriteFile(example(folder, f.Entry), []byte(s.String()), 0o600)
}
