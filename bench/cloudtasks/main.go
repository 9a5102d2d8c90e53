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
)

var (
	errEnough = errors.New("enough")
	errNone   = errors.New("there is no such measurement") // a column without a figure
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if addr := os.Getenv(bareAddr); addr != "" {
		err = serveBare(ctx, addr)
	} else {
		err = run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("cloudtasks", flag.ContinueOnError)
	flags.SetOutput(stderr)
	length := flags.Duration("for", 2*time.Second, "how long one repetition of a measurement takes")
	times := flags.Int("times", 3, "repetitions of each measurement")
	only := flags.String("only", "", "words, separated by commas: only measurements whose name has one of them")
	million := flags.Bool("million", false, "hold a million tasks as well, for their memory and the restart with them")
	if err := flags.Parse(args); err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "bench-cloudtasks")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	binary, err := build(ctx, folder)
	if err != nil {
		return err
	}
	h, err := newHandler(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = h.server.Close() }()
	b := bench{Writer: stdout, folder: folder, binary: binary, handler: h, length: *length, times: *times,
		wanted: func(name string) bool {
			return slices.ContainsFunc(strings.Split(*only, ","), func(w string) bool { return strings.Contains(name, w) })
		}}
	fmt.Fprint(b, "| | Latchwork, in memory | with its journal | bare | the best-known other, as recorded |\n|---|---|---|---|---|\n")
	if err := b.starts(ctx); err != nil {
		return err
	}
	if err := b.work(ctx); err != nil {
		return err
	}
	if err := b.waiting(ctx, 100_000, "601 MB", "101,011"); err != nil || !*million {
		return err
	}
	return b.waiting(ctx, 1_000_000, "–", "–")
}

// bench prints a table with a row for each measurement.
type bench struct {
	io.Writer
	folder  string
	binary  string
	handler *handler
	length  time.Duration
	times   int
	wanted  func(name string) bool
}

type columns [kinds][]float64

// starts measures the way from nothing to the first queue.
func (b *bench) starts(ctx context.Context) error {
	if !b.wanted("start") {
		return nil
	}
	var took, idle columns
	for round := range b.times {
		for kind := range bare {
			begin := time.Now()
			s, err := start(ctx, b.binary, kind, filepath.Join(b.folder, fmt.Sprint("start", round)))
			if err != nil {
				return err
			}
			err = s.queue(ctx, fast, 500, 1000)
			took[kind] = append(took[kind], float64(time.Since(begin))/1e6)
			idle[kind] = append(idle[kind], float64(s.rss())/1e6)
			s.stop()
			if err != nil {
				return err
			}
		}
	}
	b.row("start of all servers to the first queue", "ms", took, "7 ms")
	b.row("memory after it", "MB", idle, "15 MB")
	return nil
}

// work measures the operations, the servers taking turns.
func (b *bench) work(ctx context.Context) error {
	// Two servers of each kind: a queue above 500 a second needs the rates lifted.
	var limited, free [kinds]*server
	defer func() {
		for kind := range kinds {
			for _, s := range []*server{limited[kind], free[kind]} {
				if s != nil {
					s.stop()
				}
			}
		}
	}()
	var err error
	for kind := range kinds {
		if limited[kind], err = start(ctx, b.binary, kind, filepath.Join(b.folder, "limited")); err != nil {
			return err
		}
		if err := limited[kind].queue(ctx, fast, 500, 1000); err != nil {
			return err
		}
		if free[kind], err = start(ctx, b.binary, kind, filepath.Join(b.folder, "free"), "--unlimited"); err != nil {
			return err
		}
		for _, queue := range []string{unlimited, fast} {
			if err := free[kind].queue(ctx, queue, 500, 1000); err != nil {
				return err
			}
		}
	}
	for _, w := range []struct {
		name      string
		servers   [kinds]*server
		run       func(context.Context, *server, *handler, time.Duration) (figure, error)
		rate, cpu string
	}{
		{"create, 1 caller", free, creates(1), "4,400 /s", "–"},
		{"create, 32 callers", free, creates(32), "16,000 /s", "62 µs"},
		{"create to handler, unlimited, 32 callers", free, delivers, "7,000 /s", "167 µs"},
		{"20,000 tasks due at one instant", free, instant, "10,000 /s", "–"},
		{"a queue of 500 a second", limited, steady, "426 /s", "–"},
	} {
		if !b.wanted(w.name) {
			continue
		}
		var rates, cpu columns
		for round := range b.times + 1 {
			for kind, s := range w.servers {
				f, err := w.run(ctx, s, b.handler, b.length)
				if errors.Is(err, errNone) || round == 0 && err == nil {
					continue // the first round warms up
				}
				if err != nil {
					return fmt.Errorf("%s: %v: %w", w.name, s.cmd.Args, err)
				}
				rates[kind] = append(rates[kind], f.perSecond)
				if f.cpu > 0 {
					cpu[kind] = append(cpu[kind], float64(f.cpu)/1e3)
				}
			}
		}
		b.row(w.name, "/s", rates, w.rate)
		b.row("— server CPU", "µs", cpu, w.cpu)
	}
	if !b.wanted("latency") {
		return nil
	}
	var p50, p99 columns
	for range b.times {
		for kind, s := range free {
			middle, late, err := latencies(ctx, s, b.handler, b.length)
			if err != nil {
				return err
			}
			p50[kind] = append(p50[kind], float64(middle)/1e3)
			p99[kind] = append(p99[kind], float64(late)/1e3)
		}
	}
	b.row("latency from create to handler at 50 a second, p50", "µs", p50, "569 µs")
	b.row("— p99", "µs", p99, "1,400 µs")
	return nil
}

// waiting measures what so many tasks cost that are due in an hour, and how long
// a restart with them takes.
func (b *bench) waiting(ctx context.Context, n int, memory, goroutines string) error {
	name := fmt.Sprintf("%d tasks an hour ahead", n)
	if !b.wanted(name) {
		return nil
	}
	var rss, count, took, again columns
	dir := filepath.Join(b.folder, fmt.Sprint("waiting", n))
	for kind := range bare {
		s, err := start(ctx, b.binary, kind, dir)
		if err != nil {
			return err
		}
		later := time.Now().Add(time.Hour)
		err = errors.Join(s.queue(ctx, fast, 500, 1000),
			each(ctx, 32, n, func(ctx context.Context) error { return s.create(ctx, fast, b.handler.url, later) }))
		rss[kind] = append(rss[kind], float64(s.rss())/1e6)
		if kind == onDisk {
			s.stop() // in order, so that nothing is left to be written
		} else {
			count[kind] = append(count[kind], float64(s.goroutines()))
		}
		if err != nil {
			return err
		}
	}
	for range b.times {
		begin := time.Now()
		s, err := start(ctx, b.binary, onDisk, dir)
		if err != nil {
			return err
		}
		err = s.queue(ctx, fast, 500, 1000)
		took[onDisk] = append(took[onDisk], float64(time.Since(begin))/1e6)
		again[onDisk] = append(again[onDisk], float64(s.rss())/1e6)
		if len(count[onDisk]) == 0 {
			count[onDisk] = append(count[onDisk], float64(s.goroutines()))
		} else {
			s.stop()
		}
		if err != nil {
			return err
		}
	}
	b.row(name+": memory", "MB", rss, memory)
	b.row("— goroutines of all servers", "", count, goroutines)
	b.row("— restart with them", "ms", took, "they are lost")
	b.row("— memory after it", "MB", again, "–")
	return nil
}

// row prints the medians.
func (b *bench) row(name, unit string, values columns, recorded string) {
	fmt.Fprintf(b, "| %s |", name)
	for _, v := range values {
		if len(v) == 0 {
			fmt.Fprint(b, " – |")
			continue
		}
		slices.Sort(v)
		fmt.Fprintf(b, " %s |", strings.TrimSpace(figures(v[len(v)/2])+" "+unit))
	}
	fmt.Fprintf(b, " %s |\n", recorded)
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
