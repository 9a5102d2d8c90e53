package schedule

import (
	"math/bits"
	"time"
)

// A set has small numbers as bits.
type set uint64

func (s set) has(n int) bool   { return s>>uint(n)&1 == 1 }
func (s *set) add(n int)       { *s |= 1 << uint(n) }
func (s set) min() int         { return bits.TrailingZeros64(uint64(s)) }
func span(first, last int) set { return set(1)<<uint(last+1) - set(1)<<uint(first) }

// interval is "every N hours" or minutes, with or without a range of the day.
type interval struct {
	every      time.Duration
	ranged     bool
	start, end clock // inclusive; the end may come before the start
}

func (i *interval) next(t time.Time, loc *time.Location) time.Time {
	if !i.ranged {
		return t.Add(i.every).Truncate(time.Minute) // of UTC, whose minutes are everybody's
	}
	// The grid of a day begins at its start.
	start := i.start.previous(t, loc)
	since := t.Sub(start)
	at := start.Add(since - since%i.every + i.every)
	following := i.start.following(t, loc)
	if i.covers(t, loc) && i.covers(at, loc) && at.Before(following) {
		return at
	}
	return following
}

// covers tells whether t is in the range: its last start is later than its last
// end, or it is the end.
func (i *interval) covers(t time.Time, loc *time.Location) bool {
	end := i.end.previous(t, loc)
	return i.start.previous(t, loc).After(end) || t.Equal(end)
}

// days is a time of day on certain days.
type days struct {
	at       clock
	months   set // 1 to 12
	monthday set // 1 to 31; if it is empty the next two count
	ordinals set // 1 to 5
	weekdays set // 0 (Sunday) to 6
}

func (s *days) next(t time.Time, loc *time.Location) time.Time {
	today := dateOf(t)
	month := date{today.year, today.month, 1}
	for range 12 * horizon {
		if s.months.has(int(month.month)) {
			for day := range s.in(month) {
				d := date{month.year, month.month, day}
				if month.year == today.year && month.month == today.month && day < today.day {
					continue
				}
				list, n := d.instants(s.at, loc)
				for _, at := range list[:n] {
					if at.After(t) {
						return at
					}
				}
			}
		}
		month = dateOf(time.Date(month.year, month.month+1, 1, 12, 0, 0, 0, time.UTC))
	}
	return time.Time{}
}

// in yields the days of a month, in order.
func (s *days) in(month date) func(yield func(int) bool) {
	first := time.Date(month.year, month.month, 1, 12, 0, 0, 0, time.UTC)
	last := first.AddDate(0, 1, -1).Day()
	return func(yield func(int) bool) {
		for day := 1; day <= last; day++ {
			fits := s.monthday.has(day)
			if s.monthday == 0 {
				fits = s.ordinals.has((day-1)/7+1) && s.weekdays.has((int(first.Weekday())+day-1)%7)
			}
			if fits && !yield(day) {
				return
			}
		}
	}
}

// longest is the most days a month can have.
func longest(month int) int {
	return time.Date(2024, time.Month(month)+1, 0, 12, 0, 0, 0, time.UTC).Day()
}
