package properties

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/protobuf/proto"
)

// MaxWork is the Budget of one commit.
const MaxWork Budget = 64 << 20

// array returns what a transform of arrays makes of the stored value: what is
// no array, vectors among it, counts as an empty one.
func (t *Transform) array(stored *pb.Value, b *Budget) (*pb.Value, error) {
	var old []*pb.Value
	if stored.GetArrayValue() != nil && stored.GetMeaning() == 0 {
		old = stored.GetArrayValue().GetValues()
		*b -= Budget(proto.Size(stored))
	}
	if *b -= t.size; *b < 0 {
		return nil, fmt.Errorf("The array transforms of a commit go through at most %d bytes.", MaxWork)
	}
	given := make(map[string]bool, len(t.elements)) // true: stored already
	var buf []byte
	for _, v := range t.elements {
		buf = appendIdentity(buf[:0], v)
		given[string(buf)] = false
	}
	values := make([]*pb.Value, 0, len(old))
	for _, v := range old {
		buf = appendIdentity(buf[:0], v)
		_, found := given[string(buf)]
		if found {
			given[string(buf)] = true
		}
		if !found || t.kind == appendMissing {
			values = append(values, v)
		}
	}
	if t.kind == appendMissing {
		for _, v := range t.elements {
			if buf = appendIdentity(buf[:0], v); !given[string(buf)] {
				given[string(buf)] = true
				values = append(values, v)
			}
		}
	}
	return &pb.Value{ValueType: &pb.Value_ArrayValue{ArrayValue: &pb.ArrayValue{Values: values}}}, nil
}

// appendIdentity appends what equivalent values have in common and others
// haven't: numbers are equivalent by value, whatever their type, and every NaN
// is the same. Index settings and meanings don't matter.
func appendIdentity(dst []byte, v *pb.Value) []byte {
	switch x := v.GetValueType().(type) {
	case *pb.Value_IntegerValue:
		return binary.BigEndian.AppendUint64(append(dst, 'i'), uint64(x.IntegerValue))
	case *pb.Value_DoubleValue:
		f := x.DoubleValue
		if whole := math.Trunc(f); whole == f && f >= -1<<63 && f < 1<<63 {
			return binary.BigEndian.AppendUint64(append(dst, 'i'), uint64(int64(f)))
		}
		if math.IsNaN(f) {
			return append(dst, 'n')
		}
		return binary.BigEndian.AppendUint64(append(dst, 'd'), math.Float64bits(f))
	case *pb.Value_StringValue:
		return appendText(append(dst, 's'), x.StringValue)
	case *pb.Value_BlobValue:
		return appendText(append(dst, 'b'), x.BlobValue)
	case *pb.Value_ArrayValue:
		dst = binary.AppendUvarint(append(dst, 'a'), uint64(len(x.ArrayValue.GetValues())))
		for _, elem := range x.ArrayValue.GetValues() {
			dst = appendIdentity(dst, elem)
		}
		return dst
	case *pb.Value_EntityValue:
		dst = appendMessage(append(dst, 'e'), x.EntityValue.GetKey())
		props := x.EntityValue.GetProperties()
		dst = binary.AppendUvarint(dst, uint64(len(props)))
		for _, name := range slices.Sorted(maps.Keys(props)) {
			dst = appendIdentity(appendText(dst, name), props[name])
		}
		return dst
	}
	return appendMessage(append(dst, 'v'), &pb.Value{ValueType: v.GetValueType()})
}

func appendText[T string | []byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// appendMessage appends messages that hold no map, whose encoding is the same
// each time.
func appendMessage(dst []byte, m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return dst // a string that is not UTF-8 can't have come over the wire
	}
	return appendText(dst, b)
}
