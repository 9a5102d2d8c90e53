package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	ds "cloud.google.com/go/datastore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("datastore", flag.ContinueOnError)
	flags.SetOutput(stderr)
	length := flags.Duration("for", 2*time.Second, "how long one repetition of a measurement takes")
	times := flags.Int("times", 3, "repetitions of each measurement")
	only := flags.String("only", "", "words, separated by commas: only measurements whose name has one of them")
	million := flags.Bool("million", false, "load Latchwork with a million entities as well, for its memory and restart")
	if err := flags.Parse(args); err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "bench-datastore")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	all, missing := contenders(ctx, folder)
	if len(all) == 0 {
		return missing
	}
	if missing != nil {
		fmt.Fprintf(stderr, "NOT MEASURED BESIDE ALL OF GOOGLE'S EMULATORS: %v\n", missing)
	}
	b := bench{Writer: stdout, log: stderr, folder: folder, contenders: all, length: *length, times: *times,
		wanted: func(name string) bool {
			return slices.ContainsFunc(strings.Split(*only, ","), func(w string) bool { return strings.Contains(name, w) })
		}}
	b.head()
	if err := b.starts(ctx); err != nil {
		return err
	}
	if err := b.work(ctx); err != nil {
		return err
	}
	if err := b.restarts(ctx, "restart with 100,000 entities on disk", entities, all); err != nil || !*million {
		return err
	}
	return b.restarts(ctx, "restart with 1,000,000 entities on disk", 10*entities, all[:1])
}

// bench prints a table with a row for each measurement.
type bench struct {
	io.Writer
	log        io.Writer
	folder     string
	contenders []contender
	length     time.Duration
	times      int
	wanted     func(name string) bool
}

// starts measures the way from nothing to the first stored entity, and the
// memory that a server takes then.
func (b *bench) starts(ctx context.Context) error {
	took := b.columns()
	idle := b.columns()
	for range b.times {
		for i, c := range b.contenders {
			begin := time.Now()
			s, err := c.start(ctx, "")
			if err != nil {
				return err
			}
			_, err = s.client.Put(ctx, rowKey(0), newRow(0, 0))
			took[i] = append(took[i], float64(time.Since(begin))/1e6)
			idle[i] = append(idle[i], float64(s.rss())/1e6)
			s.stop()
			if err != nil {
				return err
			}
		}
	}
	b.row("start to first put", "ms", took, fewer)
	b.row("memory after it", "MB", idle, fewer)
	return nil
}

// work loads the servers and measures the operations, the servers taking turns.
func (b *bench) work(ctx context.Context) error {
	var servers []*server
	defer func() {
		for _, s := range servers {
			s.stop()
		}
	}()
	memory := b.columns()
	for i, c := range b.contenders {
		s, err := c.start(ctx, "")
		if err != nil {
			return err
		}
		servers = append(servers, s)
		if err := load(ctx, s.client, 0, entities); err != nil {
			return fmt.Errorf("%s: loading: %w", s.name, err)
		}
		memory[i] = append(memory[i], float64(s.rss())/1e6)
	}
	b.row("memory with 100,000 entities", "MB", memory, fewer)
	for _, w := range works() {
		if !b.wanted(w.name) {
			continue
		}
		rates, cpu := b.columns(), b.columns()
		for round := range b.times + 1 {
			for i, s := range servers {
				f, err := w.run(ctx, s, b.length)
				if status.Code(err) == codes.Unimplemented && i > 0 {
					continue // a column without a figure
				}
				if err != nil {
					return fmt.Errorf("%s: %s: %w", s.name, w.name, err)
				}
				if round == 0 {
					continue // warms up virtual machines and caches
				}
				rates[i] = append(rates[i], f.perSecond)
				cpu[i] = append(cpu[i], float64(f.cpu)/1e3)
			}
		}
		b.row(w.name, "/s", rates, more)
		b.row("— server CPU", "µs", cpu, fewer)
	}
	return nil
}

// restarts measures the way from nothing to the first answer with so many
// entities on disk, for the contenders that keep them there.
func (b *bench) restarts(ctx context.Context, name string, n int, all []contender) error {
	if !b.wanted(name) {
		return nil
	}
	took, memory := b.columns(), b.columns()
	for i, c := range all {
		if !c.persist {
			continue
		}
		dir := filepath.Join(b.folder, fmt.Sprintf("%s-%d", strings.ReplaceAll(c.name, " ", "-"), n))
		s, err := c.start(ctx, dir)
		if err != nil {
			return err
		}
		err = load(ctx, s.client, 0, n)
		rss := float64(s.rss()) / 1e6
		s.stop()
		if err != nil && i > 0 {
			fmt.Fprintf(b.log, "%s: loading: %v\n", c.name, err)
			continue // a column without a figure
		}
		if err != nil {
			return fmt.Errorf("%s: loading: %w", c.name, err)
		}
		memory[i] = append(memory[i], rss)
		for range b.times {
			begin := time.Now()
			s, err := c.start(ctx, dir)
			if err != nil {
				return err
			}
			var r row
			err = s.client.Get(ctx, rowKey(n-1), &r)
			took[i] = append(took[i], float64(time.Since(begin))/1e6)
			s.stop()
			if errors.Is(err, ds.ErrNoSuchEntity) {
				// The older emulator writes behind, and loses what it hadn't
				// written: its time is still that of what it has.
				fmt.Fprintf(b.log, "%s: the last entity is not there after the restart\n", c.name)
			} else if err != nil {
				return err
			}
		}
	}
	b.row(name, "ms", took, fewer)
	b.row("— memory after loading them", "MB", memory, fewer)
	return nil
}

func (b *bench) columns() [][]float64 { return make([][]float64, len(b.contenders)) }

// better says which of two figures is the better one.
type better int

const (
	more better = iota
	fewer
)

func (b *bench) head() {
	fmt.Fprint(b, "| |")
	for _, c := range b.contenders {
		fmt.Fprintf(b, " %s |", c.name)
	}
	fmt.Fprint(b, " Latchwork is |\n|---|")
	for range b.contenders {
		fmt.Fprint(b, "---|")
	}
	fmt.Fprintln(b, "---|")
}

// row prints the medians, and the first one's ratio to the best of the others.
func (b *bench) row(name, unit string, columns [][]float64, which better) {
	fmt.Fprintf(b, "| %s |", name)
	best := 0.0
	for i, values := range columns {
		if len(values) == 0 {
			fmt.Fprint(b, " – |")
			continue
		}
		slices.Sort(values)
		m := values[len(values)/2]
		fmt.Fprintf(b, " %s %s |", figures(m), unit)
		if i > 0 && (best == 0 || (m > best) == (which == more)) {
			best = m
		}
	}
	if best == 0 || len(columns[0]) == 0 { // nobody else got anything done
		fmt.Fprintln(b, " – |")
		return
	}
	ours := columns[0][len(columns[0])/2]
	if which == more {
		fmt.Fprintf(b, " %s × |\n", figures(ours/best))
	} else {
		fmt.Fprintf(b, " %s × |\n", figures(best/ours))
	}
}

// figures renders a number with three of them.
func figures(f float64) string {
	switch {
	case f >= 100:
		return fmt.Sprintf("%.0f", f)
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.2f", f)
}
