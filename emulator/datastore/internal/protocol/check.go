package protocol

import (
	"encoding/base64"
	"regexp"
	"strings"
	"unicode/utf8"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/texts"
)

const (
	maxPath = 100
	maxName = 1500    // bytes of a kind, name or property name
	maxKey  = 6 << 10 // bytes of a key's wire form
)

// dimension is what project, database and namespace identifiers are made of.
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

// validProject allows a domain as a prefix as well, as production does.
func validProject(s string) bool { return validDimension(strings.ReplaceAll(s, ":", "-")) }

const maxPartition = 100

var reserved = regexp.MustCompile(`^__.*__$`)

// partition is the project and database that a request names.
type partition struct{ project, database string }

func (p partition) check() error {
	switch {
	case p.project == "":
		return invalid("The app id is the empty string.")
	case !validProject(p.project):
		return invalid("Illegal string %q in app id.", p.project)
	case p.database == "(default)":
		return invalid("%q is an invalid database id.", p.database)
	case !validDimension(p.database):
		return invalid("%q is an invalid database id.", p.database)
	}
	return nil
}

// adopt fills in what a partition leaves open and checks the rest. One that is
// only referred to may be reserved.
func (p partition) adopt(id *pb.PartitionId, referred bool) (*pb.PartitionId, error) {
	if id == nil {
		id = &pb.PartitionId{}
	}
	database := id.DatabaseId
	if database == "" && id.ProjectId == "" {
		database = p.database // a partition that names the project names its default database
	}
	switch {
	case id.ProjectId != "" && !validProject(id.ProjectId):
		return nil, invalid("%q is an invalid project id.", texts.Quote(id.ProjectId))
	case !validDimension(id.DatabaseId):
		return nil, invalid("Illegal string %q in database id.", texts.Quote(id.DatabaseId))
	case !validDimension(id.NamespaceId):
		return nil, invalid("Illegal string %q in namespace id.", texts.Quote(id.NamespaceId))
	case !referred && isReserved(id.NamespaceId):
		return nil, invalid("The namespace id %q is reserved.", id.NamespaceId)
	case id.ProjectId != "" && id.ProjectId != p.project:
		return nil, invalid("mismatched databases within request: %s vs. %s",
			databaseName(id.ProjectId, id.DatabaseId), databaseName(p.project, p.database))
	case database != p.database:
		return nil, invalid("mismatched databases within request: %s vs. %s",
			databaseName(p.project, p.database), databaseName(id.ProjectId, id.DatabaseId))
	}
	id.ProjectId, id.DatabaseId = p.project, p.database
	return id, nil
}

func databaseName(project, database string) string {
	if database == "" {
		return "<unknown!>~" + project
	}
	return "<unknown!>~" + project + "#" + database
}

// key checks k, fills in its partition and says whether it is complete. Every
// element but the last must have an identifier.
func (p partition) key(k *pb.Key) (complete bool, err error) { return p.anyKey(k, false) }

// anyKey is key; a key that is only referred to may have reserved names.
func (p partition) anyKey(k *pb.Key, referred bool) (complete bool, err error) {
	if k == nil || len(k.Path) == 0 {
		return false, invalid("Key path is empty.")
	}
	if k.PartitionId, err = p.adopt(k.PartitionId, referred); err != nil {
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
