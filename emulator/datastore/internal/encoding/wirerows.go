package encoding

import (
	"bytes"
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
		if err := w.value(w.known(name), value); err != nil {
			return Rows{}, err
		}
	}
	return w.rows(), nil
}

// known is a string that is likely to be there already.
func (w *WireRows) known(b []byte) string {
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
					w.project = w.known(value)
				case partNamespace:
					namespace = w.known(value)
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
			kind = w.known(b)
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
	if len(b) >= 2 && b[0] < 0x80 && b[0]&7 == byte(protowire.BytesType) && b[0] >= 1<<3 && b[1] < 0x80 && int(b[1]) <= len(b)-2 {
		end := 2 + int(b[1]) // as nearly all fields are: of a small number, and short
		return protowire.Number(b[0] >> 3), b[2:end], b[end:]
	}
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

// value adds the rows of a property.
func (w *WireRows) value(name string, wire []byte) error {
	if x, ok := cutSimple(wire); ok {
		if x.excluded {
			return nil
		}
		value := w.collector.name(name)
		w.buf = x.append(w.buf)
		return w.entry(name, value)
	}
	v := new(pb.Value)
	if err := proto.Unmarshal(wire, v); err != nil {
		return err
	}
	return w.property(name, v)
}

// simple is a value of one of the kinds that most properties have.
type simple struct {
	number   protowire.Number // 0: none yet
	bits     uint64
	text     []byte
	excluded bool
}

// append appends what AppendValue does.
func (x *simple) append(dst []byte) []byte {
	switch x.number {
	case valueBoolean:
		if x.bits != 0 {
			return append(dst, tagTrue)
		}
		return append(dst, tagFalse)
	case valueInteger:
		return appendInt(dst, int64(x.bits))
	case valueDouble:
		return appendDouble(append(dst, tagDouble), math.Float64frombits(x.bits))
	case valueString:
		dst = append(dst, tagText)
		if bytes.IndexByte(x.text, 0) >= 0 {
			return appendText(dst, string(x.text))
		}
		return append(append(dst, x.text...), 0, 0)
	}
	return append(dst, tagNull)
}

// cutSimple decodes a value if it is simple.
func cutSimple(wire []byte) (x simple, ok bool) {
	for len(wire) > 0 {
		number, kind, n := protowire.ConsumeTag(wire)
		if n < 0 {
			return x, false
		}
		wire = wire[n:]
		switch {
		case kind == protowire.VarintType:
			var u uint64
			if u, n = protowire.ConsumeVarint(wire); n < 0 {
				return x, false
			}
			switch number {
			case valueBoolean, valueInteger, valueNull:
				x.number, x.bits = number, u
			case valueExcluded:
				x.excluded = u != 0
			case valueMeaning:
			default:
				return x, false
			}
		case kind == protowire.Fixed64Type && number == valueDouble:
			x.number = number
			if x.bits, n = protowire.ConsumeFixed64(wire); n < 0 {
				return x, false
			}
		case kind == protowire.BytesType && number == valueString:
			x.number = number
			if x.text, n = protowire.ConsumeBytes(wire); n < 0 {
				return x, false
			}
		default:
			return x, false
		}
		wire = wire[n:]
	}
	return x, x.number != 0
}
