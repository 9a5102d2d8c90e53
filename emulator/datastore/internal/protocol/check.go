package protocol

import (
	"encoding/base64"
	"math"
	"regexp"
	"strings"
	"unicode/utf8"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/texts"
)

const (
	maxPath        = 100
	maxName        = 1500 // bytes of a kind, name or property name
	maxIndexed     = 1500 // bytes of an indexed string or blob
	maxNesting     = 20
	maxKey         = 6 << 10 // bytes of a key's wire form
	maxLookup      = 1000    // keys of one lookup
	minTime        = -62135596800
	maxTime        = 253402300799
	meaningIndexed = 18 // a value that came out of an index
)

// dimension is what project, database and namespace identifiers are made of.
// Production allows a domain prefix in project identifiers as well.
func validDimension(s string) bool {
	if len(s) > maxPartition {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

const maxPartition = 100

var reserved = regexp.MustCompile(`^__.*__$`)

// partition is the project and database that a request names.
type partition struct{ project, database string }

func (p partition) check() error {
	switch {
	case p.project == "":
		return invalid("The app id is the empty string.")
	case len(p.project) > maxPartition || !validDimension(strings.ReplaceAll(p.project, ":", "-")):
		return invalid("Illegal string %q in app id.", p.project)
	case p.database == "(default)":
		return invalid("%q is an invalid database id.", p.database)
	case !validDimension(p.database):
		return invalid("%q is an invalid database id.", p.database)
	}
	return nil
}

// adopt fills in what a partition leaves open and checks the rest.
func (p partition) adopt(id *pb.PartitionId) (*pb.PartitionId, error) {
	if id == nil {
		id = &pb.PartitionId{}
	}
	if id.ProjectId == "" {
		id.ProjectId = p.project
	}
	if id.DatabaseId == "" {
		id.DatabaseId = p.database
	}
	switch {
	case id.DatabaseId == "(default)":
		return nil, invalid("%q is an invalid database id.", id.DatabaseId)
	case id.ProjectId != p.project || id.DatabaseId != p.database:
		return nil, invalid("mismatched databases within request: %s vs. %s",
			databaseName(id.ProjectId, id.DatabaseId), databaseName(p.project, p.database))
	case !validDimension(id.NamespaceId):
		return nil, invalid("Illegal string %q in namespace id.", id.NamespaceId)
	}
	return id, nil
}

func databaseName(project, database string) string {
	if database == "" {
		return "<unknown!>~" + project
	}
	return "<unknown!>~" + project + "~" + database
}

// key checks k, fills in its partition and says whether it is complete. Every
// element but the last must have an identifier.
func (p partition) key(k *pb.Key) (complete bool, err error) { return p.anyKey(k, false) }

// anyKey is key; a key that is only referred to may have reserved names.
func (p partition) anyKey(k *pb.Key, referred bool) (complete bool, err error) {
	if k == nil || len(k.Path) == 0 {
		return false, invalid("Key path is empty.")
	}
	if k.PartitionId, err = p.adopt(k.PartitionId); err != nil {
		return false, err
	}
	if len(k.Path) > maxPath {
		return false, invalid("Key path is too long. Cannot exceed %d elements.", maxPath)
	}
	size := 0
	for i, e := range k.Path {
		if e.Kind, err = pathName("The kind", "kind", e.GetKind(), referred); err != nil {
			return false, err
		}
		size += len(e.GetKind())
		switch id := e.GetIdType().(type) {
		case *pb.Key_PathElement_Id:
			if id.Id == 0 {
				return false, invalid("Key path id is invalid. Must not be zero.")
			}
		case *pb.Key_PathElement_Name:
			if id.Name, err = pathName("The key path element name", "key path element name", id.Name, referred); err != nil {
				return false, err
			}
			size += len(id.Name)
		default:
			if i < len(k.Path)-1 {
				return false, incomplete(k)
			}
		}
	}
	if size > maxKey {
		return false, invalid("The key is longer than %d bytes.", maxKey)
	}
	return k.Path[len(k.Path)-1].GetIdType() != nil, nil
}

// completeKey checks k and that it names an entity.
func (p partition) completeKey(k *pb.Key) error {
	complete, err := p.key(k)
	if err == nil && !complete {
		err = incomplete(k)
	}
	return err
}

// readKey is completeKey for a key that is only read: a reserved one names
// nothing that is stored, or an entity of metadata.
func (p partition) readKey(k *pb.Key) error {
	complete, err := p.anyKey(k, true)
	if err == nil && !complete {
		err = incomplete(k)
	}
	return err
}

func incomplete(k *pb.Key) error {
	return invalid("Key path element must not be incomplete: %s", pathText(k))
}

// pathText renders a path as production does: [A: 1, B: x].
func pathText(k *pb.Key) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, e := range k.GetPath() {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(e.GetKind() + ": " + identifier(e))
	}
	b.WriteByte(']')
	return b.String()
}

// pathName checks a kind or a name of a key and returns it as it is stored.
// Names of old that are not UTF-8 come in base64; both with and without padding
// they are one name. what begins the errors, except those of such names.
func pathName(what, short, name string, referred bool) (string, error) {
	if encoded, ok := legacyName(name); ok {
		b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(encoded, "="))
		switch {
		case err != nil:
			return "", invalid("Invalid %s %q: not base64 encoded.", short, texts.Quote(name))
		case utf8.Valid(b):
			return "", invalid("Invalid %s %q: valid UTF-8 bytes encoded as non-UTF-8.", short, texts.Quote(name))
		case len(b) > maxName:
			return "", invalid("%s is longer than %d bytes.", what, maxName)
		}
		return legacyPrefix + base64.URLEncoding.EncodeToString(b) + reservedMark, nil
	}
	err := checkName(what, name)
	if err != nil && referred && isReserved(name) && len(name) <= maxName {
		err = nil
	}
	return name, err
}

const (
	reservedMark = "__"
	legacyPrefix = reservedMark + "bytes"
)

func legacyName(name string) (encoded string, ok bool) {
	rest, ok := strings.CutPrefix(name, legacyPrefix)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, reservedMark)
}

func isReserved(name string) bool {
	return strings.HasPrefix(name, reservedMark) && reserved.MatchString(name)
}

// checkName checks a kind, a name or a property name.
func checkName(what, name string) error {
	switch {
	case name == "":
		return invalid("%s is the empty string.", what)
	case len(name) > maxName:
		return invalid("%s is longer than %d bytes.", what, maxName)
	case !utf8.ValidString(name):
		return invalid("%s is not valid UTF-8.", what)
	case isReserved(name):
		return invalid("%s %q is reserved.", what, name)
	}
	return nil
}

// properties checks the properties of an entity and brings their values into
// the form in which they are stored: times in whole microseconds.
func (p partition) properties(props map[string]*pb.Value, depth int, unindexed bool) error {
	if depth > maxNesting {
		return invalid("At most %d nested entity values are supported.", maxNesting)
	}
	for name, v := range props {
		if err := checkName("The property.name", name); err != nil {
			return err
		}
		if err := p.value(name, v, depth, unindexed, false); err != nil {
			return err
		}
	}
	return nil
}

func (p partition) value(name string, v *pb.Value, depth int, unindexed, inArray bool) error {
	unindexed = unindexed || v.GetExcludeFromIndexes()
	if v.GetMeaning() == meaningIndexed {
		return invalid("Projection property cannot be used.")
	}
	switch t := v.GetValueType().(type) {
	case nil:
		return invalid("The value %q does not contain a value.", name)
	case *pb.Value_StringValue:
		if err := checkLength(name, len(t.StringValue), unindexed); err != nil {
			return err
		}
	case *pb.Value_BlobValue:
		if err := checkLength(name, len(t.BlobValue), unindexed); err != nil {
			return err
		}
	case *pb.Value_TimestampValue:
		ts := t.TimestampValue
		if ts.GetSeconds() < minTime || ts.GetSeconds() > maxTime {
			return invalid("Timestamp seconds exceeds limit for field")
		}
		if ts.GetNanos() < 0 || ts.GetNanos() > 999_999_999 {
			return invalid("Timestamp nanos exceeds limit for field")
		}
		if ts != nil {
			ts.Nanos -= ts.Nanos % 1000
		}
	case *pb.Value_GeoPointValue:
		lat, lng := t.GeoPointValue.GetLatitude(), t.GeoPointValue.GetLongitude()
		if !(math.Abs(lat) <= 90) {
			return invalid("Geo point latitude outside permitted range -90.0 to 90.0.")
		}
		if !(math.Abs(lng) <= 180) {
			return invalid("Geo point longitude outside permitted range -180.0 to 180.0.")
		}
	case *pb.Value_KeyValue:
		if err := p.keyValue(t.KeyValue); err != nil {
			return err
		}
	case *pb.Value_EntityValue:
		if k := t.EntityValue.GetKey(); k != nil {
			if _, err := p.foreignKey(k); err != nil {
				return err
			}
		}
		return p.properties(t.EntityValue.GetProperties(), depth+1, unindexed)
	case *pb.Value_ArrayValue:
		switch {
		case inArray:
			return invalid("list_value cannot contain a Value containing another list_value.")
		case v.GetMeaning() == meaningVector:
			return checkVector(v)
		case v.GetMeaning() != 0:
			return invalid("A Value containing a list_value cannot specify a meaning.")
		case v.GetExcludeFromIndexes():
			return invalid("Exclude from indexes cannot be set on a list value")
		}
		for _, elem := range t.ArrayValue.GetValues() {
			if err := p.value(name, elem, depth, unindexed, true); err != nil {
				return err
			}
		}
		return nil
	}
	if v.GetMeaning() == meaningVector {
		return invalid("Value %q has a meaning %d which does not match vector field.", texts.Quote(name), meaningVector)
	}
	return nil
}

const meaningVector = 31

// checkVector checks an array that is a vector: its elements have nothing but
// their numbers, so what else they carry is dropped.
func checkVector(v *pb.Value) error {
	values := v.GetArrayValue().GetValues()
	switch {
	case !v.GetExcludeFromIndexes():
		return invalid("Vector's must be excluded from indexes.")
	case len(values) == 0:
		return invalid("Cannot have a zero length vector.")
	case len(values) > maxDimensions:
		return invalid("Vectors must be at most %d dimensions.", maxDimensions)
	}
	for _, elem := range values {
		d, ok := elem.GetValueType().(*pb.Value_DoubleValue)
		switch {
		case !ok:
			return invalid("Vector must only contain values of type 'double'.")
		case math.IsNaN(d.DoubleValue):
			return invalid("Vector cannot contain NaN values.")
		}
		elem.Meaning, elem.ExcludeFromIndexes = 0, false
	}
	return nil
}

func checkLength(name string, n int, unindexed bool) error {
	limit := maxIndexed
	if unindexed {
		limit = storedLimit
	}
	if n > limit {
		return invalid("The value of property %q is longer than %d bytes.", name, limit)
	}
	return nil
}

// storedLimit is what production documents for unindexed values; the proto
// says 1,000,000, which both of Google's emulators exceed.
const storedLimit = 1_048_487

// keyValue checks a key that is a property's value: it must be complete.
func (p partition) keyValue(k *pb.Key) error {
	complete, err := p.foreignKey(k)
	if err == nil && !complete {
		err = incomplete(k)
	}
	return err
}

// foreignKey checks a key inside a property, that of an entity value among
// them: it may belong to another database and have reserved names.
func (p partition) foreignKey(k *pb.Key) (complete bool, err error) {
	own := p
	if id := k.GetPartitionId(); id.GetProjectId() != "" {
		own = partition{id.GetProjectId(), id.GetDatabaseId()}
	}
	return own.anyKey(k, true)
}
