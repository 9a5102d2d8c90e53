package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Count returns how many findings have a status.
func Count(findings []Finding, s Status) (n int) {
	for _, f := range findings {
		if f.Status == s {
			n++
		}
	}
	return n
}

// Write prints findings for people: a line each, and below what isn't ok what was
// looked at and the remedy.
func Write(w io.Writer, findings []Finding) {
	for _, f := range findings {
		fmt.Fprintf(w, "%-8s %-14s  %s\n", mark(f.Status), f.Check, indented(f.Found))
		if f.Status == OK {
			continue
		}
		if f.Status != Skipped {
			line(w, "looked at", f.Looked)
		}
		if f.Remedy != "" {
			line(w, "remedy", f.Remedy)
		}
	}
	fmt.Fprintf(w, "\n%d ok, %d warnings, %d failures, %d skipped", Count(findings, OK), Count(findings, Warning), Count(findings, Failure), Count(findings, Skipped))
	if Count(findings, Skipped) > 0 {
		fmt.Fprint(w, " (SKIPPED is not ok: nobody looked)")
	}
	fmt.Fprintln(w)
}

func line(w io.Writer, what, text string) {
	fmt.Fprintf(w, "%-8s %14s  %s\n", "", what, indented(text))
}

// indented keeps the lines of a text in their column, and what commands a terminal
// out of them: services are quoted.
func indented(text string) string {
	text = strings.Map(func(r rune) rune {
		if r != '\n' && !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.TrimSpace(text))
	return strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", 25))
}

// mark makes what needs a look stand out.
func mark(s Status) string {
	switch s {
	case Failure, Skipped:
		return strings.ToUpper(string(s))
	default:
		return string(s)
	}
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// words puts an error into a line.
func (s *session) words(err error) string {
	text := oneLine(err.Error())
	if errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded {
		text = fmt.Sprintf("no answer within %v: %s", s.Timeout, text)
	}
	return text
}
