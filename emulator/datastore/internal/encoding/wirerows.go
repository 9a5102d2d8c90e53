package encoding

import (
	"errors"
	"math"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Fields of Entity and the entries of its map, of Key and its parts, and of Value.
const (
	entityKey        protowire.Number = 1
	entityProperties protowire.Number = 3
	entryName        protowire.Number = 1
	entryValue       protowire.Number = 2
	keyPartition     protowire.Number = 1
	keyPath          protowire.Number = 2
	partProject      protowire.Number = 2
	partNamespace    protowire.Number = 4
	elementKind      protowire.Number = 1
	elementID        protowire.Number = 2
	elementName      protowire.Number = 3
	valueBoolean     protowire.Number = 1
	valueInteger     protowire.Number = 2
	valueDouble      protowire.Number = 3
	valueNull        protowire.Number = 11
	valueMeaning     protowire.Number = 14
	valueString      protowire.Number = 17
	valueExcluded    protowire.Number = 19
)

var errNoKey = errors.New("an entity without a key")

// WireRows derives rows of entities in wire form, without decoding more than it
// has to. It is for one goroutine, and for entities that were encoded by this
// process or one like it: keys come first, and each property is there once. The
// zero value is ready.
type WireRows struct {
	collector
	names map[string]string // kinds, properties and the like, which come again and again

	// The one value of the moment.
	value   pb.Value
	boolean pb.Value_BooleanValue
	integer pb.Value_IntegerValue
	double  pb.Value_DoubleValue
	text    pb.Value_StringValue
	null    pb.Value_NullValue
}

// Of is RowsOf.
func (w *WireRows) Of(entity []byte) (Rows, error) {
	if w.names == nil {
		w.names = map[string]string{}
	}
	w.reset()
	number, key, rest := cutField(entity)
	if number != entityKey {
		return Rows{}, errNoKey
	}
	if err := w.key(key); err != nil {
		return Rows{}, err
	}
	for len(rest) > 0 {
		var entry []byte
		if number, entry, rest = cutField(rest); number != entityProperties {
			return Rows{}, errCorrupt
		}
		number, name, value := cutField(entry)
		if number != entryName {
			name, value = nil, entry // the empty name
		}
		if number, value, _ = cutField(value); number != entryValue {
			return Rows{}, errCorrupt
		}
		v, err := w.decode(value)
		if err != nil {
			return Rows{}, err
		}
		if err := w.property(w.name(name), v); err != nil {
			return Rows{}, err
		}
	}
	return w.rows(), nil
}

// name is a string that is likely to be there already.
func (w *WireRows) name(b []byte) string {
	s, ok := w.names[string(b)]
	if !ok {
		s = string(b)
		w.names[s] = s
	}
	return s
}

// key reads the key and begins the rows.
func (w *WireRows) key(key []byte) error {
	namespace, kind := "", ""
	for len(key) > 0 {
		number, part, rest := cutField(key)
		switch number {
		case keyPartition:
			for len(part) > 0 {
				var value []byte
				switch number, value, part = cutField(part); number {
				case 0:
					return errCorrupt
				case partProject:
					w.project = w.name(value)
				case partNamespace:
					namespace = w.name(value)
				}
			}
		case keyPath:
			var err error
			if kind, err = w.element(part); err != nil {
				return err
			}
		default:
			return errCorrupt
		}
		key = rest
	}
	if len(w.path) == 0 {
		return errNoKey
	}
	w.path = append(w.path, 0, 0)
	w.begin(namespace, kind)
	return nil
}

// element appends one element of the path.
func (w *WireRows) element(part []byte) (kind string, err error) {
	var id int64
	var name []byte
	tag := byte(tagNoID)
	for len(part) > 0 {
		number, wireType, n := protowire.ConsumeTag(part)
		switch {
		case n < 0:
			return "", errCorrupt
		case number == elementKind && wireType == protowire.BytesType:
			var b []byte
			_, b, part = cutField(part)
			kind = w.name(b)
		case number == elementName && wireType == protowire.BytesType:
			tag = tagName
			_, name, part = cutField(part)
		case number == elementID && wireType == protowire.VarintType:
			tag = tagID
			u, m := protowire.ConsumeVarint(part[n:])
			if m < 0 {
				return "", errCorrupt
			}
			id, part = int64(u), part[n+m:]
		default:
			return "", errCorrupt
		}
	}
	w.path = appendText(w.path, kind)
	switch tag {
	case tagID:
		w.path = appendID(w.path, id)
	case tagName:
		w.path = appendText(append(w.path, tagName), string(name))
	default:
		w.path = append(w.path, tagNoID)
	}
	return kind, nil
}

// cutField takes a field with a length off; number is 0 when there is none.
func cutField(b []byte) (number protowire.Number, value, rest []byte) {
	number, kind, n := protowire.ConsumeTag(b)
	if n < 0 || kind != protowire.BytesType {
		return 0, nil, nil
	}
	value, m := protowire.ConsumeBytes(b[n:])
	if m < 0 {
		return 0, nil, nil
	}
	return number, value, b[n+m:]
}

// decode returns the value, which is overwritten by the next one if it is of a
// kind that most properties have.
func (w *WireRows) decode(wire []byte) (*pb.Value, error) {
	if w.simple(wire) {
		return &w.value, nil
	}
	v := new(pb.Value)
	return v, proto.Unmarshal(wire, v)
}

// simple decodes the kinds of values that most properties have.
func (w *WireRows) simple(wire []byte) bool {
	v := &w.value
	v.ValueType, v.ExcludeFromIndexes = nil, false
	for len(wire) > 0 {
		number, kind, n := protowire.ConsumeTag(wire)
		if n < 0 {
			return false
		}
		wire = wire[n:]
		switch kind {
		case protowire.VarintType:
			u, n := protowire.ConsumeVarint(wire)
			if n < 0 {
				return false
			}
			wire = wire[n:]
			switch number {
			case valueBoolean:
				w.boolean.BooleanValue, v.ValueType = u != 0, &w.boolean
			case valueInteger:
				w.integer.IntegerValue, v.ValueType = int64(u), &w.integer
			case valueNull:
				v.ValueType = &w.null
			case valueExcluded:
				v.ExcludeFromIndexes = u != 0
			case valueMeaning:
			default:
				return false
			}
		case protowire.Fixed64Type:
			u, n := protowire.ConsumeFixed64(wire)
			if n < 0 || number != valueDouble {
				return false
			}
			wire = wire[n:]
			w.double.DoubleValue, v.ValueType = math.Float64frombits(u), &w.double
		case protowire.BytesType:
			b, n := protowire.ConsumeBytes(wire)
			if n < 0 || number != valueString {
				return false
			}
			wire = wire[n:]
			w.text.StringValue, v.ValueType = string(b), &w.text
		default:
			return false
		}
	}
	return v.ValueType != nil
}
