package statistics

import (
	"strings"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// IsKind reports whether a kind is one of statistics.
func IsKind(kind string) bool {
	return strings.HasPrefix(kind, "__Stat_") && strings.HasSuffix(kind, "__")
}

// totalName is the name of the entities of __Stat_Total__ and __Stat_Ns_Total__.
const totalName = "total_entity_usage"

// table gathers statistics by their keys.
type table struct {
	at   *pb.Value // the timestamp of all
	rows map[subject]*row
}

type subject struct{ namespace, kind, name string }

type row struct {
	figures
	parts  parts
	labels []string // names and values, in turn
}

// parts is which sizes a statistic has beside its entities'.
type parts uint8

const (
	plain     parts = 0
	builtin   parts = 1 << 0
	composite parts = 1 << 1
	entries   parts = 1 << 2 // of an index, and nothing else
)

func (t *table) add(namespace, kind, name string, p parts, f figures, labels ...string) {
	at := subject{namespace, kind, name}
	r := t.rows[at]
	if r == nil {
		r = &row{parts: p, labels: labels}
		t.rows[at] = r
	}
	r.add(f)
}

// both adds to the statistic of the whole database and, if namespaces are in
// use, to the one of a namespace.
func (t *table) both(namespaces bool, namespace, kind, name string, p parts, f figures, labels ...string) {
	t.add("", "__Stat_"+kind+"__", name, p, f, labels...)
	if namespaces {
		t.add(namespace, "__Stat_Ns_"+kind+"__", name, p, f, labels...)
	}
}

// build sums up the collection to all statistics there are.
func (c *collection) build(project, database string, now time.Time) []*pb.Entity {
	namespaces := false
	for at := range c.kinds {
		namespaces = namespaces || at.namespace != ""
	}
	t := table{rows: map[subject]*row{}, at: &pb.Value{ValueType: &pb.Value_TimestampValue{
		TimestampValue: timestamppb.New(now.Truncate(time.Microsecond))}}}
	for at, f := range c.kinds {
		t.both(namespaces, at.namespace, "Total", totalName, builtin|composite, f)
		t.add("", "__Stat_Namespace__", at.namespace, builtin|composite, f, "subject_namespace", at.namespace)
		t.both(namespaces, at.namespace, "Kind", at.kind, builtin|composite, f, "kind_name", at.kind)
		root := "Kind_NotRootEntity"
		if at.root {
			root = "Kind_IsRootEntity"
		}
		f.builtinBytes, f.builtinCount, f.compositeBytes, f.compositeCount = 0, 0, 0, 0
		t.both(namespaces, at.namespace, root, at.kind, plain, f, "kind_name", at.kind)
	}
	for at, f := range c.properties {
		typ, name, kind := []string{"property_type", at.typ}, []string{"property_name", at.property}, []string{"kind_name", at.kind}
		add := func(stat, id string, labels ...[]string) {
			var all []string
			for _, l := range labels {
				all = append(all, l...)
			}
			t.both(namespaces, at.namespace, stat, id, builtin, f, all...)
		}
		add("PropertyType", at.typ, typ)
		add("PropertyType_Kind", at.typ+"_"+at.kind, typ, kind)
		add("PropertyName_Kind", at.property+"_"+at.kind, name, kind)
		add("PropertyType_PropertyName_Kind", at.typ+"_"+at.property+"_"+at.kind, typ, name, kind)
		if f.builtinCount > 0 {
			one := figures{count: f.builtinCount / 2, builtinBytes: f.builtinBytes / 2}
			for _, mode := range []string{"ASC", "DESC"} {
				t.add("", "__Stat_Kind_BuiltinIndex__", at.kind+"_"+at.property+"_"+mode, entries, one,
					"kind_name", at.kind, "property_name", at.property, "api_scope", "Datastore", "query_scope", "COLLECTION_GROUP", "value_mode", mode)
			}
		}
	}
	for at, f := range c.composites {
		t.both(namespaces, at.namespace, "Kind_CompositeIndex", at.kind+"_"+at.definition, entries, f, "kind_name", at.kind)
	}
	all := make([]*pb.Entity, 0, len(t.rows))
	for at, r := range t.rows {
		all = append(all, t.entity(at, r, &pb.PartitionId{ProjectId: project, DatabaseId: database, NamespaceId: at.namespace}))
	}
	return all
}

func (t *table) entity(at subject, r *row, id *pb.PartitionId) *pb.Entity {
	element := &pb.Key_PathElement{Kind: at.kind, IdType: &pb.Key_PathElement_Name{Name: at.name}}
	if at.name == "" { // the default namespace
		element.IdType = &pb.Key_PathElement_Id{Id: 1}
	}
	e := &pb.Entity{Key: &pb.Key{PartitionId: id, Path: []*pb.Key_PathElement{element}}, Properties: map[string]*pb.Value{"timestamp": t.at}}
	number := func(name string, n int64) {
		e.Properties[name] = &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: n}}
	}
	number("count", r.count)
	number("bytes", r.bytes())
	if r.parts != entries {
		number("entity_bytes", r.entityBytes)
	}
	if r.parts&builtin != 0 {
		number("builtin_index_bytes", r.builtinBytes)
		number("builtin_index_count", r.builtinCount)
	}
	if r.parts&composite != 0 {
		number("composite_index_bytes", r.compositeBytes)
		number("composite_index_count", r.compositeCount)
	}
	for i := 0; i < len(r.labels); i += 2 {
		e.Properties[r.labels[i]] = &pb.Value{ValueType: &pb.Value_StringValue{StringValue: r.labels[i+1]}}
	}
	return e
}
