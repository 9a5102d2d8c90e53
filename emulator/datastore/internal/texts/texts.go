package texts

import (
	"fmt"
	"unicode/utf8"
)

// MaxQuote is how many bytes of one quotation an error shows. The longest name
// of a database (project and database, 100 bytes each) fits.
const MaxQuote = 250

// maxText bounds a whole text with many quotations.
const maxText = 4 << 10

// Sprintf is fmt.Sprintf with quotations cut: the strings and errors among
// the arguments. Whatever the format, the result is bounded.
func Sprintf(format string, args ...any) string {
	short := make([]any, len(args))
	for i, arg := range args {
		switch v := arg.(type) {
		case string:
			short[i] = Quote(v)
		case error:
			short[i] = Quote(v.Error())
		default:
			short[i] = arg
		}
	}
	return Bound(fmt.Sprintf(format, short...))
}

// Quote returns s, or its beginning and how long it is.
func Quote(s string) string { return cut(s, MaxQuote) }

// Bound cuts a whole text as Quote does a quotation, at 4 KiB.
func Bound(s string) string { return cut(s, maxText) }

func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	n := limit
	for n > limit-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return fmt.Sprintf("%s… (%d bytes)", s[:n], len(s))
}
