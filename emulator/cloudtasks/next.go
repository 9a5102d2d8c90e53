package cloudtasks

import (
	"time"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/schedule"
)

// NextTimes returns the first n times after t of a schedule, in unix-cron's syntax
// or App Engine's, in a time zone of the tz database.
func NextTimes(text, zone string, t time.Time, n int) ([]time.Time, error) {
	s, err := schedule.Parse(text)
	if err != nil {
		return nil, err
	}
	loc, err := schedule.Zone(zone)
	if err != nil {
		return nil, err
	}
	times := make([]time.Time, 0, n)
	for range n {
		t = s.Next(t, loc)
		times = append(times, t)
	}
	return times, nil
}
