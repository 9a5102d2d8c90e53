package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// events writes what test2json does; a test's output comes before its end.
func events(lines ...string) *strings.Reader {
	var b strings.Builder
	for _, line := range lines {
		action, rest, _ := strings.Cut(line, " ")
		test, output, _ := strings.Cut(rest, " ")
		if output != "" {
			fmt.Fprintf(&b, `{"Action":"output","Test":%q,"Output":%q}`+"\n", test, output+"\n")
		}
		fmt.Fprintf(&b, `{"Action":%q,"Test":%q,"Elapsed":1.5}`+"\n", action, test)
	}
	return strings.NewReader(b.String())
}

func TestTableCountsTheSmallestTests(t *testing.T) {
	var out strings.Builder
	r := newReport(&out)
	if failed, err := r.read("ours", events("run TestA", "pass TestA quiet", "pass TestB/x", "pass TestB/y", "pass TestB", "pass ")); failed || err != nil {
		t.Errorf("all passed: %v, %v", failed, err)
	}
	failed, err := r.read("theirs", events("skip TestA why it is left out", "pass TestB/x", "fail TestB/y what went wrong", "fail TestB", "fail "))
	if !failed || err != nil {
		t.Errorf("a test failed: %v, %v", failed, err)
	}
	r.notRun("absent", errors.New("install it"))
	for _, want := range []string{"why it is left out\n", "what went wrong\n", "NOT RUN OVER ABSENT: install it\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("nothing says %q:\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "quiet") {
		t.Errorf("tests that pass are told at length:\n%s", &out)
	}
	out.Reset()
	for _, c := range r.backends {
		c.took = 0
	}
	r.table()
	const want = `
pass/skip/fail:
|        | absent   | ours   | theirs  |
| ---    | ---      | ---    | ---     |
| TestA  | –        | 1/0/0  | 0/1/0   |
| TestB  | –        | 2/0/0  | 1/0/1   |
| all    | NOT RUN  | 3/0/0  | 1/1/1   |
| took   | 0s       | 0s     | 0s      |
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("the table (-want +got):\n%s", diff)
	}
}

func TestVerdict(t *testing.T) {
	noMemcached := fmt.Errorf("here: %w", errNoMemcached)
	for name, test := range map[string]struct {
		happens func(*report)
		ci      bool
		want    string // in the error; "" is none
	}{
		"nothing":                 {func(*report) {}, false, "nothing was run"},
		"all passes":              {func(r *report) { _, _ = r.read("x", events("pass TestA")) }, true, ""},
		"only skips":              {func(r *report) { _, _ = r.read("x", events("skip TestA")) }, false, "nothing was run"},
		"a failure":               {func(r *report) { _, _ = r.read("x", events("pass TestA", "fail TestB")) }, false, "1 tests failed"},
		"a failure of no test":    {func(r *report) { _, _ = r.read("x", events("pass TestA", "fail ")) }, false, "1 tests failed"},
		"broken off":              {func(r *report) { r.failed("x", errors.New("killed")) }, false, "1 tests failed"},
		"one is missing":          {func(r *report) { r.notRun("y", noMemcached); _, _ = r.read("x", events("pass TestA")) }, false, ""},
		"memcached missing in CI": {func(r *report) { r.notRun("y", noMemcached); _, _ = r.read("x", events("pass TestA")) }, true, "memcached"},
		"gcloud missing in CI":    {func(r *report) { r.notRun("y", errors.New("no gcloud")); _, _ = r.read("x", events("pass TestA")) }, true, ""},
	} {
		r := newReport(new(strings.Builder))
		test.happens(r)
		err := r.verdict(test.ci)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v; want %q", name, err, test.want)
		}
	}
	if _, err := newReport(new(strings.Builder)).read("x", strings.NewReader("no JSON\n")); err == nil {
		t.Error("what is no JSON was read")
	}
}

// Short runs leave nothing out that a full one doesn't have, and each backend has
// a name of its own.
func TestLanes(t *testing.T) {
	names := make(map[string]bool)
	for _, l := range lanes() {
		if (l.datastore == "embedded") != (l.server == "") {
			t.Errorf("the lane %q starts %q", l.datastore, l.server)
		}
		for _, b := range l.backends {
			if names[b.name] {
				t.Errorf("two backends are called %q", b.name)
			}
			names[b.name] = true
		}
	}
}
