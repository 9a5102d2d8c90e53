package statistics

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/google/go-cmp/cmp"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/indexes"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"
)

func text(s string) *pb.Value { return &pb.Value{ValueType: &pb.Value_StringValue{StringValue: s}} }
func integer(i int64) *pb.Value {
	return &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: i}}
}
func boolean(b bool) *pb.Value { return &pb.Value{ValueType: &pb.Value_BooleanValue{BooleanValue: b}} }
func list(all ...*pb.Value) *pb.Value {
	return &pb.Value{ValueType: &pb.Value_ArrayValue{ArrayValue: &pb.ArrayValue{Values: all}}}
}

// task is the example of Google's page on storage sizes.
func task() *pb.Entity {
	return &pb.Entity{
		Key: &pb.Key{PartitionId: &pb.PartitionId{}, Path: []*pb.Key_PathElement{{Kind: "Task", IdType: &pb.Key_PathElement_Id{Id: 5730082031140864}}}},
		Properties: map[string]*pb.Value{"type": text("Personal"), "done": boolean(false), "priority": integer(1),
			"description": text("Learn Google Cloud Datastore")},
	}
}

// TestSizes holds sizes to the examples that Google gives.
func TestSizes(t *testing.T) {
	named := func(path ...string) *pb.Key {
		k := &pb.Key{PartitionId: &pb.PartitionId{}}
		for i := 0; i < len(path); i += 2 {
			e := &pb.Key_PathElement{Kind: path[i], IdType: &pb.Key_PathElement_Id{Id: 5654313976201216}}
			if path[i+1] != "" {
				e.IdType = &pb.Key_PathElement_Name{Name: path[i+1]}
			}
			k.Path = append(k.Path, e)
		}
		return k
	}
	elsewhere := named("TaskList", "", "Task", "")
	elsewhere.PartitionId.NamespaceId = "my_name_space"
	for _, c := range []struct {
		key  *pb.Key
		want int64
	}{
		{named("Task", ""), 29},
		{named("Task", "my_task_id"), 32},
		{named("TaskList", "", "Task", ""), 46},
		{elsewhere, 60},
	} {
		if got := keySize(c.key); got != c.want {
			t.Errorf("%v has %d bytes; want %d", c.key, got, c.want)
		}
	}
	if got := entitySize(task()); got != 139 {
		t.Errorf("the task has %d bytes; want 139", got)
	}
	c := newCollection()
	both := indexes.Definition{Kind: "Task", Properties: []indexes.Property{{Name: "done"}, {Name: "priority"}}}
	c.definitions["Task"] = []indexes.Definition{both, {Kind: "Task", Properties: []indexes.Property{{Name: "done"}, {Name: "missing"}}}}
	c.entity(task())
	if got := c.properties[propertyOf{"", "Task", "done", "Boolean"}]; got.builtinBytes != 2*72 || got.builtinCount != 2 {
		t.Errorf("%q takes %+v; want 2 entries of 72 bytes", "done", got)
	}
	want := map[indexOf]figures{{"", "Task", both.Key()}: {count: 1, compositeCount: 1, compositeBytes: 70}}
	if diff := cmp.Diff(want, c.composites, cmp.AllowUnexported(indexOf{}, figures{})); diff != "" {
		t.Errorf("composite entries (-want +got):\n%s", diff)
	}
}

// TestCompositeCombinations: an index has an entry for each combination of
// values, and one of those for each ancestor if it is for ancestors.
func TestCompositeCombinations(t *testing.T) {
	c := newCollection()
	d := indexes.Definition{Kind: "C", Ancestor: true, Properties: []indexes.Property{{Name: "a"}, {Name: "b"}}}
	c.definitions["C"] = []indexes.Definition{d}
	e := &pb.Entity{Key: &pb.Key{Path: []*pb.Key_PathElement{
		{Kind: "P", IdType: &pb.Key_PathElement_Id{Id: 1}}, {Kind: "C", IdType: &pb.Key_PathElement_Id{Id: 2}}}},
		Properties: map[string]*pb.Value{"a": list(integer(1), integer(2), integer(2)), "b": list(text(""), text("xx"))}}
	c.entity(e)
	// (a, b) of 8+1, 8+3, 8+1, 8+3 bytes, with a key of 16+10+10 and 32 more.
	want := figures{count: 8, compositeCount: 8, compositeBytes: 2 * (4*(36+32) + 9 + 11 + 9 + 11)}
	if got := c.composites[indexOf{"", "C", d.Key()}]; got != want {
		t.Errorf("got %+v; want %+v", got, want)
	}
	if got := c.kinds[kindOf{"", "C", false}]; got.compositeBytes != want.compositeBytes || got.compositeCount != 8 {
		t.Errorf("the kind has %+v", got)
	}
}

// TestLikeRecomputed: the figures are what the stored rows and the entities
// taken one by one give, and coarser statistics are the sums of finer ones.
func TestLikeRecomputed(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		store, err := storage.Open(nil)
		if err != nil {
			r.Fatal(err)
		}
		db := store.DB(storage.ID{Project: "p"})
		store.SetIndexes(indexes.NewSet(
			indexes.Definition{Kind: "A", Properties: []indexes.Property{{Name: "a"}, {Name: "b", Desc: true}}},
			indexes.Definition{Kind: "A", Ancestor: true, Properties: []indexes.Property{{Name: "b"}}}))
		var entities, bytes, rows, composite int64
		for id := range int64(rapid.IntRange(1, 10).Draw(r, "entities")) {
			k := &pb.Key{PartitionId: &pb.PartitionId{ProjectId: "p", NamespaceId: rapid.SampledFrom([]string{"", "n"}).Draw(r, "namespace")}}
			if rapid.Bool().Draw(r, "child") {
				k.Path = append(k.Path, &pb.Key_PathElement{Kind: "P", IdType: &pb.Key_PathElement_Name{Name: "p"}})
			}
			k.Path = append(k.Path, &pb.Key_PathElement{Kind: rapid.SampledFrom([]string{"A", "B"}).Draw(r, "kind"), IdType: &pb.Key_PathElement_Id{Id: id + 1}})
			m := &pb.Entity{Key: k, Properties: map[string]*pb.Value{}}
			for _, name := range []string{"a", "b"} {
				m.Properties[name] = value(r, 2)
			}
			e, err := storage.NewEntity(m)
			if err != nil {
				r.Fatal(err)
			}
			if _, err := db.Commit([]storage.Mutation{{Op: storage.Upsert, Key: encoding.EntityRow(k), Entity: e}}); err != nil {
				r.Fatal(err)
			}
			entities++
			bytes += recomputed(m)
			rows += int64(e.Rows().Len() - encoding.FirstProperty) // but for the entity row and the kind row
			for _, c := range db.Snapshot().Composites(k.GetPath()[len(k.GetPath())-1].GetKind()) {
				composite += int64(len(c.Form.Rows(nil, e.Rows())))
			}
		}
		var k Keeper
		set, err := k.View(db)
		if err != nil {
			r.Fatal(err)
		}
		sums := map[string]map[string]int64{} // kind → property → sum over its entities
		set.Ascend(encoding.AllEntities, encoding.PrefixEnd(encoding.AllEntities), func(row storage.Row) bool {
			e, err := row.Entity.Decode()
			if err != nil {
				r.Fatal(err)
			}
			kind := e.GetKey().GetPath()[0].GetKind()
			if sums[kind] == nil {
				sums[kind] = map[string]int64{}
			}
			for name, v := range e.GetProperties() {
				sums[kind][name] += v.GetIntegerValue()
			}
			return true
		})
		total := sums["__Stat_Total__"]
		want := map[string]int64{"count": entities, "entity_bytes": bytes, "builtin_index_count": 2 * rows, "composite_index_count": composite}
		for name, n := range want {
			if total[name] != n {
				r.Fatalf("%s is %d; want %d", name, total[name], n)
			}
		}
		if total["bytes"] != total["entity_bytes"]+total["builtin_index_bytes"]+total["composite_index_bytes"] {
			r.Fatalf("bytes don't add up: %v", total)
		}
		delete(total, "timestamp")
		for _, kind := range []string{"__Stat_Kind__", "__Stat_Namespace__"} {
			same(r, kind, total, sums[kind])
		}
		if n := sums["__Stat_Kind_CompositeIndex__"]; n["count"] != composite || n["bytes"] != total["composite_index_bytes"] {
			r.Fatalf("composite indexes have %v; want %v", n, total)
		}
		if n := sums["__Stat_Kind_IsRootEntity__"]["entity_bytes"] + sums["__Stat_Kind_NotRootEntity__"]["entity_bytes"]; n != bytes {
			r.Fatalf("root entities and others have %d bytes; want %d", n, bytes)
		}
		finest := sums["__Stat_PropertyType_PropertyName_Kind__"]
		if finest["builtin_index_count"] != 2*rows || finest["builtin_index_bytes"] != total["builtin_index_bytes"] {
			r.Fatalf("properties have %v; want %v", finest, total)
		}
		for _, kind := range []string{"__Stat_PropertyType__", "__Stat_PropertyType_Kind__", "__Stat_PropertyName_Kind__"} {
			same(r, kind, finest, sums[kind])
		}
		for kind := range sums {
			if whole, ok := strings.CutPrefix(kind, "__Stat_Ns_"); ok {
				same(r, kind, sums["__Stat_"+whole], sums[kind])
			}
		}
	})
}

// same compares numbers; labels, which sum up to zero, don't matter.
func same(r *rapid.T, kind string, want, got map[string]int64) {
	zero := func(_ string, n int64) bool { return n == 0 }
	want, got = maps.Clone(want), maps.Clone(got)
	maps.DeleteFunc(want, zero)
	maps.DeleteFunc(got, zero)
	if diff := cmp.Diff(want, got); diff != "" {
		r.Fatalf("%s (-want +got):\n%s", kind, diff)
	}
}

func value(r *rapid.T, depth int) *pb.Value {
	v := &pb.Value{ExcludeFromIndexes: rapid.IntRange(0, 3).Draw(r, "unindexed") == 0}
	switch rapid.IntRange(0, 10).Draw(r, "type") {
	case 0:
		v.ValueType = &pb.Value_NullValue{NullValue: structpb.NullValue_NULL_VALUE}
	case 1:
		v.ValueType = &pb.Value_BooleanValue{}
	case 2:
		v.ValueType = &pb.Value_DoubleValue{DoubleValue: 1}
	case 3:
		v.ValueType = &pb.Value_TimestampValue{TimestampValue: &timestamppb.Timestamp{Nanos: 1000}}
	case 4:
		v.ValueType = &pb.Value_BlobValue{BlobValue: []byte("xy")}
	case 5:
		v.ValueType = &pb.Value_GeoPointValue{GeoPointValue: &latlng.LatLng{}}
	case 6:
		v.ValueType = &pb.Value_KeyValue{KeyValue: &pb.Key{Path: []*pb.Key_PathElement{{Kind: "K", IdType: &pb.Key_PathElement_Id{Id: 1}}}}}
	case 7, 8:
		if depth > 0 {
			e := &pb.Entity{Properties: map[string]*pb.Value{}}
			for i := range rapid.IntRange(0, 2).Draw(r, "fields") {
				e.Properties[string(rune('x'+i))] = value(r, depth-1)
			}
			v.ValueType = &pb.Value_EntityValue{EntityValue: e}
			break
		}
		fallthrough
	case 9:
		if depth == 2 {
			a := &pb.ArrayValue{}
			for range rapid.IntRange(0, 3).Draw(r, "length") {
				a.Values = append(a.Values, value(r, 1))
			}
			return &pb.Value{ValueType: &pb.Value_ArrayValue{ArrayValue: a}}
		}
		fallthrough
	default:
		v.ValueType = &pb.Value_IntegerValue{IntegerValue: rapid.Int64Range(0, 2).Draw(r, "int")}
	}
	return v
}

// recomputed is a second opinion on an entity's size.
func recomputed(e *pb.Entity) int64 {
	size := 32
	if k := e.GetKey(); k != nil {
		size += 16
		if n := k.GetPartitionId().GetNamespaceId(); n != "" {
			size += len(n + "0")
		}
		for _, p := range k.GetPath() {
			if size += len(p.GetKind() + "0"); p.GetName() != "" {
				size += len(p.GetName() + "0")
			} else {
				size += 8
			}
		}
	}
	for name, v := range e.GetProperties() {
		size += len(name + "0")
		all := []*pb.Value{v}
		if a := v.GetArrayValue(); a != nil {
			all = a.GetValues()
		}
		for _, v := range all {
			switch x := v.GetValueType().(type) {
			case *pb.Value_EntityValue:
				size += int(recomputed(x.EntityValue))
			case *pb.Value_BlobValue:
				size += len(x.BlobValue)
			case *pb.Value_GeoPointValue:
				size += 16
			case *pb.Value_KeyValue:
				size += 16 + 2 + 8
			case *pb.Value_NullValue, *pb.Value_BooleanValue:
				size++
			default:
				size += 8
			}
		}
	}
	return int64(size)
}

// TestKeeper: a set lasts for MaxAge, and as long as nothing changes.
func TestKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := storage.Open(nil)
		if err != nil {
			t.Fatal(err)
		}
		db := store.DB(storage.ID{Project: "p"})
		var k Keeper
		put := func(id int64) {
			m := task()
			m.Key.Path[0].IdType = &pb.Key_PathElement_Id{Id: id}
			e, err := storage.NewEntity(m)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.Commit([]storage.Mutation{{Op: storage.Upsert, Key: e.Key(), Entity: e}}); err != nil {
				t.Fatal(err)
			}
		}
		read := func() (count int64, at time.Time) {
			set, err := k.View(db)
			if err != nil {
				t.Fatal(err)
			}
			row := encoding.EntityRow(&pb.Key{Path: []*pb.Key_PathElement{{Kind: "__Stat_Total__", IdType: &pb.Key_PathElement_Name{Name: totalName}}}})
			stat := set.Get(row)
			if stat == nil {
				return 0, at
			}
			e, err := stat.Decode()
			if err != nil {
				t.Fatal(err)
			}
			return e.GetProperties()["count"].GetIntegerValue(), e.GetProperties()["timestamp"].GetTimestampValue().AsTime()
		}
		var counts []int64
		note := func() time.Time {
			n, at := read()
			counts = append(counts, n)
			return at
		}
		note() // nothing, which isn't kept
		put(1)
		first := note()
		put(2)
		time.Sleep(MaxAge - time.Nanosecond)
		if at := note(); !at.Equal(first) {
			t.Errorf("computed at %v again", at)
		}
		time.Sleep(time.Nanosecond)
		second := note()
		time.Sleep(10 * MaxAge)
		if at := note(); !at.Equal(second) {
			t.Errorf("computed at %v again, though nothing had changed", at)
		}
		put(3)
		k.Forget()
		note()
		if want := []int64{0, 1, 1, 2, 2, 3}; !slices.Equal(counts, want) {
			t.Errorf("counted %v; want %v", counts, want)
		}
	})
}
