package appyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// MaxFile bounds a file, in bytes.
const MaxFile = 1 << 20

const maxQuoted = 200

// An Error says what is wrong with a file, and in which line.
type Error struct {
	Line int // 0: the file as a whole
	Rule string
}

// Error has the form "line 7: rule".
func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Rule
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Rule)
}

// Errorf is an error about a node. Texts among the arguments are cut to what an
// error may quote.
func Errorf(at *yaml.Node, format string, args ...any) error {
	for i, arg := range args {
		switch arg := arg.(type) {
		case string:
			args[i] = clip(arg)
		case error:
			args[i] = clip(arg.Error())
		}
	}
	return &Error{at.Line, fmt.Sprintf(format, args...)}
}

func clip(s string) string {
	if len(s) > maxQuoted {
		return strings.ToValidUTF8(s[:maxQuoted], "") + "…"
	}
	return s
}

// Document returns the top of the only document in text; nil when there is
// nothing but comments.
func Document(text []byte) (*yaml.Node, error) {
	switch {
	case len(text) > MaxFile:
		return nil, &Error{0, fmt.Sprintf("the file is longer than %d bytes", MaxFile)}
	case !utf8.Valid(text):
		return nil, &Error{0, "the file is not UTF-8"}
	}
	loader, err := yaml.NewLoader(bytes.NewReader(text))
	if err != nil {
		return nil, &Error{0, err.Error()}
	}
	var root, more yaml.Node
	switch err := loader.Load(&root); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, broken(err)
	}
	if err := loader.Load(&more); err == nil {
		return nil, Errorf(&more, "another document begins: there must be one")
	} else if !errors.Is(err, io.EOF) {
		return nil, broken(err)
	}
	if len(root.Content) == 0 {
		return nil, nil
	}
	return root.Content[0], nil
}

// broken words an error of the YAML reader.
func broken(err error) error {
	if e, ok := errors.AsType[*yaml.LoadError](err); ok && e.Message != "" {
		return &Error{e.Mark.Line, clip(e.Message)}
	}
	return &Error{0, clip(err.Error())}
}

// A Mapping has fields by name.
type Mapping struct {
	node   *yaml.Node
	what   string
	fields map[string]*yaml.Node
}

// Fields reads a mapping that has no fields but names. what is how errors call
// it.
func Fields(n *yaml.Node, what string, names ...string) (*Mapping, error) {
	if n.Kind != yaml.MappingNode {
		return nil, Errorf(n, "%s must have fields, as in %q", what, names[0]+": …")
	}
	m := &Mapping{n, what, map[string]*yaml.Node{}}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || !slices.Contains(names, key.Value):
			return nil, Errorf(key, "%s has an unknown field %q: there is %s", what, key.Value, strings.Join(names, ", "))
		case m.fields[key.Value] != nil:
			return nil, Errorf(key, "%s has the field %q twice", what, key.Value)
		case value.Kind == yaml.AliasNode:
			return nil, Errorf(value, "aliases are not supported")
		}
		m.fields[key.Value] = value
	}
	return m, nil
}

// Line is where the mapping begins.
func (m *Mapping) Line() int { return m.node.Line }

// Node returns the node of a field, nil if it isn't there.
func (m *Mapping) Node(field string) *yaml.Node { return m.fields[field] }

// Get returns the node of a field, nil if it isn't there or empty.
func (m *Mapping) Get(field string) *yaml.Node {
	n := m.fields[field]
	if n == nil || n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil
	}
	return n
}

// List returns the elements of a field, none if it isn't there.
func (m *Mapping) List(field string) ([]*yaml.Node, error) {
	n := m.Get(field)
	switch {
	case n == nil:
		return nil, nil
	case n.Kind != yaml.SequenceNode:
		return nil, Errorf(n, "%s must be a list", field)
	}
	for _, element := range n.Content {
		if element.Kind == yaml.AliasNode {
			return nil, Errorf(element, "aliases are not supported")
		}
	}
	return n.Content, nil
}

// Text returns the text of a field, "" if it isn't there.
func (m *Mapping) Text(field string) (string, error) {
	n := m.Get(field)
	switch {
	case n == nil:
		return "", nil
	case n.Kind != yaml.ScalarNode:
		return "", Errorf(n, "%s must be a text", field)
	}
	return n.Value, nil
}

// Need is Text for a field that must be there.
func (m *Mapping) Need(field string) (string, error) {
	s, err := m.Text(field)
	if err == nil && s == "" {
		return "", Errorf(m.node, "%s lacks its %s", m.what, field)
	}
	return s, err
}

// Int returns a field's whole number; set is false if it isn't there.
func (m *Mapping) Int(field string, least, most int) (n int, set bool, err error) {
	text, err := m.Text(field)
	if err != nil || text == "" {
		return 0, false, err
	}
	n, err = strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, false, Errorf(m.fields[field], "%s %q: must be a whole number from %d to %d", field, text, least, most)
	}
	return n, true, nil
}

// Bool returns a field's truth value, or what it is when the field isn't there.
func (m *Mapping) Bool(field string, missing bool) (bool, error) {
	text, err := m.Text(field)
	if err != nil || text == "" {
		return missing, err
	}
	switch strings.ToLower(text) {
	case "yes", "true", "on", "y":
		return true, nil
	case "no", "false", "off", "n":
		return false, nil
	}
	return false, Errorf(m.fields[field], "%s %q: must be True or False", field, text)
}

// maxSeconds keeps durations within those of protobuf.
const maxSeconds = 315_576_000_000

// longest is the most that a time.Duration holds, in seconds.
const longest = float64(math.MaxInt64 / int64(time.Second))

// Seconds returns a field's number of seconds as a duration.
func (m *Mapping) Seconds(field string) (d time.Duration, set bool, err error) {
	text, err := m.Text(field)
	if err != nil || text == "" {
		return 0, false, err
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || !(seconds >= 0) || seconds > longest {
		return 0, false, Errorf(m.fields[field], "%s %q: must be a number of seconds, not negative", field, text)
	}
	return duration(seconds), true, nil
}

// Age returns a field's time with a unit, such as 2d or 1.5h, as a duration of
// whole seconds.
func (m *Mapping) Age(field string) (d time.Duration, set bool, err error) {
	text, err := m.Text(field)
	if err != nil || text == "" {
		return 0, false, err
	}
	unit := UnitSeconds(text[len(text)-1])
	number, err := strconv.ParseFloat(text[:len(text)-1], 64)
	if unit == 0 || err != nil || !(number >= 0) || number*unit > maxSeconds {
		return 0, false, Errorf(m.fields[field], "%s %q: must be a non-negative number followed by a time unit, such as 1h or 3.5d", field, text)
	}
	return duration(math.Trunc(min(number*unit, longest))), true, nil
}

func duration(seconds float64) time.Duration {
	return time.Duration(math.Round(seconds * float64(time.Second)))
}

// UnitSeconds is how long s, m, h or d is; 0 is none of them.
func UnitSeconds(unit byte) float64 {
	switch unit {
	case 's':
		return 1
	case 'm':
		return 60
	case 'h':
		return 60 * 60
	case 'd':
		return 24 * 60 * 60
	}
	return 0
}
