package schedule

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A kind is what a word of App Engine's grammar is.
type kind int

const (
	kindEnd kind = iota
	kindUnknown
	kindComma
	kindTime
	kindNumber
	kindEvery
	kindOf
	kindFrom
	kindTo
	kindHours
	kindMinutes
	kindSynchronized
	kindOrdinal
	kindDay
	kindWeekday
	kindMonth     // the word itself
	kindMonthName // value 1 to 12
	kindQuarter
)

// A token is a word with its place.
type token struct {
	kind  kind
	value int // of an ordinal, a day, a month, a number, or minutes since midnight
	text  string
	at    int
}

// word is an entry of the vocabulary.
type word struct {
	text  string
	kind  kind
	value int
}

// vocabulary has every word. Words need no space between them, and the longest
// one counts, as in the reference.
func vocabulary() []word {
	list := []word{
		{",", kindComma, 0}, {"every", kindEvery, 0}, {"of", kindOf, 0}, {"from", kindFrom, 0}, {"to", kindTo, 0},
		{"hours", kindHours, 0}, {"mins", kindMinutes, 0}, {"minutes", kindMinutes, 0}, {"synchronized", kindSynchronized, 0},
		{"day", kindDay, 0}, {"month", kindMonth, 0}, {"quarter", kindQuarter, 0},
		{"1st", kindOrdinal, 1}, {"2nd", kindOrdinal, 2}, {"3rd", kindOrdinal, 3}, {"4th", kindOrdinal, 4}, {"5th", kindOrdinal, 5},
		{"first", kindOrdinal, 1}, {"second", kindOrdinal, 2}, {"third", kindOrdinal, 3}, {"fourth", kindOrdinal, 4}, {"fifth", kindOrdinal, 5},
	}
	for d := range 7 {
		name := strings.ToLower(time.Weekday(d).String())
		list = append(list, word{name, kindWeekday, d}, word{name[:3], kindWeekday, d})
	}
	for m := 1; m <= 12; m++ {
		name := strings.ToLower(time.Month(m).String())
		list = append(list, word{name, kindMonthName, m}, word{name[:3], kindMonthName, m})
	}
	slices.SortStableFunc(list, func(a, b word) int { return cmp.Compare(len(b.text), len(a.text)) })
	return list
}

// scan splits text into words.
func scan(text string) []token {
	words := vocabulary()
	var tokens []token
	for at := 0; at < len(text); {
		rest := text[at:]
		if strings.IndexByte(" \t\r\n", rest[0]) >= 0 {
			at++
			continue
		}
		t := token{kind: kindUnknown, text: rest[:1], at: at}
		if n, minutes := timeOfDay(rest); n > 0 {
			t = token{kindTime, minutes, rest[:n], at}
		} else if i := slices.IndexFunc(words, func(w word) bool { return strings.HasPrefix(rest, w.text) }); i >= 0 {
			t = token{words[i].kind, words[i].value, words[i].text, at}
		} else if n := digits(rest); n > 0 {
			value, _ := strconv.Atoi(rest[:n]) // five digits at most
			t = token{kindNumber, value, rest[:n], at}
		}
		tokens = append(tokens, t)
		at += len(t.text)
	}
	return append(tokens, token{kind: kindEnd, at: len(text)})
}

// digits is the length of the number that s begins with: five digits at most.
func digits(s string) (n int) {
	for n < len(s) && n < 5 && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

// timeOfDay reads H:MM or HH:MM at the beginning of s; n is its length, 0 if
// there is none.
func timeOfDay(s string) (n, minutes int) {
	hours := digits(s)
	if hours == 0 || hours > 2 || len(s) < hours+3 || s[hours] != ':' {
		return 0, 0
	}
	h, _ := strconv.Atoi(s[:hours])
	tail := s[hours+1 : hours+3]
	if h > 23 || digits(tail) != 2 || tail[0] > '5' {
		return 0, 0
	}
	m, _ := strconv.Atoi(tail)
	return hours + 3, 60*h + m
}

// parser reads tokens one after the other.
type parser struct {
	text   string
	tokens []token
}

// ParseAppEngine reads a schedule of cron.yaml. An error is a SyntaxError.
func ParseAppEngine(text string) (Schedule, error) {
	if len(text) > maxText {
		return Schedule{}, &SyntaxError{text, maxText, fmt.Sprintf("a schedule has at most %d bytes", maxText)}
	}
	p := &parser{text, scan(text)}
	var s spec
	var err error
	if p.tokens[0].kind == kindEvery && p.tokens[1].kind == kindNumber {
		s, err = p.interval()
	} else {
		s, err = p.days()
	}
	if err == nil && p.tokens[0].kind != kindEnd {
		err = p.expected("nothing more")
	}
	if err != nil {
		return Schedule{}, err
	}
	return Schedule{text, s}, nil
}

// expected is the error about the next token.
func (p *parser) expected(what string) error {
	t := p.tokens[0]
	if t.kind == kindEnd {
		return p.refuse(t, "the schedule ends, expected "+what)
	}
	return p.refuse(t, fmt.Sprintf("%q, expected %s", t.text, what))
}

func (p *parser) refuse(t token, rule string) error { return &SyntaxError{p.text, t.at, rule} }

// take returns the next token if it is of the kind.
func (p *parser) take(k kind) (token, bool) {
	t := p.tokens[0]
	if t.kind != k {
		return t, false
	}
	if k != kindEnd {
		p.tokens = p.tokens[1:]
	}
	return t, true
}

// list reads one or more tokens of a kind with commas between them.
func (p *parser) list(k kind, what string) (values []token, err error) {
	for {
		t, ok := p.take(k)
		if !ok {
			return nil, p.expected(what)
		}
		values = append(values, t)
		if _, more := p.take(kindComma); !more {
			return values, nil
		}
	}
}

func (p *parser) interval() (spec, error) {
	p.take(kindEvery)
	n, _ := p.take(kindNumber)
	i := &interval{}
	switch p.tokens[0].kind {
	case kindHours:
		i.every = time.Duration(n.value) * time.Hour
	case kindMinutes:
		i.every = time.Duration(n.value) * time.Minute
	default:
		return nil, p.expected(`"hours", "mins" or "minutes"`)
	}
	p.tokens = p.tokens[1:]
	if n.value == 0 {
		return nil, p.refuse(n, "an interval must be greater than zero")
	}
	if _, ok := p.take(kindSynchronized); ok {
		const day = 24 * time.Hour
		if i.every > day || day%i.every != 0 {
			return nil, p.refuse(n, "synchronized intervals must divide 24 hours")
		}
		i.ranged, i.start, i.end = true, 0, 23*60+59
		return i, nil
	}
	if _, ok := p.take(kindFrom); !ok {
		if p.tokens[0].kind != kindEnd {
			return nil, p.expected(`"from", "synchronized" or the end`)
		}
		return i, nil
	}
	from, ok := p.take(kindTime)
	if !ok {
		return nil, p.expected("a time as in 09:30")
	}
	if _, ok := p.take(kindTo); !ok {
		return nil, p.expected(`"to"`)
	}
	to, ok := p.take(kindTime)
	if !ok {
		return nil, p.expected("a time as in 09:30")
	}
	i.ranged, i.start, i.end = true, clock(from.value), clock(to.value)
	return i, nil
}

// days reads everything but intervals. "1st day" is the first day of the month.
func (p *parser) days() (spec, error) {
	s := &days{}
	first := p.tokens[0]
	needMonths, err := p.dayOf(s)
	if err != nil {
		return nil, err
	}
	if _, ok := p.take(kindOf); ok {
		if err := p.months(s); err != nil {
			return nil, err
		}
	} else if needMonths {
		return nil, p.expected(`"of"`)
	} else {
		s.months = span(1, 12)
	}
	at, ok := p.take(kindTime)
	if !ok {
		return nil, p.expected("a time as in 09:30")
	}
	s.at = clock(at.value)
	if s.monthday != 0 {
		fits := false
		for m := 1; m <= 12; m++ {
			fits = fits || s.months.has(m) && s.monthday.min() <= longest(m)
		}
		if !fits {
			return nil, p.refuse(first, "none of the months has such a day")
		}
	}
	return s, nil
}

// dayOf reads what stands before "of"; months says that "of" must follow.
func (p *parser) dayOf(s *days) (months bool, err error) {
	switch p.tokens[0].kind {
	case kindNumber:
		list, err := p.list(kindNumber, "a day of the month")
		for _, t := range list {
			if t.value < 1 || t.value > 31 {
				return false, p.refuse(t, fmt.Sprintf("day %d of the month: must be 1 to 31", t.value))
			}
			s.monthday.add(t.value)
		}
		return true, err
	case kindEvery:
		p.take(kindEvery)
	case kindOrdinal:
		list, err := p.list(kindOrdinal, `an ordinal as in "1st" or "third"`)
		if err != nil {
			return false, err
		}
		for _, t := range list {
			s.ordinals.add(t.value)
		}
	default:
		return false, p.expected(`"every", an ordinal as in "1st", or a day of the month`)
	}
	if _, ok := p.take(kindDay); ok {
		s.monthday = s.ordinals
		if s.ordinals == 0 {
			s.ordinals, s.weekdays = span(1, 5), span(0, 6)
		}
		return false, nil
	}
	what := `"day" or a day of the week`
	if s.ordinals == 0 {
		what += ", or a number"
	}
	list, err := p.list(kindWeekday, what)
	for _, t := range list {
		s.weekdays.add(t.value)
	}
	if s.ordinals == 0 {
		s.ordinals = span(1, 5)
	}
	return false, err
}

// months reads what follows "of".
func (p *parser) months(s *days) error {
	switch p.tokens[0].kind {
	case kindMonth:
		p.take(kindMonth)
		s.months = span(1, 12)
		return nil
	case kindQuarter:
		p.take(kindQuarter)
		s.quarter(1)
		return nil
	case kindMonthName:
		list, err := p.list(kindMonthName, "a month")
		for _, t := range list {
			s.months.add(t.value)
		}
		return err
	case kindOrdinal:
	default:
		return p.expected(`"month", "quarter", a month, or an ordinal as in "first month of quarter"`)
	}
	list, err := p.list(kindOrdinal, "first, second or third")
	for _, t := range list {
		if t.value > 3 {
			return p.refuse(t, "a quarter has three months")
		}
		s.quarter(t.value)
	}
	if err != nil {
		return err
	}
	for _, w := range []struct {
		kind kind
		text string
	}{{kindMonth, `"month"`}, {kindOf, `"of"`}, {kindQuarter, `"quarter"`}} {
		if _, ok := p.take(w.kind); !ok {
			return p.expected(w.text)
		}
	}
	return nil
}

// quarter adds the nth month of each quarter.
func (s *days) quarter(n int) {
	for m := n; m <= 12; m += 3 {
		s.months.add(m)
	}
}
