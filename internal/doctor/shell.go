package doctor

import (
	"regexp"
	"strings"
)

var plain = regexp.MustCompile(`^[A-Za-z0-9_./:@%+=,-]+$`)

// quote makes a value one word of a shell.
func quote(s string) string {
	if plain.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// quoteOr is quote, or a word that people replace where the value isn't known.
func quoteOr(s, unknown string) string {
	if s == "" {
		return unknown
	}
	return quote(s)
}
