package transcode

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxDepth bounds field paths: some messages nest without end.
const maxDepth = 32

// A fieldPath leads from a message to a field in it or in a part of it.
type fieldPath []protoreflect.FieldDescriptor

func (p fieldPath) last() protoreflect.FieldDescriptor { return p[len(p)-1] }

func (p fieldPath) String() string {
	names := make([]string, len(p))
	for i, f := range p {
		names[i] = string(f.Name())
	}
	return strings.Join(names, ".")
}

// resolve finds a dotted path of names, as declared or in camelCase.
func resolve(md protoreflect.MessageDescriptor, path string) (fieldPath, error) {
	if strings.Count(path, ".") >= maxDepth {
		return nil, fmt.Errorf("a field path has at most %d names", maxDepth)
	}
	var p fieldPath
	for name := range strings.SplitSeq(path, ".") {
		if md == nil {
			return nil, fmt.Errorf("%s is no message with fields", p)
		}
		f := field(md, name)
		if f == nil {
			return nil, fmt.Errorf("%s has no field %s", md.FullName(), quote(name))
		}
		p = append(p, f)
		md = nil
		if f.Message() != nil && f.Cardinality() != protoreflect.Repeated && !isValue(f.Message()) {
			md = f.Message()
		}
	}
	return p, nil
}

func field(md protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if f := md.Fields().ByJSONName(name); f != nil {
		return f
	}
	return md.Fields().ByTextName(name)
}

// isValue says that proto JSON writes the message as a scalar.
func isValue(md protoreflect.MessageDescriptor) bool {
	switch md.FullName() {
	case "google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask":
		return true
	}
	return isWrapper(md)
}

func isWrapper(md protoreflect.MessageDescriptor) bool {
	return md.ParentFile().Path() == "google/protobuf/wrappers.proto"
}

// bindable returns an error unless the field can be written as text.
func (p fieldPath) bindable() error {
	if f := p.last(); f.IsMap() || f.Message() != nil && !isValue(f.Message()) {
		return fmt.Errorf("%s is a message", p)
	}
	return nil
}

// set parses the values, one unless the field is repeated, into the field of m.
func (p fieldPath) set(m protoreflect.Message, values []string) error {
	f := p.last()
	if len(values) > 1 && !f.IsList() {
		return badRequest(p.String(), fmt.Sprintf("Invalid value at '%s': the field is not repeated, and has %d values", p, len(values)))
	}
	for _, part := range p[:len(p)-1] {
		if err := p.free(m, part); err != nil {
			return err
		}
		m = m.Mutable(part).Message()
	}
	if err := p.free(m, f); err != nil {
		return err
	}
	for _, text := range values {
		v, err := parse(m, f, text)
		if err != nil {
			return badRequest(p.String(), fmt.Sprintf("Invalid value at '%s' (%s), %s", p, typeName(f), quote(text)))
		}
		if f.IsList() {
			m.Mutable(f).List().Append(v)
		} else {
			m.Set(f, v)
		}
	}
	return nil
}

// free returns an error when another member of f's oneof is set.
func (p fieldPath) free(m protoreflect.Message, f protoreflect.FieldDescriptor) error {
	if o := f.ContainingOneof(); o != nil {
		if other := m.WhichOneof(o); other != nil && other != f {
			return badRequest(p.String(), fmt.Sprintf("Invalid value at '%s': oneof field '%s' is already set, by '%s'", p, o.Name(), other.Name()))
		}
	}
	return nil
}

// agree sets the field like set does, and refuses when it has another value.
func (p fieldPath) agree(m protoreflect.Message, text string) error {
	old, isSet := p.get(m)
	if err := p.set(m, []string{text}); err != nil {
		return err
	}
	if now, _ := p.get(m); isSet && !now.Equal(old) {
		return badRequest(p.String(), fmt.Sprintf("The binding value %s of the field '%s' is conflicting with the value %s in the body.",
			quote(text), p, quote(old.String())))
	}
	return nil
}

// get returns the value of a field that is set.
func (p fieldPath) get(m protoreflect.Message) (v protoreflect.Value, isSet bool) {
	for _, f := range p[:len(p)-1] {
		if !m.Has(f) {
			return v, false
		}
		m = m.Get(f).Message()
	}
	return m.Get(p.last()), m.Has(p.last())
}

// typeName names a field's type as Google's errors do.
func typeName(f protoreflect.FieldDescriptor) string {
	switch {
	case f.Message() != nil:
		return "type.googleapis.com/" + string(f.Message().FullName())
	case f.Enum() != nil:
		return "type.googleapis.com/" + string(f.Enum().FullName())
	}
	return "TYPE_" + strings.ToUpper(f.Kind().String())
}

var errText = errors.New("malformed") // the caller words it

// parse reads one value of the field f of m.
func parse(m protoreflect.Message, f protoreflect.FieldDescriptor, text string) (v protoreflect.Value, err error) {
	switch f.Kind() {
	case protoreflect.BoolKind:
		switch text {
		case "true":
			return protoreflect.ValueOfBool(true), nil
		case "false":
			return protoreflect.ValueOfBool(false), nil
		}
		return v, errText
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		n, err := strconv.ParseInt(text, 10, 32)
		return protoreflect.ValueOfInt32(int32(n)), err
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		n, err := strconv.ParseInt(text, 10, 64)
		return protoreflect.ValueOfInt64(n), err
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		n, err := strconv.ParseUint(text, 10, 32)
		return protoreflect.ValueOfUint32(uint32(n)), err
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		n, err := strconv.ParseUint(text, 10, 64)
		return protoreflect.ValueOfUint64(n), err
	case protoreflect.FloatKind:
		x, err := strconv.ParseFloat(text, 32)
		return protoreflect.ValueOfFloat32(float32(x)), err
	case protoreflect.DoubleKind:
		x, err := strconv.ParseFloat(text, 64)
		return protoreflect.ValueOfFloat64(x), err
	case protoreflect.StringKind:
		if !utf8.ValidString(text) {
			return v, errText
		}
		return protoreflect.ValueOfString(text), nil
	case protoreflect.BytesKind:
		b, err := parseBytes(text)
		return protoreflect.ValueOfBytes(b), err
	case protoreflect.EnumKind:
		n, err := parseEnum(f.Enum(), text)
		return protoreflect.ValueOfEnum(n), err
	default: // a message that isValue
		part := m.NewField(f)
		if f.IsList() {
			part = m.NewField(f).List().NewElement()
		}
		return part, parseValue(part.Message(), text)
	}
}

// parseBytes takes base64 in both alphabets, with padding or without.
func parseBytes(text string) ([]byte, error) {
	text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	return base64.RawStdEncoding.DecodeString(text)
}

func parseEnum(e protoreflect.EnumDescriptor, text string) (protoreflect.EnumNumber, error) {
	if v := e.Values().ByName(protoreflect.Name(text)); v != nil {
		return v.Number(), nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	return protoreflect.EnumNumber(n), err
}

// parseValue reads a message that isValue.
func parseValue(m protoreflect.Message, text string) error {
	md := m.Descriptor()
	switch {
	case md.FullName() == "google.protobuf.FieldMask":
		return parseMask(m, text)
	case isWrapper(md):
		f := md.Fields().ByName("value")
		v, err := parse(m, f, text)
		if err == nil {
			m.Set(f, v)
		}
		return err
	}
	return protojson.Unmarshal([]byte(strconv.Quote(text)), m.Interface())
}

// parseMask reads paths in camelCase, as clients write them, or as declared.
func parseMask(m protoreflect.Message, text string) error {
	if !utf8.ValidString(text) {
		return errText
	}
	if text == "" {
		return nil
	}
	paths := m.Mutable(m.Descriptor().Fields().ByName("paths")).List()
	for path := range strings.SplitSeq(text, ",") {
		var b strings.Builder
		for _, c := range path {
			if 'A' <= c && c <= 'Z' {
				b.WriteByte('_')
				c += 'a' - 'A'
			}
			b.WriteRune(c)
		}
		paths.Append(protoreflect.ValueOfString(b.String()))
	}
	return nil
}
