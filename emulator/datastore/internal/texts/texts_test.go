package texts_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/latchwork/latchwork/emulator/datastore/internal/texts"
)

func TestSprintf(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	start := strings.Repeat("x", texts.MaxQuote)
	for _, c := range []struct {
		got, want string
	}{
		{texts.Sprintf("%s %q %d", "a", "b", 3), `a "b" 3`},
		{texts.Sprintf("%s", start), start},
		{texts.Sprintf("%q is bad", long), `"` + start + `… (1048576 bytes)" is bad`},
		{texts.Sprintf("%v", errors.New(long)), start + "… (1048576 bytes)"},
	} {
		if c.got != c.want {
			t.Errorf("got %q; want %q", c.got, c.want)
		}
	}
	for i := range 4 {
		s := texts.Quote(strings.Repeat("x", i) + strings.Repeat("😀", 100))
		if !utf8.ValidString(s) || len(s) > texts.MaxQuote+20 {
			t.Errorf("cut to %q", s)
		}
	}
	if n := len(texts.Sprintf("%q", []string{long, long})); n > 5<<10 {
		t.Errorf("%d bytes of text", n)
	}
}
