package gql

import (
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/latchwork/latchwork/emulator/datastore/internal/texts"
)

// Invalid is an error about a query that Datastore would refuse as well.
type Invalid string

func (e Invalid) Error() string { return string(e) }

func invalid(format string, args ...any) error { return Invalid(texts.Sprintf(format, args...)) }

// unexpected says that t stands where something else was wanted. The words
// are those of Google's parser, up to the list.
func unexpected(src string, t token, want ...string) error {
	found, at := `"<EOF>"`, len(src)-lastWidth(src)
	if t.kind != endOfQuery {
		found = fmt.Sprintf(`" %s "%s ""`, t.label(), escape(texts.Quote(t.image)))
		at = t.at
	}
	line, column := position(src, at)
	if t.kind == endOfQuery && lastWidth(src) > 3 {
		column++ // the second half of a surrogate pair
	}
	list := strings.Join(want, ", ")
	if n := len(want) - 1; n > 0 {
		list = strings.Join(want[:n], ", ") + " or " + want[n]
	}
	return Invalid(texts.Bound(fmt.Sprintf("Encountered %s at line %d, column %d.\nWas expecting: %s.", found, line, column, list)))
}

// lexical says that no token that starts at start goes on at at.
func lexical(src string, start, at int) error {
	found := "<EOF>"
	if at < len(src) {
		r, size := utf8.DecodeRuneInString(src[at:])
		found = fmt.Sprintf(`"%s" (%d),`, escape(src[at:at+size]), r)
	}
	line, column := position(src, at)
	return Invalid(fmt.Sprintf(`Lexical error at line %d, column %d.  Encountered: %s after : "%s"`,
		line, column, found, escape(texts.Quote(src[start:at]))))
}

// position returns the line and column of what stands at an offset. Columns
// count UTF-16 units, as Google's do; an empty query has line 0, column 0.
func position(src string, at int) (line, column int) {
	if src == "" {
		return 0, 0
	}
	line, column = 1, 1
	for i, r := range src[:at] {
		switch {
		case r == '\n', r == '\r' && !strings.HasPrefix(src[i+1:], "\n"):
			line, column = line+1, 1
		default:
			column += utf16.RuneLen(r)
		}
	}
	return line, column
}

// lastWidth is how many bytes the last character of s has.
func lastWidth(s string) int {
	_, size := utf8.DecodeLastRuneInString(s)
	return size
}

// escape renders a quotation in printable ASCII, as Google's parser does.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch i := strings.IndexRune("\b\t\n\f\r\"'\\", r); {
		case i >= 0:
			b.WriteByte('\\')
			b.WriteByte(`btnfr"'\`[i])
		case r >= ' ' && r <= '~':
			b.WriteRune(r)
		default:
			for _, u := range utf16.AppendRune(nil, r) {
				fmt.Fprintf(&b, `\u%04x`, u)
			}
		}
	}
	return b.String()
}
