package schedule

import "time"

// A date is a day of the calendar.
type date struct {
	year  int
	month time.Month
	day   int
}

func dateOf(t time.Time) date {
	y, m, d := t.Date()
	return date{y, m, d}
}

func (d date) plus(days int) date {
	return dateOf(time.Date(d.year, d.month, d.day+days, 12, 0, 0, 0, time.UTC))
}

// clock is a time of day in minutes since midnight.
type clock int

// instants returns the instants at which clocks in loc show c on d: one, two
// where they are set back, or none where they are set forward. It looks at the
// offsets of the day before and the day after.
func (d date) instants(c clock, loc *time.Location) (list [2]time.Time, n int) {
	wall := time.Date(d.year, d.month, d.day, int(c)/60, int(c)%60, 0, 0, time.UTC)
	_, before := wall.AddDate(0, 0, -1).In(loc).Zone()
	_, after := wall.AddDate(0, 0, 1).In(loc).Zone()
	// The larger offset gives the earlier instant.
	for _, offset := range [2]int{max(before, after), min(before, after)} {
		t := wall.Add(-time.Duration(offset) * time.Second).In(loc)
		if _, o := t.Zone(); o != offset || n == 1 && t.Equal(list[0]) {
			continue
		}
		list[n] = t
		n++
	}
	return list, n
}

// first is the earlier instant of c on d, or of the next minute that exists.
func (d date) first(c clock, loc *time.Location) time.Time {
	for {
		if list, n := d.instants(c, loc); n > 0 {
			return list[0]
		}
		if c++; c == 24*60 {
			d, c = d.plus(1), 0
		}
	}
}

// previous is the latest instant of c, as first has it, not after t.
func (c clock) previous(t time.Time, loc *time.Location) time.Time {
	for d := dateOf(t); ; d = d.plus(-1) {
		if at := d.first(c, loc); !at.After(t) {
			return at
		}
	}
}

// following is the earliest instant of c, as first has it, after t.
func (c clock) following(t time.Time, loc *time.Location) time.Time {
	for d := dateOf(t); ; d = d.plus(1) {
		if at := d.first(c, loc); at.After(t) {
			return at
		}
	}
}
