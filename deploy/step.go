package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// A step brings one thing about.
type step struct {
	why string

	// look reads what there is, a line for each thing, and want is the line that
	// means that nothing is left to do. Without look, do changes nothing that is
	// right already.
	look command
	want string
	// unwanted turns it around: do takes away what want says.
	unwanted bool

	do command
	// fix is done instead where a line begins like want (up to the first tab) and
	// goes on differently. Without it, that is a conflict that a person solves.
	fix command
	// own is do's work where this program does it itself.
	own func(context.Context) error

	remedy string
}

// A command is a program with its arguments, and variables in front.
type command struct{ env, args []string }

func gcloud(args ...string) command { return command{args: append([]string{"gcloud"}, args...)} }

func (c command) is() bool { return len(c.args) > 0 }

// String writes c so that a shell understands it.
func (c command) String() string {
	var words []string
	for _, e := range c.env {
		name, value, _ := strings.Cut(e, "=")
		words = append(words, name+"="+quote(value))
	}
	for _, a := range c.args {
		words = append(words, quote(a))
	}
	return strings.Join(words, " ")
}

var plain = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

func quote(word string) string {
	if plain.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// text is the step as the plan shows it: the command, and, as comments, what is
// looked at first.
func (s step) text() string {
	var b strings.Builder
	if s.look.is() {
		condition := "unless this shows"
		if s.unwanted {
			condition = "if this shows"
		}
		fmt.Fprintf(&b, "#    %s %q: %s\n", condition, s.want, s.look)
	}
	fmt.Fprintln(&b, s.do)
	if s.fix.is() {
		fmt.Fprintf(&b, "#    or, where it is there with other values: %s\n", s.fix)
	}
	return b.String()
}

// follow takes the steps in order, and stops at the first that fails.
func follow(ctx context.Context, steps []step, w world) error {
	for i, s := range steps {
		fmt.Fprintf(w.stdout, "\n[%d/%d] %s\n", i+1, len(steps), s.why)
		if err := s.take(ctx, w); err != nil {
			return fmt.Errorf("step %d of %d (%s): %w\n%s\nThe steps after it were not taken. When that is mended, run the same again: what is done is not done twice", i+1, len(steps), s.why, err, s.remedy)
		}
	}
	return nil
}

func (s step) take(ctx context.Context, w world) error {
	do := s.do
	if s.look.is() {
		found, other, err := s.inspect(ctx)
		switch {
		case err != nil:
			return err
		case found != s.unwanted && other == "":
			fmt.Fprintln(w.stdout, "is so already")
			return nil
		case other != "" && !s.fix.is():
			return fmt.Errorf("it is there, but otherwise: %q instead of %q", other, s.want)
		case other != "":
			do = s.fix
		}
	}
	fmt.Fprintln(w.stdout, "$", do)
	if s.own != nil {
		return s.own(ctx)
	}
	cmd := do.prepare(ctx)
	cmd.Stdout, cmd.Stderr = w.stdout, w.stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", do.args[0], err)
	}
	return nil
}

// absent is how gcloud says that what was asked about doesn't exist.
var absent = regexp.MustCompile(`NOT_FOUND|[Cc]ould not be found|[Cc]annot find|does not (exist|contain an App Engine application)`)

// inspect tells whether the line that is wanted is there, or else the line of the
// same thing with other values.
func (s step) inspect(ctx context.Context) (found bool, other string, err error) {
	out, err := output(ctx, s.look)
	if failed, ok := errors.AsType[*exec.ExitError](err); ok && absent.Match(failed.Stderr) {
		return false, "", nil
	}
	if err != nil {
		return false, "", err
	}
	key, _, keyed := strings.Cut(s.want, "\t")
	for line := range strings.Lines(out) {
		switch line = strings.TrimRight(line, "\n"); {
		case line == s.want:
			return true, "", nil
		case keyed && !s.unwanted && strings.HasPrefix(line, key+"\t"):
			other = line
		}
	}
	return false, other, nil
}

func (c command) prepare(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Env = append(slices.Clone(os.Environ()), c.env...)
	return cmd
}

// output runs c and returns what it prints; its error tells what it complained of.
func output(ctx context.Context, c command) (string, error) {
	out, err := c.prepare(ctx).Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return "", fmt.Errorf("%s: %w\n%s", c, failed, strings.TrimSpace(string(failed.Stderr)))
	}
	return string(out), err
}
