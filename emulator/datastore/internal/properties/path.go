package properties

import (
	"errors"
	"fmt"
	"strings"

	"github.com/latchwork/latchwork/emulator/datastore/internal/texts"
)

// Path leads through entity values to a property.
type Path []string

const (
	maxName  = 1500   // bytes
	maxDepth = 20 + 1 // as deep as entity values nest
)

// ParsePath takes a path apart: names separated by dots. A name that holds a
// dot, a backslash or a backquote is escaped, either by a backslash before
// each of them or as a whole: in backquotes, as Google's emulator has it.
func ParsePath(s string) (Path, error) {
	if s == "" {
		return nil, errors.New("Invalid empty property path string.")
	}
	var path Path
	for rest := s; ; {
		name, after, ok := cutName(rest)
		if !ok {
			return nil, fmt.Errorf("Invalid property path \"%s\". Unquoted property paths must match regex ([a-zA-Z_][a-zA-Z_0-9]*), "+
				"and quoted property paths must match regex (`(?:[^`\\\\]|(?:\\\\.))+`)", texts.Quote(s))
		}
		if len(name) > maxName {
			return nil, fmt.Errorf("property path is longer than %d bytes.", maxName)
		}
		if path = append(path, name); len(path) > maxDepth {
			return nil, fmt.Errorf("At most %d nested entity values are supported.", maxDepth-1)
		}
		if after == "" {
			return path, nil
		}
		rest = after[1:]
	}
}

// cutName takes the first name off; what follows it is empty or begins with a dot.
func cutName(s string) (name, after string, ok bool) {
	quoted := strings.HasPrefix(s, "`")
	i := 0
	if quoted {
		i = 1
	}
	var b strings.Builder
	for i < len(s) {
		switch c := s[i]; {
		case c == '\\':
			if i++; i == len(s) || !quoted && !strings.ContainsRune("\\.`", rune(s[i])) {
				return "", "", false
			}
			b.WriteByte(s[i])
		case c == '`':
			i++
			return b.String(), s[i:], quoted && b.Len() > 0 && (i == len(s) || s[i] == '.')
		case c == '.' && !quoted:
			return b.String(), s[i:], b.Len() > 0 && i+1 < len(s)
		default:
			b.WriteByte(c)
		}
		i++
	}
	return b.String(), "", !quoted && b.Len() > 0
}
