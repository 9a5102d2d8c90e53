package planning

import (
	"strings"

	"github.com/latchwork/latchwork/emulator/datastore/internal/texts"
)

// Invalid is an error about a query that Datastore would refuse as well.
type Invalid string

func (e Invalid) Error() string { return string(e) }

func invalid(format string, args ...any) error { return Invalid(texts.Sprintf(format, args...)) }

// Bounds of a query, as Datastore documents them or its emulator has them.
const (
	maxDisjunctions  = 30
	maxIn            = 30  // values of one IN
	maxNotIn         = 10  // values of one NOT_IN
	maxParts         = 100 // filters, orders and ancestor
	maxInequalities  = 10  // properties with inequalities
	maxProjected     = 5000
	maxFilterDepth   = 100
	maxKindName      = 1500
	maxPropertyName  = 1500
	maxIndexedLength = 1500
)

// checkName checks the name of a property.
func checkName(name string) error {
	switch {
	case name == "":
		return invalid("The property.name is the empty string.")
	case len(name) > maxPropertyName:
		return invalid("The property.name is longer than %d bytes.", maxPropertyName)
	}
	return nil
}

// reserved reports whether a name is one of those that Datastore keeps to itself.
func reserved(name string) bool {
	return len(name) >= 4 && strings.HasPrefix(name, "__") && strings.HasSuffix(name, "__")
}
