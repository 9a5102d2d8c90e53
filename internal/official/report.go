package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// A report collects what became of tests over several backends at once, and says
// it on the way.
type report struct {
	mu       sync.Mutex
	out      io.Writer
	backends []*column // in the order of their first word
	missing  error
}

// A column of the table is a backend.
type column struct {
	name   string
	suites map[string]*counts // by the test function's name
	all    counts
	took   time.Duration
	why    error // it was not run, or not to its end
}

// counts are of the smallest tests that there are: subtests, or functions without.
type counts struct{ pass, skip, fail int }

func (c *counts) String() string { return fmt.Sprintf("%d/%d/%d", c.pass, c.skip, c.fail) }

func (c *counts) add(action string) {
	switch action {
	case "pass":
		c.pass++
	case "skip":
		c.skip++
	case "fail":
		c.fail++
	}
}

func newReport(out io.Writer) *report { return &report{out: out} }

func (r *report) column(name string) *column {
	for _, c := range r.backends {
		if c.name == name {
			return c
		}
	}
	c := &column{name: name, suites: make(map[string]*counts)}
	r.backends = append(r.backends, c)
	return c
}

// notRun says, loudly, that a backend is missing on this machine.
func (r *report) notRun(name string, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.column(name).why = why
	r.missing = errors.Join(r.missing, why)
	fmt.Fprintf(r.out, "NOT RUN OVER %s: %v\n", strings.ToUpper(name), why)
}

// failed says that a backend's run did not come to its end.
func (r *report) failed(name string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.column(name)
	c.why = err
	c.all.fail++
	fmt.Fprintf(r.out, "%s: the run broke off: %v\n", name, err)
}

// event is a line of test2json.
type event struct {
	Action  string
	Test    string
	Output  string
	Elapsed float64 // seconds
}

// read follows a run to its end, and reports whether tests failed.
func (r *report) read(name string, events io.Reader) (failed bool, err error) {
	start := time.Now()
	output := make(map[string][]string) // of tests that have not ended
	parents := make(map[string]bool)
	lines := bufio.NewScanner(events)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return failed, fmt.Errorf("test2json said %.200q: %w", lines.Text(), err)
		}
		switch e.Action {
		case "output":
			output[e.Test] = append(output[e.Test], e.Output)
		case "pass", "skip", "fail":
			failed = failed || e.Action == "fail"
			if e.Test != "" || e.Action == "fail" {
				r.ended(name, e, output[e.Test], parents)
			}
			delete(output, e.Test)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.column(name).took = time.Since(start)
	return failed, lines.Err()
}

// ended counts a test, and shows what it said unless it passed.
func (r *report) ended(name string, e event, output []string, parents map[string]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	function, sub, isSub := strings.Cut(e.Test, "/")
	if isSub {
		parents[e.Test[:strings.LastIndexByte(e.Test, '/')]] = true
	}
	if e.Test == "" && r.column(name).all.fail > 0 {
		return // the sum of failures that have been shown
	}
	if !parents[e.Test] {
		c := r.column(name)
		if c.suites[function] == nil {
			c.suites[function] = new(counts)
		}
		c.suites[function].add(e.Action)
		c.all.add(e.Action)
		fmt.Fprintf(r.out, "%s  %s: %s %s (%.1f s)\n", e.Action, name, function, sub, e.Elapsed)
	}
	if e.Action != "pass" {
		for _, line := range output {
			if !strings.HasPrefix(line, "=== ") {
				fmt.Fprint(r.out, "      ", strings.TrimLeft(line, " "))
			}
		}
	}
}

// table prints a row for each test function, and a column for each backend.
func (r *report) table() {
	functions := make(map[string]bool)
	for _, c := range r.backends {
		for f := range c.suites {
			functions[f] = true
		}
	}
	slices.SortFunc(r.backends, func(a, b *column) int { return strings.Compare(a.name, b.name) })
	fmt.Fprintln(r.out, "\npass/skip/fail:")
	w := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
	row := func(first string, cell func(*column) string) {
		fmt.Fprint(w, "| ", first)
		for _, c := range r.backends {
			fmt.Fprint(w, "\t| ", cell(c))
		}
		fmt.Fprintln(w, "\t|")
	}
	row("", func(c *column) string { return c.name })
	row("---", func(*column) string { return "---" })
	for _, f := range slices.Sorted(maps.Keys(functions)) {
		row(f, func(c *column) string {
			if n := c.suites[f]; n != nil {
				return n.String()
			}
			return "–"
		})
	}
	row("all", func(c *column) string {
		if c.why != nil && c.all == (counts{}) {
			return "NOT RUN"
		}
		return c.all.String()
	})
	row("took", func(c *column) string { return c.took.Round(time.Second).String() })
	_ = w.Flush() // nobody is left to tell
}

// verdict is an error if something failed, nothing ran, or, in CI, memcached is
// missing.
func (r *report) verdict(ci bool) error {
	var all counts
	for _, c := range r.backends {
		all.pass, all.skip, all.fail = all.pass+c.all.pass, all.skip+c.all.skip, all.fail+c.all.fail
	}
	switch {
	case all.fail > 0:
		return fmt.Errorf("%d tests failed", all.fail)
	case ci && errors.Is(r.missing, errNoMemcached):
		return r.missing
	case all.pass == 0:
		return errors.New("nothing was run")
	}
	return nil
}
