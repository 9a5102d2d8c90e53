package metadata_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/google/go-cmp/cmp"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/metadata"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"
)

// values are one of each representation, and its name.
var values = []struct {
	name string
	*pb.Value
}{
	{"NULL", &pb.Value{ValueType: &pb.Value_NullValue{NullValue: structpb.NullValue_NULL_VALUE}}},
	{"INT64", &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: -1}}},
	{"INT64", &pb.Value{ValueType: &pb.Value_TimestampValue{TimestampValue: &timestamppb.Timestamp{Seconds: 1}}}},
	{"BOOLEAN", &pb.Value{ValueType: &pb.Value_BooleanValue{}}},
	{"BOOLEAN", &pb.Value{ValueType: &pb.Value_BooleanValue{BooleanValue: true}}},
	{"STRING", &pb.Value{ValueType: &pb.Value_StringValue{StringValue: "a\x00b"}}},
	{"STRING", &pb.Value{ValueType: &pb.Value_BlobValue{BlobValue: []byte{0xff}}}},
	{"DOUBLE", &pb.Value{ValueType: &pb.Value_DoubleValue{DoubleValue: 1}}},
	{"POINT", &pb.Value{ValueType: &pb.Value_GeoPointValue{GeoPointValue: &latlng.LatLng{Latitude: 1}}}},
	{"REFERENCE", &pb.Value{ValueType: &pb.Value_KeyValue{KeyValue: &pb.Key{Path: []*pb.Key_PathElement{{Kind: "A"}}}}}},
}

// TestLikeGoingThroughEverything: what is found by seeking is what all entities
// have; and a row that comes or goes outside the ranges changes nothing.
func TestLikeGoingThroughEverything(t *testing.T) {
	names := rapid.SampledFrom([]string{"a", "aa", "b", "a\x00", "\x00", "é"})
	rapid.Check(t, func(r *rapid.T) {
		store, err := storage.Open(nil)
		if err != nil {
			r.Fatal(err)
		}
		db := store.DB(storage.ID{Project: "p"})
		id := int64(0)
		wantNamespaces := map[string]bool{}
		wantKinds := map[string]map[string]bool{}                 // namespace → kinds
		wantProperties := map[string]map[string]map[string]bool{} // namespace → kind/property → representations
		put := func(namespace, kind, property string, unindexed bool, choice int) {
			id++
			v := values[choice]
			value := &pb.Value{ValueType: v.ValueType, ExcludeFromIndexes: unindexed}
			key := &pb.Key{PartitionId: &pb.PartitionId{ProjectId: "p", NamespaceId: namespace},
				Path: []*pb.Key_PathElement{{Kind: kind, IdType: &pb.Key_PathElement_Id{Id: id}}}}
			e, err := storage.NewEntity(&pb.Entity{Key: key, Properties: map[string]*pb.Value{property: value}})
			if err != nil {
				r.Fatal(err)
			}
			if _, err := db.Commit([]storage.Mutation{{Op: storage.Upsert, Key: encoding.EntityRow(key), Entity: e}}); err != nil {
				r.Fatal(err)
			}
			wantNamespaces[namespace] = true
			if wantKinds[namespace] == nil {
				wantKinds[namespace], wantProperties[namespace] = map[string]bool{}, map[string]map[string]bool{}
			}
			wantKinds[namespace][kind] = true
			if !unindexed {
				name := kind + "/" + property
				if wantProperties[namespace][name] == nil {
					wantProperties[namespace][name] = map[string]bool{}
				}
				wantProperties[namespace][name][v.name] = true
			}
		}
		for range rapid.IntRange(0, 20).Draw(r, "entities") {
			put(rapid.SampledFrom([]string{"", "n", "nn"}).Draw(r, "namespace"), names.Draw(r, "kind"), names.Draw(r, "property"),
				rapid.IntRange(0, 3).Draw(r, "unindexed") == 0, rapid.IntRange(0, len(values)-1).Draw(r, "value"))
		}
		view := db.Snapshot()
		same(r, "namespaces", wantNamespaces, namespaces(metadata.Namespaces(view)))
		for _, namespace := range []string{"", "n", "other"} {
			same(r, "kinds", wantKinds[namespace], kinds(metadata.Kinds(view, namespace)))
			same(r, "properties", wantProperties[namespace], properties(metadata.Properties(view, namespace, false)))
			keys := properties(metadata.Properties(view, namespace, true))
			if !slices.Equal(slices.Sorted(maps.Keys(keys)), slices.Sorted(maps.Keys(wantProperties[namespace]))) {
				r.Fatalf("keys of properties: %v; want %v", keys, wantProperties[namespace])
			}
		}

		// One more entity: what was found changes only if a row in its ranges did.
		before := []metadata.Found{metadata.Namespaces(view), metadata.Kinds(view, "n"), metadata.Properties(view, "n", false)}
		put(rapid.SampledFrom([]string{"", "n", "nn"}).Draw(r, "namespace"), names.Draw(r, "kind"), names.Draw(r, "property"), false, rapid.IntRange(0, len(values)-1).Draw(r, "value"))
		later := db.Snapshot()
		after := []metadata.Found{metadata.Namespaces(later), metadata.Kinds(later, "n"), metadata.Properties(later, "n", false)}
		for i := range before {
			touched := false
			for _, rng := range before[i].Ranges {
				if rng.Lo >= rng.Hi {
					r.Fatalf("empty range %q", rng)
				}
				touched = touched || view.Count(rng.Lo, rng.Hi) != later.Count(rng.Lo, rng.Hi)
			}
			if changed := fmt.Sprint(before[i].Entities) != fmt.Sprint(after[i].Entities); changed && !touched {
				r.Fatalf("found %v, then %v, and no row of %q came", before[i].Entities, after[i].Entities, before[i].Ranges)
			}
		}
	})
}

func same[T any](r *rapid.T, what string, want, got map[string]T) {
	if diff := cmp.Diff(want, got); diff != "" && len(want)+len(got) > 0 {
		r.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

func namespaces(f metadata.Found) map[string]bool {
	found := map[string]bool{}
	for _, e := range f.Entities {
		found[e.GetKey().GetPath()[0].GetName()] = true
	}
	return found
}

func kinds(f metadata.Found) map[string]bool { return namespaces(f) }

func properties(f metadata.Found) map[string]map[string]bool {
	found := map[string]map[string]bool{}
	for _, e := range f.Entities {
		path := e.GetKey().GetPath()
		name := path[0].GetName() + "/" + path[1].GetName()
		found[name] = map[string]bool{}
		for _, v := range e.GetProperties()[metadata.Representations].GetArrayValue().GetValues() {
			found[name][v.GetStringValue()] = true
		}
	}
	return found
}
