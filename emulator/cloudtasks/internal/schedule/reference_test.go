package schedule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// question and answer are the lines of testdata/reference.py.
type question struct {
	Schedule string `json:"schedule"`
	Zone     string `json:"zone"`
	After    int64  `json:"after"`
}

type answer struct {
	Next  []int64
	Error string
}

// ask puts the questions to the reference parser of the Google Cloud CLI, or skips
// the test where there is none.
func ask(t *testing.T, questions []question) []answer {
	t.Helper()
	const remedy = "NOT COMPARED WITH GOOGLE'S PARSER: %v. " +
		"To run this test, install the Google Cloud CLI, whose folder lib/googlecloudsdk/appengine/googlecron it is in."
	info, err := exec.Command("gcloud", "info", "--format=value(installation.sdk_root,basic.python_location)").Output()
	if err != nil {
		t.Skipf(remedy, err)
	}
	root, python, _ := strings.Cut(strings.TrimSpace(string(info)), "\t")
	if _, err := os.Stat(filepath.Join(root, "lib", "googlecloudsdk", "appengine", "googlecron")); err != nil {
		t.Skipf(remedy, err)
	}
	var in, stderr bytes.Buffer
	lines := json.NewEncoder(&in)
	for _, q := range questions {
		if err := lines.Encode(q); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), python, filepath.Join("testdata", "reference.py"), root)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	cmd.Stdin, cmd.Stderr = &in, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, &stderr)
	}
	answers := make([]answer, len(questions))
	decoder := json.NewDecoder(bytes.NewReader(out))
	for i := range answers {
		if err := decoder.Decode(&answers[i]); err != nil {
			t.Fatalf("answer %d of %d: %v", i, len(questions), err)
		}
	}
	return answers
}

// zones have clocks that change at night, at midnight, by half an hour, the other
// way round, and not at all.
var zones = []string{
	"UTC", "America/New_York", "Europe/Berlin", "Europe/Dublin", "Australia/Lord_Howe", "Asia/Kolkata", "America/Sao_Paulo",
	"America/Havana", "Asia/Beirut", "America/St_Johns", "Pacific/Auckland", "Atlantic/Azores",
}

// instants of the test lie in years whose rules every edition of the time zone
// database has.
var (
	firstInstant = time.Date(2012, 1, 1, 0, 0, 0, 0, time.UTC)
	lastInstant  = time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)
)

// A generator makes random schedules.
type generator struct{ *rand.Rand }

func (g generator) pick(list ...string) string { return list[g.IntN(len(list))] }

func (g generator) some(list ...string) string {
	picked := []string{g.pick(list...)}
	for g.IntN(3) == 0 {
		picked = append(picked, g.pick(list...))
	}
	return strings.Join(picked, g.pick(",", ",", ", "))
}

func (g generator) time() string {
	hour := g.pick("%d", "%02d")
	return fmt.Sprintf(hour+":%02d", g.pick2(g.IntN(24), g.IntN(4)), g.pick2(g.IntN(60), 15*g.IntN(4)))
}

func (g generator) pick2(a, b int) int {
	if g.IntN(2) == 0 {
		return a
	}
	return b
}

func (g generator) schedule() string {
	if g.IntN(2) == 0 {
		n := g.pick("1", "2", "3", "4", "5", "6", "7", "8", "10", "12", "15", "20", "24", "30", "45", "48", "60", "90", "120", "480", "720", "1440", fmt.Sprint(g.IntN(3000)))
		s := "every " + n + " " + g.pick("hours", "mins", "minutes")
		switch g.IntN(3) {
		case 0:
			return s + " synchronized"
		case 1:
			return s + " from " + g.time() + " to " + g.time()
		}
		return s
	}
	ordinals := g.pick("every", g.some("1st", "2nd", "3rd", "4th", "5th", "first", "second", "third", "fourth", "fifth"))
	weekdays := g.pick("day", g.some("mon", "tue", "wed", "thu", "fri", "sat", "sun", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"))
	month := g.some("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "january", "february", "march", "april", "june", "july", "august", "september", "october", "november", "december")
	of := " of " + g.pick("month", "quarter", month, month, g.some("first", "2nd", "third")+" month of quarter")
	switch g.IntN(3) {
	case 0:
		return ordinals + " " + weekdays + " " + g.time()
	case 1:
		return ordinals + " " + weekdays + of + " " + g.time()
	}
	var days []string
	for range 1 + g.IntN(3) {
		days = append(days, fmt.Sprint(g.pick2(1+g.IntN(31), 26+g.IntN(7))))
	}
	return strings.Join(days, ",") + of + " " + g.time()
}

// mangled is a schedule with a mistake, as a rule.
func (g generator) mangled() string {
	words := strings.Fields(g.schedule())
	i := g.IntN(len(words))
	switch g.IntN(6) {
	case 0:
		words = append(words[:i], words[i+1:]...)
	case 1:
		words[i] = g.pick("every", "of", "month", "day", "1", "31", "mon", "first", "9:00", "24:00", "from", "to", "hours", "quarter", "synchronized", ",", "x", "Every", "123456")
	case 2:
		words = append(words, g.pick("every", "9:00", "x", ","))
	case 3:
		return strings.Join(words, "")
	case 4:
		s := strings.Join(words, " ")
		at := g.IntN(len(s))
		return s[:at] + s[at+1:]
	default:
		s := strings.Join(words, " ")
		at := g.IntN(len(s))
		return s[:at] + g.pick("0", "1", "s", "t", " ", ":", ",", "d") + s[at:]
	}
	return strings.Join(words, " ")
}

// instant is near a change of the clocks, as often as not.
func (g generator) instant(loc *time.Location) time.Time {
	at := firstInstant.Add(time.Duration(g.Int64N(int64(lastInstant.Sub(firstInstant))))).Truncate(time.Second)
	if g.IntN(2) == 0 {
		return at
	}
	if _, change := at.In(loc).ZoneBounds(); !change.IsZero() && change.Before(lastInstant) {
		return change.Add(time.Duration(g.IntN(2*30*3600)-30*3600) * time.Second).UTC()
	}
	return at
}

// TestReference compares with Google's parser: the same texts are schedules, and
// they mean the same times.
func TestReference(t *testing.T) {
	const n = 4000
	g := generator{rand.New(rand.NewPCG(1, 2))}
	var questions []question
	for i := range n {
		zone := g.pick(zones...)
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		q := question{Schedule: g.schedule(), Zone: zone, After: g.instant(loc).Unix()}
		if i%4 == 0 {
			q.Schedule = g.mangled()
		}
		questions = append(questions, q)
	}
	answers := ask(t, questions)
	var times, refused, lost, inverse int
	for i, q := range questions {
		a := answers[i]
		s, err := ParseAppEngine(q.Schedule)
		if (err == nil) != (a.Error == "") {
			t.Errorf("%q: ours says %v, the reference %q", q.Schedule, err, a.Error)
			continue
		}
		if err != nil {
			refused++
			continue
		}
		loc, err := time.LoadLocation(q.Zone)
		if err != nil {
			t.Fatal(err)
		}
		after := time.Unix(q.After, 0)
		for j, want := range a.Next {
			got := s.Next(after, loc)
			if want <= after.Unix() {
				// The reference has lost count: its answer is in the past. It does so on
				// days of 25 hours only.
				if _, offset := after.In(loc).Zone(); offset >= offsetAt(after.Add(-25*time.Hour), loc) {
					t.Errorf("%q in %s after %v: the reference says %v, in the past", q.Schedule, q.Zone, after.In(loc), time.Unix(want, 0).In(loc))
				}
				lost++
				break
			}
			times++
			if q.Zone == "Europe/Dublin" && got.Unix() == want-3600 && got.Format(time.Kitchen) == time.Unix(want, 0).In(loc).Format(time.Kitchen) {
				inverse++ // see Differences in doc.go
				break
			}
			if got.Unix() != want {
				t.Errorf("%q in %s after %v (%d of 3): ours is %v, the reference's %v",
					q.Schedule, q.Zone, after.In(loc), j+1, got, time.Unix(want, 0).In(loc))
				break
			}
			after = got
		}
	}
	t.Logf("%d times of %d schedules are the same; %d texts were refused by both; %d times the reference answered with the past, %d times with the later instant in Dublin",
		times-inverse, len(questions)-refused, refused, lost, inverse)
	if times < n || refused < n/20 {
		t.Errorf("the comparison is too small to mean anything")
	}
}

func offsetAt(t time.Time, loc *time.Location) int {
	_, offset := t.In(loc).Zone()
	return offset
}

// cron makes random schedules of unix-cron.
func (g generator) cron() string {
	item := func(first, last int) string {
		a, b := first+g.IntN(last-first+1), first+g.IntN(last-first+1)
		switch g.IntN(6) {
		case 0:
			return "*"
		case 1:
			return fmt.Sprintf("*/%d", 1+g.IntN(last))
		case 2:
			return fmt.Sprintf("%d-%d", min(a, b), max(a, b))
		case 3:
			return fmt.Sprintf("%d-%d/%d", min(a, b), max(a, b), 1+g.IntN(7))
		case 4:
			return fmt.Sprintf("%d,%d", a, b)
		}
		return fmt.Sprint(a)
	}
	return strings.Join([]string{item(0, 59), item(0, 23), item(1, 31), item(1, 12), item(0, 7)}, " ")
}

func rapidRand(t *rapid.T) *rand.Rand {
	return rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
}
