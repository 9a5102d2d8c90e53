package schedule

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// cron is a schedule of five fields.
type cron struct {
	minutes, hours, days, months, weekdays set
	either                                 bool // days or weekdays: both are restricted
}

// field is one of the five.
type field struct {
	name        string
	first, last int
	names       bool // of months or days stand for numbers
}

func fields() [5]field {
	return [5]field{
		{"minute", 0, 59, false}, {"hour", 0, 23, false}, {"day of the month", 1, 31, false},
		{"month", 1, 12, true}, {"day of the week", 0, 7, true},
	}
}

// ParseCron reads a schedule of unix-cron. An error is a SyntaxError.
func ParseCron(text string) (Schedule, error) {
	if len(text) > maxText {
		return Schedule{}, &SyntaxError{text, maxText, fmt.Sprintf("a schedule has at most %d bytes", maxText)}
	}
	var sets [5]set
	var stars [5]bool
	at := 0
	for i, f := range fields() {
		at += len(text[at:]) - len(strings.TrimLeft(text[at:], " \t"))
		part, _, _ := strings.Cut(strings.ReplaceAll(text[at:], "\t", " "), " ")
		if part == "" {
			return Schedule{}, &SyntaxError{text, at, "the schedule ends, expected the " + f.name + ": minute, hour, day of the month, month, day of the week"}
		}
		stars[i] = part[0] == '*'
		for item := range strings.SplitSeq(part, ",") {
			if rule := f.read(item, &sets[i]); rule != "" {
				return Schedule{}, &SyntaxError{text, at, rule}
			}
			at += len(item) + 1
		}
		at--
	}
	if rest := strings.TrimLeft(text[at:], " \t"); rest != "" {
		return Schedule{}, &SyntaxError{text, len(text) - len(rest), "there are more than five fields"}
	}
	c := &cron{minutes: sets[0], hours: sets[1], days: sets[2], months: sets[3], weekdays: sets[4]}
	if c.weekdays.has(7) {
		c.weekdays.add(0)
	}
	c.either = !stars[2] && !stars[4]
	if !c.possible() {
		return Schedule{}, &SyntaxError{text, 0, "none of the months has such a day"}
	}
	return Schedule{text, c}, nil
}

// possible tells whether there is a time.
func (c *cron) possible() bool {
	if c.either {
		return true
	}
	for m := 1; m <= 12; m++ {
		if c.months.has(m) && c.days.min() <= longest(m) {
			return true
		}
	}
	return false
}

// read adds the numbers of one item, such as 5, 1-10/2 or mon-fri. A rule says
// what is wrong with it.
func (f field) read(item string, into *set) (rule string) {
	span, step, stepped := strings.Cut(item, "/")
	first, last := f.first, f.last
	from, to, ranged := strings.Cut(span, "-")
	if span != "*" {
		var ok, ok2 bool
		if first, ok = f.number(from); !ok {
			return f.wrong(item)
		}
		last = first
		if ranged {
			if last, ok2 = f.number(to); !ok2 {
				return f.wrong(item)
			}
		}
		if last < first {
			return fmt.Sprintf("%s %q: the range ends before it begins", f.name, clip(item))
		}
	}
	by := 1
	if stepped {
		n, err := strconv.ParseUint(step, 10, 16)
		if err != nil || n == 0 || step[0] == '+' {
			return fmt.Sprintf("%s %q: the step must be a positive number", f.name, clip(item))
		}
		if span != "*" && !ranged {
			return fmt.Sprintf("%s %q: a step follows * or a range", f.name, clip(item))
		}
		by = int(n)
	}
	for n := first; n <= last; n += by {
		into.add(n)
	}
	return ""
}

func (f field) wrong(item string) string {
	rule := fmt.Sprintf("%s %q: must be %d to %d", f.name, clip(item), f.first, f.last)
	if f.names {
		rule += " or the first three letters of a name"
	}
	return rule + ", a range, or *"
}

func clip(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}

// number reads a number or a name.
func (f field) number(s string) (n int, ok bool) {
	if u, err := strconv.ParseUint(s, 10, 8); err == nil && len(s) <= 2 {
		return int(u), int(u) >= f.first && int(u) <= f.last
	}
	if !f.names || len(s) != 3 {
		return 0, false
	}
	for n := f.first; n <= f.last; n++ {
		name := time.Month(n).String()
		if f.first == 0 {
			name = time.Weekday(n % 7).String()
		}
		if strings.EqualFold(s, name[:3]) {
			return n, true
		}
	}
	return 0, false
}

// next looks at every minute of the days that fit: whatever clocks do, each
// minute that is shown counts, as often as it is shown.
func (c *cron) next(t time.Time, loc *time.Location) time.Time {
	end := t.AddDate(horizon, 0, 0)
	for t = t.Truncate(time.Minute).Add(time.Minute); t.Before(end); {
		d := dateOf(t)
		if !c.on(d, t.Weekday()) {
			t = skip(t, d.plus(1).first(0, loc))
			continue
		}
		if c.hours.has(t.Hour()) && c.minutes.has(t.Minute()) {
			return t
		}
		t = t.Add(time.Minute)
	}
	return time.Time{}
}

// skip is tomorrow, or the next minute where clocks change before that: they may
// be set back into the day before.
func skip(t, tomorrow time.Time) time.Time {
	_, before := t.Zone()
	if _, after := tomorrow.Zone(); before != after {
		return t.Add(time.Minute)
	}
	return tomorrow
}

func (c *cron) on(d date, weekday time.Weekday) bool {
	if !c.months.has(int(d.month)) {
		return false
	}
	day, week := c.days.has(d.day), c.weekdays.has(int(weekday))
	if c.either {
		return day || week
	}
	return day && week
}
