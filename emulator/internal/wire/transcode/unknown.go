package transcode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

const repeated = protoreflect.Repeated

// maxWalk bounds how deep names are looked for in a body that is refused
// anyhow; deeper ones are not named in the error.
const maxWalk = 100

// unknownName returns the first name in a JSON body that is no field, and where
// it stands, in the words of Google's servers: query.kind[0].
func unknownName(md protoreflect.MessageDescriptor, body []byte) (name, at string, found bool) {
	w := &walker{json: json.NewDecoder(bytes.NewReader(body))}
	w.message(md)
	return w.name, w.at, w.found
}

// walker reads tokens, not values: a refused body costs no memory, and its
// millions of elements no text.
type walker struct {
	json     *json.Decoder
	path     []step
	name, at string
	found    bool
}

// step leads into a field, or into one element of it.
type step struct {
	field   protoreflect.FieldDescriptor
	element int
}

func (s step) String() string {
	switch {
	case s.field.IsMap():
		return fmt.Sprintf("%s[%d].value", s.field.Name(), s.element)
	case s.field.IsList():
		return fmt.Sprintf("%s[%d]", s.field.Name(), s.element)
	}
	return string(s.field.Name())
}

// where is the path to the message that is walked.
func (w *walker) where() string {
	steps := make([]string, len(w.path))
	for i, s := range w.path {
		steps[i] = s.String()
	}
	return strings.Join(steps, ".")
}

// next returns the next token; false ends the walk.
func (w *walker) next() (json.Token, bool) {
	token, err := w.json.Token()
	return token, err == nil
}

// message walks a value that should be a message; false ends the walk.
func (w *walker) message(md protoreflect.MessageDescriptor) bool {
	if len(w.path) == maxWalk || md.ParentFile().Package() == "google.protobuf" {
		return w.skip() // written in forms of their own
	}
	return w.object(func(name string) bool {
		f := field(md, name)
		if f == nil {
			w.name, w.at, w.found = name, w.where(), true
			return false
		}
		w.path = append(w.path, step{field: f})
		defer func() { w.path = w.path[:len(w.path)-1] }()
		switch {
		case f.IsMap():
			i := -1
			return w.object(func(string) bool {
				i++
				return w.element(f.MapValue(), i)
			})
		case f.IsList():
			return w.list(func(i int) bool { return w.element(f, i) })
		}
		return w.value(f)
	})
}

// element walks the i-th value of the field that the path ends with.
func (w *walker) element(f protoreflect.FieldDescriptor, i int) bool {
	w.path[len(w.path)-1].element = i
	return w.value(f)
}

func (w *walker) value(f protoreflect.FieldDescriptor) bool {
	if f.Message() == nil {
		return w.skip()
	}
	return w.message(f.Message())
}

// object calls each with every name, to walk its value; another value is
// skipped.
func (w *walker) object(each func(name string) bool) bool {
	token, ok := w.next()
	if !ok {
		return false
	}
	if token != json.Delim('{') {
		return w.skipRest(token)
	}
	for w.json.More() {
		name, ok := w.next()
		text, isText := name.(string)
		if !ok || !isText || !each(text) {
			return false
		}
	}
	_, ok = w.next()
	return ok
}

// list calls each with every index, to walk its element.
func (w *walker) list(each func(i int) bool) bool {
	token, ok := w.next()
	if !ok {
		return false
	}
	if token != json.Delim('[') {
		return w.skipRest(token)
	}
	for i := 0; w.json.More(); i++ {
		if !each(i) {
			return false
		}
	}
	_, ok = w.next()
	return ok
}

func (w *walker) skip() bool {
	token, ok := w.next()
	return ok && w.skipRest(token)
}

// skipRest skips what is left of the value that begins with token.
func (w *walker) skipRest(token json.Token) bool {
	for depth := 0; ; {
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return true
		}
		var ok bool
		if token, ok = w.next(); !ok {
			return false
		}
	}
}
