package indexes

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/latchwork/latchwork/emulator/datastore/internal/texts"
)

// KeyProperty is the name under which queries and definitions speak of keys.
const KeyProperty = "__key__"

// Property is one property of an index, with its direction.
type Property struct {
	Name string
	Desc bool
}

// Definition is a composite index.
type Definition struct {
	Kind       string
	Ancestor   bool // each ancestor of an entity has rows of its own
	Properties []Property
}

// Production's bounds: on the composite indexes of a database, on the properties
// of one, and on the bytes of a name.
const (
	maxIndexes    = 1000
	maxProperties = 100
	maxName       = 1500
)

// Check returns the first rule that d breaks.
func (d Definition) Check() error {
	if err := checkName("kind", d.Kind); err != nil {
		return err
	}
	if n := len(d.Properties); n < 1 || n > maxProperties {
		return errors.New(texts.Sprintf("the index of the kind %q has %d properties: it needs from 1 to %d", d.Kind, n, maxProperties))
	}
	keys := 0
	for _, p := range d.Properties {
		if err := checkName("property", p.Name); err != nil {
			return err
		}
		if p.Name == KeyProperty {
			keys++
		}
	}
	if keys > 1 {
		return errors.New(texts.Sprintf("the index of the kind %q has __key__ %d times: at most once", d.Kind, keys))
	}
	return nil
}

func checkName(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the %s is the empty string", what)
	case len(name) > maxName:
		return fmt.Errorf("the %s is longer than %d bytes", what, maxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("the %s is not UTF-8", what)
	}
	return nil
}

// Key identifies the index: two definitions with one key are the same index.
func (d Definition) Key() string {
	var b strings.Builder
	b.WriteString(strconv.Quote(d.Kind))
	if d.Ancestor {
		b.WriteString(" ancestor")
	}
	for _, p := range d.Properties {
		b.WriteByte(' ')
		b.WriteString(strconv.Quote(p.Name))
		if p.Desc {
			b.WriteString(" desc")
		}
	}
	return b.String()
}

// Compare orders definitions as index.yaml lists them: by kind, then properties,
// those without ancestor first.
func (d Definition) Compare(e Definition) int {
	return cmp.Or(
		cmp.Compare(d.Kind, e.Kind),
		slices.CompareFunc(d.Properties, e.Properties, func(p, q Property) int {
			return cmp.Or(cmp.Compare(p.Name, q.Name), compareBool(p.Desc, q.Desc))
		}),
		compareBool(d.Ancestor, e.Ancestor))
}

// Equal tells whether both are the same index.
func (d Definition) Equal(e Definition) bool { return d.Compare(e) == 0 }

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// Text is the definition as an entry of index.yaml, and as production's errors
// show it.
func (d Definition) Text() string {
	var b strings.Builder
	b.WriteString("- kind: " + scalar(d.Kind) + "\n")
	if d.Ancestor {
		b.WriteString("  ancestor: yes\n")
	}
	b.WriteString("  properties:\n")
	for _, p := range d.Properties {
		b.WriteString("  - name: " + scalar(p.Name) + "\n")
		if p.Desc {
			b.WriteString("    direction: desc\n")
		}
	}
	return b.String()
}

// plain is what YAML takes as a string without quotes, whoever reads it.
var plain = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$./-]*$`)

// scalar quotes what YAML would read as something else than this string.
func scalar(s string) string {
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "true", "false", "on", "off", "null":
		return strconv.Quote(s)
	}
	if plain.MatchString(s) {
		return s
	}
	return strconv.Quote(s)
}
