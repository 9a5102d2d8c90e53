package datastore_test

import (
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"pgregory.net/rapid"
)

// generator draws requests over a small world, so that they meet each other.
type generator struct {
	*rapid.T
	namespace string
	arrays    bool
}

func pick[T any](g *generator, label string, from ...T) T {
	return rapid.SampledFrom(from).Draw(g.T, label)
}

func (g *generator) partition() *pb.PartitionId {
	return &pb.PartitionId{ProjectId: project, NamespaceId: g.namespace}
}

func (g *generator) key() *pb.Key {
	k := &pb.Key{PartitionId: g.partition()}
	if rapid.IntRange(0, 2).Draw(g.T, "child") == 0 {
		k.Path = append(k.Path, g.element("A"))
	}
	k.Path = append(k.Path, g.element(pick(g, "kind", "A", "A", "B")))
	return k
}

func (g *generator) element(kind string) *pb.Key_PathElement {
	e := &pb.Key_PathElement{Kind: kind}
	if rapid.Bool().Draw(g.T, "named") {
		e.IdType = &pb.Key_PathElement_Name{Name: pick(g, "name", "a", "B", "aa", "é")}
	} else {
		e.IdType = &pb.Key_PathElement_Id{Id: pick[int64](g, "id", 1, 2, 10, -3)}
	}
	return e
}

func (g *generator) commit() *pb.CommitRequest {
	req := &pb.CommitRequest{ProjectId: project, Mode: pb.CommitRequest_TRANSACTIONAL,
		TransactionSelector: &pb.CommitRequest_SingleUseTransaction{SingleUseTransaction: &pb.TransactionOptions{
			Mode: &pb.TransactionOptions_ReadWrite_{ReadWrite: &pb.TransactionOptions_ReadWrite{}}}}}
	for range rapid.IntRange(1, 4).Draw(g.T, "mutations") {
		m := &pb.Mutation{}
		switch rapid.IntRange(0, 7).Draw(g.T, "op") {
		case 0:
			m.Operation = &pb.Mutation_Insert{Insert: g.entity()}
		case 1:
			m.Operation = &pb.Mutation_Update{Update: g.entity()}
		case 2:
			m.Operation = &pb.Mutation_Delete{Delete: g.key()}
		default:
			m.Operation = &pb.Mutation_Upsert{Upsert: g.entity()}
		}
		req.Mutations = append(req.Mutations, m)
	}
	return req
}

func (g *generator) entity() *pb.Entity {
	e := &pb.Entity{Key: g.key(), Properties: map[string]*pb.Value{}}
	for _, name := range []string{"p", "q", "r"} {
		if rapid.IntRange(0, 3).Draw(g.T, "has") > 0 {
			e.Properties[name] = g.value(true)
		}
	}
	return e
}

func (g *generator) value(top bool) *pb.Value {
	v := g.scalar()
	if top {
		switch rapid.IntRange(0, 9).Draw(g.T, "shape") {
		case 0:
			v = &pb.Value{ValueType: &pb.Value_EntityValue{EntityValue: &pb.Entity{Properties: map[string]*pb.Value{"x": g.scalar()}}}}
		case 1:
			v.ExcludeFromIndexes = true
		case 2, 3:
			if g.arrays {
				a := &pb.ArrayValue{}
				for range rapid.IntRange(0, 3).Draw(g.T, "length") {
					a.Values = append(a.Values, g.scalar())
				}
				v = &pb.Value{ValueType: &pb.Value_ArrayValue{ArrayValue: a}}
			}
		}
	}
	return v
}

func (g *generator) scalar() *pb.Value {
	v := &pb.Value{}
	switch rapid.IntRange(0, 10).Draw(g.T, "type") {
	case 0:
		v.ValueType = &pb.Value_NullValue{NullValue: structpb.NullValue_NULL_VALUE}
	case 1:
		v.ValueType = &pb.Value_BooleanValue{BooleanValue: rapid.Bool().Draw(g.T, "bool")}
	case 2:
		v.ValueType = &pb.Value_DoubleValue{DoubleValue: pick(g, "double", -1.5, 0, 1, 2.5, 1e300)}
	case 3:
		v.ValueType = &pb.Value_TimestampValue{TimestampValue: &timestamppb.Timestamp{Nanos: pick[int32](g, "µs", 0, 1000, 2000, 2999)}}
	case 4:
		v.ValueType = &pb.Value_BlobValue{BlobValue: []byte(pick(g, "blob", "", "a", "\x00", "\xff"))}
	case 5:
		v.ValueType = &pb.Value_GeoPointValue{GeoPointValue: &latlng.LatLng{Latitude: pick(g, "lat", -1.0, 0, 1), Longitude: pick(g, "lng", -2.0, 2)}}
	case 6:
		v.ValueType = &pb.Value_KeyValue{KeyValue: g.key()}
	case 7:
		v.ValueType = &pb.Value_StringValue{StringValue: pick(g, "string", "", "a", "b", "aa", "a\x00", "é")}
	default:
		v.ValueType = &pb.Value_IntegerValue{IntegerValue: pick[int64](g, "int", -2, 0, 1, 2, 1<<40)}
	}
	return v
}

func (g *generator) query() *pb.RunQueryRequest {
	q := &pb.Query{}
	kind := pick(g, "query kind", "A", "A", "A", "B", "")
	var filters []*pb.Filter
	add := func(name string, op pb.PropertyFilter_Operator, v *pb.Value) {
		filters = append(filters, &pb.Filter{FilterType: &pb.Filter_PropertyFilter{PropertyFilter: &pb.PropertyFilter{
			Property: &pb.PropertyReference{Name: name}, Op: op, Value: v}}})
	}
	keyValue := func() *pb.Value { return &pb.Value{ValueType: &pb.Value_KeyValue{KeyValue: g.key()}} }
	inequality := func() pb.PropertyFilter_Operator {
		return pick(g, "operator", pb.PropertyFilter_LESS_THAN, pb.PropertyFilter_LESS_THAN_OR_EQUAL,
			pb.PropertyFilter_GREATER_THAN, pb.PropertyFilter_GREATER_THAN_OR_EQUAL)
	}
	if rapid.IntRange(0, 4).Draw(g.T, "ancestor") == 0 {
		add("__key__", pb.PropertyFilter_HAS_ANCESTOR, keyValue())
	}
	if kind != "" {
		q.Kind = []*pb.KindExpression{{Name: kind}}
		for range rapid.IntRange(0, 2).Draw(g.T, "equalities") {
			add(pick(g, "property", "p", "q", "p.x"), pb.PropertyFilter_EQUAL, g.value(false))
		}
	}
	ordered := ""
	if kind != "" && rapid.IntRange(0, 2).Draw(g.T, "unequal") == 0 {
		ordered = pick(g, "inequality", "r", "q", "r", "__key__")
	}
	switch {
	case ordered == "__key__":
		add(ordered, inequality(), keyValue())
	case ordered != "":
		for range rapid.IntRange(1, 2).Draw(g.T, "bounds") {
			add(ordered, inequality(), g.value(false))
		}
	}
	if kind != "" {
		for range rapid.IntRange(0, 2).Draw(g.T, "orders") {
			name := ordered
			if name == "" {
				name = pick(g, "order", "p", "q", "r", "__key__")
			}
			ordered = ""
			o := &pb.PropertyOrder{Property: &pb.PropertyReference{Name: name}, Direction: pb.PropertyOrder_ASCENDING}
			if rapid.Bool().Draw(g.T, "desc") {
				o.Direction = pb.PropertyOrder_DESCENDING
			}
			q.Order = append(q.Order, o)
		}
		switch rapid.IntRange(0, 5).Draw(g.T, "projection") {
		case 0:
			q.Projection = []*pb.Projection{{Property: &pb.PropertyReference{Name: "__key__"}}}
		case 1:
			for _, name := range rapid.Permutation([]string{"p", "q", "r"}).Draw(g.T, "projected")[:rapid.IntRange(1, 2).Draw(g.T, "columns")] {
				q.Projection = append(q.Projection, &pb.Projection{Property: &pb.PropertyReference{Name: name}})
			}
		}
	}
	if !g.arrays && rapid.Bool().Draw(g.T, "window") {
		q.Offset = int32(rapid.IntRange(0, 3).Draw(g.T, "offset"))
		q.Limit = wrapperspb.Int32(int32(rapid.IntRange(1, 4).Draw(g.T, "limit")))
	}
	switch len(filters) {
	case 0:
	case 1:
		q.Filter = filters[0]
	default:
		q.Filter = &pb.Filter{FilterType: &pb.Filter_CompositeFilter{CompositeFilter: &pb.CompositeFilter{
			Op: pb.CompositeFilter_AND, Filters: filters}}}
	}
	return &pb.RunQueryRequest{ProjectId: project, PartitionId: g.partition(), QueryType: &pb.RunQueryRequest_Query{Query: q}}
}
