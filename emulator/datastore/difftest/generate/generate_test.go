package generate_test

import (
	"strings"
	"testing"

	"github.com/latchwork/latchwork/emulator/datastore/difftest/generate"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
)

// text is the scripts of a seed, as replays read them.
func text(seed uint64, count int, only ...string) string {
	var b strings.Builder
	for s := range generate.Scripts(seed, count, only...) {
		b.WriteString(s.String())
	}
	return b.String()
}

func TestSeedsDecide(t *testing.T) {
	one := text(1, 200)
	if text(1, 200) != one {
		t.Error("the same seed gave other scripts")
	}
	if text(2, 200) == one {
		t.Error("another seed gave the same scripts")
	}
}

// Every sort of script is made, is big enough to be about something, and comes
// back from its text.
func TestEverySubject(t *testing.T) {
	for _, subject := range generate.Subjects() {
		t.Run(subject, func(t *testing.T) {
			for n := range 4 {
				s := generate.Script(7, n, subject)
				if len(s.Steps) < 4 || !strings.HasSuffix(s.Origin, subject) {
					t.Fatalf("script %d, %q, has %d steps", n, s.Origin, len(s.Steps))
				}
				back, err := script.Parse(s.String())
				if err != nil {
					t.Fatal(err)
				}
				back.Origin = s.Origin // a comment
				if back.String() != s.String() {
					t.Errorf("script %d came back as another:\n%s\nwant:\n%s", n, back, s)
				}
			}
		})
	}
}

func TestScriptsAreAsManyStepsAsAskedFor(t *testing.T) {
	steps, last := 0, 0
	for s := range generate.Scripts(3, 300) {
		steps, last = steps+len(s.Steps), len(s.Steps)
	}
	if steps < 300 || steps-last >= 300 {
		t.Errorf("%d steps, %d of them in the last script; asked for 300", steps, last)
	}
}

func TestUnknownSubject(t *testing.T) {
	for range generate.Scripts(1, 10, "nonsense") {
		t.Fatal("a script about nothing that is known")
	}
}
