package schedule

import (
	"errors"
	"strings"
	"time"
	_ "time/tzdata" // the machine may have no time zones; Google's servers have
)

var errZone = errors.New("must be a name of the tz database, such as Europe/Berlin")

// Zone returns a time zone of the tz database by its name; "" and utc, however
// they are written, are UTC.
func Zone(name string) (*time.Location, error) {
	switch {
	case name == "" || strings.EqualFold(name, "utc"):
		return time.UTC, nil
	case strings.EqualFold(name, "local"): // would be the machine's
		return nil, errZone
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, errZone
	}
	return loc, nil
}
