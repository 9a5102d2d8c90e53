package schedule

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// The next times of schedules, one after the other.
func TestNext(t *testing.T) {
	const layout = "Mon 2006-01-02 15:04 -0700"
	for _, test := range []struct{ schedule, zone, after, want string }{
		{"every 5 minutes", "UTC", "2026-11-23T12:02:31Z", "Mon 2026-11-23 12:07 +0000, Mon 2026-11-23 12:12 +0000"},
		{"every 2 hours synchronized", "Europe/Berlin", "2026-11-23T12:02:31Z", "Mon 2026-11-23 14:00 +0100, Mon 2026-11-23 16:00 +0100"},
		{"every 5 minutes from 10:00 to 10:07", "UTC", "2026-11-23T10:01:00Z", "Mon 2026-11-23 10:05 +0000, Tue 2026-11-24 10:00 +0000"},
		{"every 30 mins from 23:30 to 0:30", "UTC", "2026-11-23T23:31:00Z", "Tue 2026-11-24 00:00 +0000, Tue 2026-11-24 00:30 +0000, Tue 2026-11-24 23:30 +0000"},
		{"1st,3rd day of month 00:00", "UTC", "2026-11-23T00:00:00Z", "Tue 2026-12-01 00:00 +0000, Thu 2026-12-03 00:00 +0000"},
		{"2nd,third mon,wed of march 17:00", "UTC", "2026-11-23T00:00:00Z", "Mon 2027-03-08 17:00 +0000, Wed 2027-03-10 17:00 +0000, Mon 2027-03-15 17:00 +0000"},
		{"1 of jan,apr,jul,oct 00:00", "UTC", "2026-11-23T00:00:00Z", "Fri 2027-01-01 00:00 +0000"},
		{"first mon of second month of quarter 9:15", "UTC", "2026-11-23T00:00:00Z", "Mon 2027-02-01 09:15 +0000"},
		{"5th monday of february 12:00", "UTC", "2016-03-01T00:00:00Z", "Mon 2044-02-29 12:00 +0000"},
		// Clocks set forward: the day without the time is left out; a range begins later.
		{"every day 02:30", "Europe/Berlin", "2026-03-28T00:00:00Z", "Sat 2026-03-28 02:30 +0100, Mon 2026-03-30 02:30 +0200"},
		{"every 10 mins from 02:15 to 03:15", "Europe/Berlin", "2026-03-29T00:00:00Z", "Sun 2026-03-29 03:00 +0200, Sun 2026-03-29 03:10 +0200, Mon 2026-03-30 02:15 +0200"},
		// Clocks set back: the time comes twice.
		{"every day 02:30", "Europe/Berlin", "2026-10-24T12:00:00Z", "Sun 2026-10-25 02:30 +0200, Sun 2026-10-25 02:30 +0100, Mon 2026-10-26 02:30 +0100"},

		{"*/5 * * * *", "UTC", "2026-11-23T12:02:31Z", "Mon 2026-11-23 12:05 +0000, Mon 2026-11-23 12:10 +0000"},
		{"* * * * *", "UTC", "2026-11-23T12:02:00Z", "Mon 2026-11-23 12:03 +0000"},
		{"0 9-17/4 * * mon-fri", "Asia/Kolkata", "2026-11-27T05:00:00Z", "Fri 2026-11-27 13:00 +0530, Fri 2026-11-27 17:00 +0530, Mon 2026-11-30 09:00 +0530"},
		{"15,45 0 1 JAN *", "UTC", "2026-11-23T00:00:00Z", "Fri 2027-01-01 00:15 +0000, Fri 2027-01-01 00:45 +0000, Sat 2028-01-01 00:15 +0000"},
		{"0 0 13 * 5", "UTC", "2026-11-12T12:00:00Z", "Fri 2026-11-13 00:00 +0000, Fri 2026-11-20 00:00 +0000"},  // either
		{"0 0 */2 * 5", "UTC", "2026-11-12T12:00:00Z", "Fri 2026-11-13 00:00 +0000, Fri 2026-11-27 00:00 +0000"}, // both
		{"0 0 * * 7", "UTC", "2026-11-23T00:00:00Z", "Sun 2026-11-29 00:00 +0000"},
		{"0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", "Fri 2104-02-29 00:00 +0000"},
		{"30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "Mon 2026-03-30 02:30 +0200"},
		{"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "Sun 2026-10-25 02:30 +0200, Sun 2026-10-25 02:30 +0100, Mon 2026-10-26 02:30 +0100"},
		{"0 0 * * *", "America/Havana", "2026-10-31T12:00:00Z", "Sun 2026-11-01 00:00 -0400, Sun 2026-11-01 00:00 -0500, Mon 2026-11-02 00:00 -0500"},
		{"59 23 31 10 *", "America/St_Johns", "2009-11-01T00:00:00Z", "Sat 2009-10-31 23:59 -0230, Sat 2009-10-31 23:59 -0330"},
	} {
		s, err := Parse(test.schedule)
		if err != nil {
			t.Errorf("%q: %v", test.schedule, err)
			continue
		}
		at, err := time.Parse(time.RFC3339, test.after)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for range strings.Count(test.want, ",") + 1 {
			at = s.Next(at, zone(t, test.zone))
			got = append(got, at.Format(layout))
		}
		if all := strings.Join(got, ", "); all != test.want {
			t.Errorf("%q in %s after %s:\n got %s\nwant %s", test.schedule, test.zone, test.after, all, test.want)
		}
	}
}

// What is no schedule is refused with the place and the rule.
func TestErrors(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", `schedule "": character 1: the schedule ends, expected "every", an ordinal as in "1st", or a day of the month`},
		{"every hour", `schedule "every hour": character 7: "h", expected "day" or a day of the week, or a number`},
		{"1st of month 09:00", `schedule "1st of month 09:00": character 5: "of", expected "day" or a day of the week`},
		{"last day of month 09:00", `schedule "last day of month 09:00": character 1: "l", expected "every", an ordinal as in "1st", or a day of the month`},
		{"every 0 mins", `schedule "every 0 mins": character 7: an interval must be greater than zero`},
		{"every 7 hours synchronized", `schedule "every 7 hours synchronized": character 7: synchronized intervals must divide 24 hours`},
		{"every 5 mins from 9:00", `schedule "every 5 mins from 9:00": character 23: the schedule ends, expected "to"`},
		{"every day 24:00", `schedule "every day 24:00": character 11: "24", expected a time as in 09:30`},
		{"every day 09:00 09:00", `schedule "every day 09:00 09:00": character 17: "09:00", expected nothing more`},
		{"32 of month 09:00", `schedule "32 of month 09:00": character 1: day 32 of the month: must be 1 to 31`},
		{"30,31 of feb 09:00", `schedule "30,31 of feb 09:00": character 1: none of the months has such a day`},
		{"1st mon of 4th month of quarter 09:00", `schedule "1st mon of 4th month of quarter 09:00": character 12: a quarter has three months`},
		{"Every day 09:00", `schedule "Every day 09:00": character 1: "E", expected "every", an ordinal as in "1st", or a day of the month`},
		{"* * * *", `schedule "* * * *": character 8: the schedule ends, expected the day of the week: minute, hour, day of the month, month, day of the week`},
		{"* * * * * *", `schedule "* * * * * *": character 11: there are more than five fields`},
		{"60 * * * *", `schedule "60 * * * *": character 1: minute "60": must be 0 to 59, a range, or *`},
		{"0 0,24 * * *", `schedule "0 0,24 * * *": character 5: hour "24": must be 0 to 23, a range, or *`},
		{"0 0 * * mo", `schedule "0 0 * * mo": character 9: day of the week "mo": must be 0 to 7 or the first three letters of a name, a range, or *`},
		{"5/10 * * * *", `schedule "5/10 * * * *": character 1: minute "5/10": a step follows * or a range`},
		{"*/0 * * * *", `schedule "*/0 * * * *": character 1: minute "*/0": the step must be a positive number`},
		{"* 5-4 * * *", `schedule "* 5-4 * * *": character 3: hour "5-4": the range ends before it begins`},
		{"0 0 30 feb *", `schedule "0 0 30 feb *": character 1: none of the months has such a day`},
		{"every " + strings.Repeat("x", maxText), "character 1025: a schedule has at most 1024 bytes"},
	} {
		s, err := Parse(test.text)
		if err == nil || !strings.HasSuffix(err.Error(), test.want) || len(err.Error()) > 200 {
			t.Errorf("Parse(%.40q) = %v, %v\nwant error %s", test.text, s, err, test.want)
		}
	}
}

// Times come after the question, in the order of the questions, and asking again
// in between changes nothing.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := generator{rapidRand(t)}
		text := g.schedule()
		if rapid.Bool().Draw(t, "cron") {
			text = g.cron()
		}
		s, err := Parse(text)
		if err != nil {
			t.Skip(text)
		}
		loc, err := time.LoadLocation(g.pick(zones...))
		if err != nil {
			t.Fatal(err)
		}
		a := g.instant(loc)
		b := a.Add(time.Duration(g.Int64N(int64(3 * time.Hour))))
		nextA, nextB := s.Next(a, loc), s.Next(b, loc)
		if !nextA.After(a) || !nextB.After(b) {
			t.Fatalf("%q in %v: after %v comes %v, after %v comes %v", text, loc, a, nextA, b, nextB)
		}
		if nextB.Before(nextA) {
			t.Fatalf("%q in %v: after %v comes %v, but after the later %v the earlier %v", text, loc, a.In(loc), nextA, b.In(loc), nextB)
		}
		if i, ok := s.spec.(*interval); (!ok || i.ranged) && b.Before(nextA) && !nextB.Equal(nextA) {
			t.Fatalf("%q in %v: after %v comes %v, but after %v, which is before that, %v", text, loc, a.In(loc), nextA, b.In(loc), nextB)
		}
		if nextA.Second() != 0 || nextA.Nanosecond() != 0 {
			t.Fatalf("%q: %v is not a whole minute", text, nextA)
		}
	})
}

// Times of unix-cron are exactly the minutes that its fields name.
func TestCronMinutes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := generator{rapidRand(t)}
		s, err := ParseCron(g.cron())
		if err != nil {
			t.Skip(err)
		}
		loc, err := time.LoadLocation(g.pick(zones...))
		if err != nil {
			t.Fatal(err)
		}
		c := s.spec.(*cron)
		from := g.instant(loc).Truncate(time.Minute)
		next := s.Next(from, loc)
		for at := from.Add(time.Minute); at.Before(from.Add(50 * time.Hour)); at = at.Add(time.Minute) {
			local := at.In(loc)
			named := c.minutes.has(local.Minute()) && c.hours.has(local.Hour()) && c.on(dateOf(local), local.Weekday())
			switch {
			case named && !at.Equal(next):
				t.Fatalf("%q in %v: %v is named, but after %v comes %v", s, loc, local, from.In(loc), next)
			case named:
				return
			case at.Equal(next):
				t.Fatalf("%q in %v: %v is not named, but comes after %v", s, loc, local, from.In(loc))
			}
		}
	})
}

func TestZero(t *testing.T) {
	if at := (Schedule{}).Next(time.Now(), time.UTC); !at.IsZero() {
		t.Errorf("a schedule without times has %v", at)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"every 5 minutes", "every 2 hours synchronized", "every 30 mins from 23:30 to 0:30", "1st,3rd day of month 00:00",
		"2nd,third mon,wed of march 17:00", "1 of jan,apr 00:00", "first mon of second month of quarter 9:15", "every99999hours",
		"*/5 * * * *", "0 9-17/4 * * mon-fri", "15,45 0 29 FEB *", "1-2-3 * * * *", "* * * * 7",
	} {
		f.Add(s, int64(1_700_000_000))
	}
	f.Fuzz(func(t *testing.T, text string, seconds int64) {
		s, err := Parse(text)
		if err != nil {
			if len(err.Error()) > 2000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		at := time.Unix(seconds%4e9, 0)
		for range 3 {
			next := s.Next(at, time.UTC)
			if !next.After(at) {
				t.Fatalf("%q after %v: %v", text, at, next)
			}
			at = next
		}
	})
}

func BenchmarkNext(b *testing.B) {
	loc := zone(b, "America/New_York")
	for _, text := range []string{"every 5 minutes", "every 5 mins from 10:00 to 14:00", "2nd mon of quarter 09:30", "*/5 * * * *", "59 23 31 12 *"} {
		s, err := Parse(text)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(text, func(b *testing.B) {
			at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			for b.Loop() {
				if s.Next(at, loc).IsZero() {
					b.Fatal("never")
				}
			}
		})
	}
}
