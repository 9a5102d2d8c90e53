package schedule

import (
	"fmt"
	"strings"
	"time"
)

// maxText bounds the text of a schedule, in bytes, and maxShown what an error has
// of it: the rule must be left where others cut the error to 200 bytes.
const (
	maxText  = 1024
	maxShown = 80
)

// horizon bounds the search for a time: the fifth Monday of February can be forty
// years away.
const horizon = 41 // years

// A Schedule is a set of times. Parse makes it.
type Schedule struct {
	text string
	spec spec
}

// A spec finds the first time after t in a time zone; zero is never.
type spec interface {
	next(t time.Time, loc *time.Location) time.Time
}

// A SyntaxError says what is wrong with a schedule, and where.
type SyntaxError struct {
	Text string // the schedule
	At   int    // byte offset
	Rule string
}

// Error has the form `schedule "every hour": character 7: rule`.
func (e *SyntaxError) Error() string {
	text := e.Text
	if len(text) > maxShown {
		text = strings.ToValidUTF8(text[:maxShown], "") + "…"
	}
	return fmt.Sprintf("schedule %q: character %d: %s", text, e.At+1, e.Rule)
}

// Parse reads a schedule in either syntax, as Cloud Scheduler does. An error is a
// SyntaxError.
func Parse(text string) (Schedule, error) {
	s, cronErr := ParseCron(text)
	if cronErr == nil {
		return s, nil
	}
	s, err := ParseAppEngine(text)
	if err != nil && looksLikeCron(text) {
		return s, cronErr
	}
	return s, err
}

// looksLikeCron tells which of two errors helps.
func looksLikeCron(text string) bool {
	fields := strings.Fields(text)
	return len(fields) > 0 && strings.Trim(fields[0], "0123456789*/,-") == "" && !strings.Contains(text, " of ")
}

// String returns the text that was parsed.
func (s Schedule) String() string { return s.text }

// Next returns the first time after t that belongs to the schedule, in the time
// zone loc. The zero Schedule has none: its Next is the zero time.
func (s Schedule) Next(t time.Time, loc *time.Location) time.Time {
	if s.spec == nil {
		return time.Time{}
	}
	return s.spec.next(t.In(loc), loc)
}

// FromEnd tells whether the schedule counts from the end of a run, as "every 5
// minutes" does: its Next is to be asked for the time after that.
func (s Schedule) FromEnd() bool {
	i, ok := s.spec.(*interval)
	return ok && !i.ranged
}
