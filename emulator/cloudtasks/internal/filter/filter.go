package filter

import "google.golang.org/protobuf/reflect/protoreflect"

// A Filter is a condition on messages. A nil one matches everything.
type Filter struct{ root node }

// Matches reports whether m, a message of the type that Parse was given,
// satisfies the filter.
func (f *Filter) Matches(m protoreflect.Message) bool {
	return f == nil || f.root.matches(m)
}

type node interface {
	matches(m protoreflect.Message) bool
}

type (
	and []node
	or  []node
	not struct{ node }
)

func (n and) matches(m protoreflect.Message) bool {
	for _, part := range n {
		if !part.matches(m) {
			return false
		}
	}
	return true
}

func (n or) matches(m protoreflect.Message) bool {
	for _, part := range n {
		if part.matches(m) {
			return true
		}
	}
	return false
}

func (n not) matches(m protoreflect.Message) bool { return !n.node.matches(m) }

// A comparison holds when one of the field's values passes the test.
type comparison struct {
	path []protoreflect.FieldDescriptor
	test func(protoreflect.Value) bool // nil: the field has to be there
}

func (c comparison) matches(m protoreflect.Message) bool { return c.within(m, c.path) }

func (c comparison) within(m protoreflect.Message, path []protoreflect.FieldDescriptor) bool {
	field := path[0]
	if field.HasPresence() && !m.Has(field) {
		return false
	}
	switch v := m.Get(field); {
	case field.IsList():
		for i := range v.List().Len() {
			if c.value(v.List().Get(i), path) {
				return true
			}
		}
		return false
	case field.IsMap():
		return c.test == nil && v.Map().Len() > 0
	default:
		return c.value(v, path)
	}
}

func (c comparison) value(v protoreflect.Value, path []protoreflect.FieldDescriptor) bool {
	switch {
	case len(path) > 1:
		return c.within(v.Message(), path[1:])
	case c.test != nil:
		return c.test(v)
	case path[0].Message() != nil:
		return true
	}
	return !v.Equal(path[0].Default())
}
