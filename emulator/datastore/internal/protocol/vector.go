package protocol

import (
	"cmp"
	"encoding/binary"
	"iter"
	"math"
	"slices"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/protobuf/encoding/protowire"
)

// maxDimensions bounds vectors, stored ones and those of queries.
const maxDimensions = 2048

// queryVector returns the components of a query's vector.
func queryVector(v *pb.Value) ([]float64, error) {
	if v.GetValueType() == nil {
		return nil, invalid("Value missing type.")
	}
	list, ok := v.GetValueType().(*pb.Value_ArrayValue)
	if !ok || v.GetMeaning() != meaningVector {
		return nil, invalid("Query Value must be of type vector.")
	}
	values := list.ArrayValue.GetValues()
	if len(values) > maxDimensions {
		return nil, invalid("Vectors must be at most %d dimensions.", maxDimensions)
	}
	vector := make([]float64, len(values))
	for i, v := range values {
		d, ok := v.GetValueType().(*pb.Value_DoubleValue)
		if !ok {
			return nil, invalid("Vector must only contain values of type 'double'.")
		}
		vector[i] = d.DoubleValue
	}
	return vector, nil
}

// Fields of Value and ArrayValue.
const (
	fieldDouble   protowire.Number = 3  // Value.double_value
	fieldEmbedded protowire.Number = 6  // Value.entity_value
	fieldArray    protowire.Number = 9  // Value.array_value
	fieldMeaning  protowire.Number = 14 // Value.meaning
	fieldElement  protowire.Number = 1  // ArrayValue.values
)

// appendVector appends the components of the vector that an entity in wire form
// has under the dotted path; ok is false if it has none there. It spares
// decoding the entity, of which a search goes through very many.
//
// Names may hold dots: the whole path is tried as one first, then the shortest
// name that it begins with.
func appendVector(dst []float64, entity []byte, path string) (_ []float64, ok bool) {
	type part struct {
		name  int // its length
		entry []byte
	}
	var parts []part
	for name, entry := range propertiesOf(entity) {
		n := len(name)
		switch {
		case string(name) == path:
			value, _ := bytesField(entry, fieldMapValue)
			return appendComponents(dst, value)
		case n < len(path) && path[n] == '.' && path[:n] == string(name):
			parts = append(parts, part{n, entry})
		}
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(a.name, b.name) })
	for _, p := range parts {
		value, _ := bytesField(p.entry, fieldMapValue)
		embedded, ok := bytesField(value, fieldEmbedded)
		if !ok {
			continue
		}
		if dst, ok := appendVector(dst, embedded, path[p.name+1:]); ok {
			return dst, true
		}
	}
	return dst, false
}

// A component in an ArrayValue, as long as it says nothing but its value: the
// field, its length, and the field and type of the double.
const (
	doubleHead = "\x0a\x09\x19"
	doubleLen  = len(doubleHead) + 8
)

// appendComponents appends the doubles of a Value in wire form that is a vector.
func appendComponents(dst []float64, value []byte) (_ []float64, ok bool) {
	var elements []byte
	vector := false
	for len(value) > 0 {
		number, kind, rest, field := cutField(value)
		if rest < 0 {
			return dst, false
		}
		switch {
		case number == fieldArray && kind == protowire.BytesType:
			elements = field
		case number == fieldMeaning && kind == protowire.VarintType:
			meaning, _ := protowire.ConsumeVarint(field)
			vector = meaning == meaningVector
		}
		value = value[rest:]
	}
	if !vector {
		return dst, false
	}
	start := len(dst)
	for len(elements) > 0 {
		if len(elements) >= doubleLen && string(elements[:len(doubleHead)]) == doubleHead {
			dst = append(dst, math.Float64frombits(binary.LittleEndian.Uint64(elements[len(doubleHead):])))
			elements = elements[doubleLen:]
			continue
		}
		number, kind, rest, element := cutField(elements)
		if rest < 0 {
			return dst[:start], false
		}
		elements = elements[rest:]
		if number != fieldElement || kind != protowire.BytesType {
			continue
		}
		number, kind, rest, component := cutField(element)
		if rest < 0 || number != fieldDouble || kind != protowire.Fixed64Type {
			return dst[:start], false
		}
		bits, _ := protowire.ConsumeFixed64(component)
		dst = append(dst, math.Float64frombits(bits))
	}
	return dst, true
}

// propertiesOf yields the properties of an entity in wire form: their names and
// their entries in the map.
func propertiesOf(entity []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, entry []byte) bool) {
		for len(entity) > 0 {
			number, kind, rest, entry := cutField(entity)
			if rest < 0 {
				return
			}
			entity = entity[rest:]
			if number != fieldProperties || kind != protowire.BytesType {
				continue
			}
			if name, _ := bytesField(entry, fieldMapKey); !yield(name, entry) {
				return
			}
		}
	}
}

// bytesField returns the field of a message in wire form.
func bytesField(message []byte, field protowire.Number) ([]byte, bool) {
	for len(message) > 0 {
		number, kind, rest, content := cutField(message)
		if rest < 0 {
			return nil, false
		}
		if number == field && kind == protowire.BytesType {
			return content, true
		}
		message = message[rest:]
	}
	return nil, false
}

// cutField returns a message's first field, without its length if it has one,
// and where the next one starts; rest is negative for what is no message.
func cutField(message []byte) (number protowire.Number, kind protowire.Type, rest int, content []byte) {
	number, kind, tag := protowire.ConsumeTag(message)
	if tag < 0 {
		return 0, 0, -1, nil
	}
	n := protowire.ConsumeFieldValue(number, kind, message[tag:])
	if n < 0 {
		return 0, 0, -1, nil
	}
	content = message[tag : tag+n]
	if kind == protowire.BytesType {
		content, _ = protowire.ConsumeBytes(content)
	}
	return number, kind, tag + n, content
}
