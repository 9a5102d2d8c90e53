package service

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/mask"
)

const maxPaths = 1000 // of a mask

// An Update is what the message and the mask of an update ask for.
type Update struct {
	from  proto.Message
	paths []string
}

// NewUpdate checks the mask. An empty one, or *, names all of settable: the
// fields, in the order of taking them over, that clients may change. Others that
// the message has may be named and are ignored.
func NewUpdate(from proto.Message, fields *fieldmaskpb.FieldMask, settable ...string) (*Update, error) {
	paths := fields.GetPaths()
	if len(paths) == 0 || len(paths) == 1 && paths[0] == "*" {
		return &Update{from, settable}, nil
	}
	if err := checkPaths("update", paths, from); err != nil {
		return nil, err
	}
	u := &Update{from: from}
	for _, path := range paths {
		first, _, _ := strings.Cut(path, ".")
		if slices.Contains(settable, first) {
			u.paths = append(u.paths, path)
		}
	}
	return u, nil
}

// Apply takes the fields of the mask over into a message of the same type.
func (u *Update) Apply(to proto.Message) {
	for _, path := range u.paths {
		mask.Copy(to.ProtoReflect(), proto.Clone(u.from).ProtoReflect(), strings.Split(path, "."))
	}
}

// Names reports whether the mask has just this path.
func (u *Update) Names(path string) bool { return slices.Contains(u.paths, path) }

// Add lets the mask name one more path.
func (u *Update) Add(path string) { u.paths = append(u.paths, path) }

// sets reports whether the mask covers a path that the message has a value for.
func (u *Update) sets(path string) bool {
	covered := slices.ContainsFunc(u.paths, func(p string) bool {
		return p == path || strings.HasPrefix(path, p+".")
	})
	m := u.from.ProtoReflect()
	for name := range strings.SplitSeq(path, ".") {
		field := m.Descriptor().Fields().ByName(protoreflect.Name(name))
		if field == nil || !m.Has(field) {
			return false
		}
		if field.Message() != nil {
			m = m.Get(field).Message()
		}
	}
	return covered
}

// Select returns a message of m's type with the fields of a read mask. All
// fields but except are selected when there is no mask, or by *.
func Select[M proto.Message](m M, fields *fieldmaskpb.FieldMask, except protoreflect.Name) M {
	if fields == nil || len(fields.GetPaths()) == 0 {
		fields = &fieldmaskpb.FieldMask{Paths: []string{"*"}}
	}
	from := m.ProtoReflect()
	to := from.New()
	for _, path := range fields.GetPaths() {
		if path != "*" {
			mask.Copy(to, from, strings.Split(path, "."))
			continue
		}
		from.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			if f.Name() != except {
				to.Set(f, v)
			}
			return true
		})
	}
	selected, _ := to.Interface().(M)
	return selected
}

// CheckRead checks a read mask for messages of a type, and reports whether it
// names a field, or a part of it.
func CheckRead(fields *fieldmaskpb.FieldMask, of proto.Message, field string) (named bool, err error) {
	paths := slices.DeleteFunc(slices.Clone(fields.GetPaths()), func(path string) bool { return path == "*" })
	if err := checkPaths("read", paths, of); err != nil {
		return false, err
	}
	return slices.ContainsFunc(paths, func(path string) bool {
		return path == field || strings.HasPrefix(path, field+".")
	}), nil
}

func checkPaths(kind string, paths []string, of proto.Message) error {
	if len(paths) > maxPaths {
		return Invalid("The %s mask names %d fields; the most is %d.", kind, len(paths), maxPaths)
	}
	for _, path := range paths {
		if !mask.Known(of.ProtoReflect().Descriptor(), strings.Split(path, ".")) {
			return Invalid("The %s mask names %q, which is not a field of a %s.", kind, path, strings.ToLower(string(of.ProtoReflect().Descriptor().Name())))
		}
	}
	return nil
}
