package export

import (
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// The messages of an export, by their field numbers. The meanings tell apart
// what the present API has types for.
const (
	entityKey         = 13 // Reference
	entityProperty    = 14
	entityRawProperty = 15 // not indexed
	entityGroup       = 16 // Path: the root of the key

	referenceApp       = 13
	referencePath      = 14 // Path
	referenceNamespace = 20

	pathElement  = 1 // group
	elementKind  = 2
	elementID    = 3
	elementName  = 4
	propMeaning  = 1
	propURI      = 2 // of the meaning
	propName     = 3
	propMultiple = 4
	propValue    = 5 // PropertyValue

	valueInt       = 1
	valueBool      = 2
	valueString    = 3
	valueDouble    = 4
	valuePoint     = 5 // group
	pointX         = 6
	pointY         = 7
	valueUser      = 8  // group
	valueReference = 12 // group

	refPathElement = 14 // group
	refKind        = 15
	refID          = 16
	refName        = 17

	userEmail      = 9
	userAuthDomain = 10
	userGaia       = 18
	userID         = 19
	userIdentity   = 21
	userProvider   = 22

	meaningNone       = 0
	meaningTime       = 7
	meaningPoint      = 9
	meaningBlob       = 14
	meaningText       = 15
	meaningBytes      = 16 // of up to 1500 bytes, indexed
	meaningIndexValue = 18
	meaningEntity     = 19
	meaningUser       = 20 // of the API only
	meaningZlib       = 22 // of the API only
	meaningPlainPoint = 23 // of the API only
	meaningEmptyList  = 24
	meaningVector     = 31

	uriZlib = "ZLIB"
)

// A field of a message: a number or, of strings, messages and groups, bytes.
type field struct {
	number  protowire.Number
	wire    protowire.Type
	integer uint64 // also the bits of a double
	bytes   []byte
}

// fields calls f with each field of a message until it fails.
func fields(message []byte, f func(field) error) error {
	for len(message) > 0 {
		number, wire, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		v := field{number: number, wire: wire}
		switch wire {
		case protowire.VarintType:
			v.integer, n = protowire.ConsumeVarint(message)
		case protowire.Fixed64Type:
			v.integer, n = protowire.ConsumeFixed64(message)
		case protowire.Fixed32Type:
			_, n = protowire.ConsumeFixed32(message)
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(message)
		case protowire.StartGroupType:
			v.bytes, n = protowire.ConsumeGroup(number, message)
		default:
			return fmt.Errorf("field %d has wire type %d", number, wire)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		if err := f(v); err != nil {
			return err
		}
	}
	return nil
}

func (f field) is(number protowire.Number, wire protowire.Type) bool {
	return f.number == number && f.wire == wire
}

// text is the field as a string of the present API, which is UTF-8.
func (f field) text(dst *string) error {
	if !utf8.Valid(f.bytes) {
		return fmt.Errorf("%q is not UTF-8", cut(f.bytes))
	}
	*dst = string(f.bytes)
	return nil
}

// cut keeps quotations in errors short.
func cut(b []byte) []byte { return b[:min(len(b), 100)] }
