package conformance_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// A term is something that a server makes up.
type term struct {
	kind  string // id, transaction, cursor or version
	value any
}

// dictionary has our value for each of production's terms.
type dictionary map[term]any

// translate replaces production's terms in a message by ours. Those that are
// unknown stay: tests make up identifiers, too.
func (d dictionary) translate(m proto.Message) {
	for _, p := range terms(m.ProtoReflect()) {
		if ours, ok := d[p.term()]; ok {
			p.message.Set(p.field, protoreflect.ValueOf(ours))
		}
	}
}

// sort brings the entities of a lookup into the order of our keys: theirs is
// undefined, says the API.
func (d dictionary) sort(answer proto.Message) {
	lookup, ok := answer.(*pb.LookupResponse)
	if !ok {
		return
	}
	key := func(r *pb.EntityResult) string {
		k := proto.CloneOf(r.GetEntity().GetKey())
		d.translate(k)
		return prototext.Format(k)
	}
	for _, results := range [][]*pb.EntityResult{lookup.Found, lookup.Missing} {
		slices.SortFunc(results, func(a, b *pb.EntityResult) int { return cmp.Compare(key(a), key(b)) })
	}
}

// learn adds the terms that stand at the same places in both answers. Two
// terms of production's must not become one of ours, cursors excepted: several
// may stand for one position.
func (d dictionary) learn(method string, theirs, ours proto.Message) error {
	a, b := terms(theirs.ProtoReflect()), terms(ours.ProtoReflect())
	if len(a) != len(b) {
		return nil // then the answers differ, which is for the caller to say
	}
	for i := range a {
		from, to := a[i].term(), b[i].term()
		if _, known := d[from]; known || from.kind != to.kind {
			continue
		}
		if from.kind == "id" && !strings.HasSuffix(method, "/Commit") && !strings.HasSuffix(method, "/AllocateIds") {
			continue // nobody else makes up identifiers
		}
		for other, known := range d {
			if from.kind != "cursor" && other.kind == from.kind && plain(known) == to.value {
				return fmt.Errorf("%v is our %s for both %v and %v of production's", to.value, from.kind, from.value, other.value)
			}
		}
		d[from] = b[i].message.Get(b[i].field).Interface()
	}
	return nil
}

// A place is where a message has a term.
type place struct {
	message protoreflect.Message
	field   protoreflect.FieldDescriptor
	kind    string
}

func (p place) term() term {
	return term{p.kind, plain(p.message.Get(p.field).Interface())}
}

// plain makes bytes comparable.
func plain(v any) any {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	return v
}

// terms lists the places of the terms in m, always in the same order.
func terms(m protoreflect.Message) (places []place) {
	type value struct {
		field protoreflect.FieldDescriptor
		value protoreflect.Value
	}
	var values []value
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		values = append(values, value{f, v})
		return true
	})
	slices.SortFunc(values, func(a, b value) int { return cmp.Compare(a.field.Number(), b.field.Number()) })
	for _, v := range values {
		f := v.field
		if kind := kindOf(f); kind != "" {
			places = append(places, place{m, f, kind})
			continue
		}
		switch {
		case f.IsMap() && f.MapValue().Message() != nil:
			var names []protoreflect.MapKey
			v.value.Map().Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
				names = append(names, k)
				return true
			})
			slices.SortFunc(names, func(a, b protoreflect.MapKey) int { return cmp.Compare(a.String(), b.String()) })
			for _, name := range names {
				places = append(places, terms(v.value.Map().Get(name).Message())...)
			}
		case f.IsList() && f.Message() != nil:
			for i := range v.value.List().Len() {
				places = append(places, terms(v.value.List().Get(i).Message())...)
			}
		case f.Message() != nil && !f.IsMap():
			places = append(places, terms(v.value.Message())...)
		}
	}
	return places
}

func kindOf(f protoreflect.FieldDescriptor) string {
	switch name := string(f.Name()); {
	case f.FullName() == "google.datastore.v1.Key.PathElement.id":
		return "id"
	case strings.HasSuffix(name, "transaction") && f.Kind() == protoreflect.BytesKind:
		return "transaction"
	case strings.HasSuffix(name, "cursor") && f.Kind() == protoreflect.BytesKind:
		return "cursor"
	case strings.HasSuffix(name, "version") && f.Kind() == protoreflect.Int64Kind:
		return "version"
	}
	return ""
}
