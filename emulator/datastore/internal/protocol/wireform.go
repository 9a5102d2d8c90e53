package protocol

import (
	"errors"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Entities are kept as they go over the wire, and answers take them as such:
// the bytes are put into the message's unknown fields, under the numbers of
// the fields they are, and the encoder copies them. Decoding and encoding
// them again would cost more than all the rest of a read.
const (
	fieldFound      protowire.Number = 1 // LookupResponse.found
	fieldResults    protowire.Number = 2 // QueryResultBatch.entity_results
	fieldEntity     protowire.Number = 1 // EntityResult.entity
	fieldCursor     protowire.Number = 3 // EntityResult.cursor
	fieldKey        protowire.Number = 1 // Entity.key
	fieldProperties protowire.Number = 3 // Entity.properties
	fieldMapKey     protowire.Number = 1
	fieldMapValue   protowire.Number = 2
)

// appendResult appends an EntityResult as the given field: the entity, or what
// a mask leaves of it, and the cursor if there is one.
func appendResult(dst []byte, field protowire.Number, e *storage.Entity, mask *mask, cursor []byte) ([]byte, error) {
	body := e.Body()
	if mask != nil {
		m, err := e.Decode()
		if err != nil {
			return nil, err
		}
		if body, err = proto.Marshal(mask.apply(m)); err != nil {
			return nil, err
		}
	}
	dst = appendHead(dst, field, resultSize(body, e), cursor)
	dst = appendField(dst, fieldEntity, body)
	return appendCursor(e.AppendTimes(dst), cursor), nil
}

// resultSize is the size of an EntityResult with this body, without a cursor.
func resultSize(body []byte, e *storage.Entity) int {
	return protowire.SizeTag(fieldEntity) + protowire.SizeBytes(len(body)) + e.TimesSize()
}

// appendWithCursor appends an EntityResult that is there but for its cursor.
func appendWithCursor(dst []byte, field protowire.Number, result, cursor []byte) []byte {
	dst = appendHead(dst, field, len(result), cursor)
	return appendCursor(append(dst, result...), cursor)
}

// appendHead begins a field that holds so many bytes and the cursor.
func appendHead(dst []byte, field protowire.Number, n int, cursor []byte) []byte {
	if len(cursor) > 0 {
		n += protowire.SizeTag(fieldCursor) + protowire.SizeBytes(len(cursor))
	}
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	return protowire.AppendVarint(dst, uint64(n))
}

func appendCursor(dst, cursor []byte) []byte {
	if len(cursor) > 0 {
		dst = appendField(dst, fieldCursor, cursor)
	}
	return dst
}

func appendField[T string | []byte](dst []byte, field protowire.Number, b T) []byte {
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(len(b)))
	return append(dst, b...)
}

var errStored = errors.New("a stored entity does not begin with its key")

// keyField returns the key of a stored entity as a field of Entity.
func keyField(e *storage.Entity) ([]byte, error) {
	body := e.Body()
	number, kind, n := protowire.ConsumeTag(body)
	if n < 0 || number != fieldKey || kind != protowire.BytesType {
		return nil, errStored
	}
	m := protowire.ConsumeFieldValue(number, kind, body[n:])
	if m < 0 {
		return nil, errStored
	}
	return body[:n+m], nil
}

// appendProperty appends a property to the wire form of an Entity.
func appendProperty(dst []byte, name string, v *pb.Value) ([]byte, error) {
	value, err := proto.Marshal(v)
	if err != nil {
		return nil, err
	}
	entry := appendField(make([]byte, 0, len(name)+len(value)+12), fieldMapKey, name)
	return appendField(dst, fieldProperties, appendField(entry, fieldMapValue, value)), nil
}
