package datastore_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func text(s string) *pb.Value { return &pb.Value{ValueType: &pb.Value_StringValue{StringValue: s}} }

func array(vs ...*pb.Value) *pb.Value {
	return &pb.Value{ValueType: &pb.Value_ArrayValue{ArrayValue: &pb.ArrayValue{Values: vs}}}
}

func nested(depth int) *pb.Value {
	v := integer(1)
	for range depth {
		v = &pb.Value{ValueType: &pb.Value_EntityValue{EntityValue: &pb.Entity{Properties: map[string]*pb.Value{"e": v}}}}
	}
	return v
}

func upsert(k *pb.Key, name string, v *pb.Value) *pb.Mutation {
	return &pb.Mutation{Operation: &pb.Mutation_Upsert{Upsert: &pb.Entity{Key: k, Properties: map[string]*pb.Value{name: v}}}}
}

func insert(k *pb.Key) *pb.Mutation {
	return &pb.Mutation{Operation: &pb.Mutation_Insert{Insert: &pb.Entity{Key: k}}}
}

func update(k *pb.Key) *pb.Mutation {
	return &pb.Mutation{Operation: &pb.Mutation_Update{Update: &pb.Entity{Key: k}}}
}

func remove(k *pb.Key) *pb.Mutation {
	return &pb.Mutation{Operation: &pb.Mutation_Delete{Delete: k}}
}

func path(elements ...*pb.Key_PathElement) *pb.Key { return &pb.Key{Path: elements} }

func named(kind, name string) *pb.Key_PathElement {
	return &pb.Key_PathElement{Kind: kind, IdType: &pb.Key_PathElement_Name{Name: name}}
}

func numbered(kind string, id int64) *pb.Key_PathElement {
	return &pb.Key_PathElement{Kind: kind, IdType: &pb.Key_PathElement_Id{Id: id}}
}

// TestRefusedCommits holds the texts to those of production and of Google's
// emulators, and checks that a refused commit leaves nothing behind.
func TestRefusedCommits(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	a.mustCommit(nil, put("A", "x", 1))
	long := strings.Repeat("x", 1501)
	with := func(m *pb.Mutation, f func(*pb.Mutation)) *pb.Mutation { f(m); return m }
	deep := path()
	for range 101 {
		deep.Path = append(deep.Path, named("A", "a"))
	}
	large := path()
	for range 5 {
		large.Path = append(large.Path, named("A", long[:1500]))
	}
	for _, c := range []struct {
		name string
		m    []*pb.Mutation
		code codes.Code
		text string
	}{
		{"insert of an existing entity", []*pb.Mutation{insert(key("A", "x"))}, codes.AlreadyExists,
			"entity already exists: app: \"proj\"\npath <\n  Element {\n    type: \"A\"\n    name: \"x\"\n  }\n>\n"},
		{"update of a missing entity", []*pb.Mutation{update(key("A", "nope"))}, codes.NotFound,
			"no entity to update: app: \"proj\"\npath <\n  Element {\n    type: \"A\"\n    name: \"nope\"\n  }\n>\n"},
		{"update, incomplete", []*pb.Mutation{update(path(&pb.Key_PathElement{Kind: "A"}))}, 0, "Key path element must not be incomplete: [A: ]"},
		{"delete, incomplete", []*pb.Mutation{remove(path(&pb.Key_PathElement{Kind: "A"}))}, 0, "Key path element must not be incomplete: [A: ]"},
		{"incomplete ancestor", []*pb.Mutation{insert(path(&pb.Key_PathElement{Kind: "A"}, named("B", "x")))}, 0, "Key path element must not be incomplete: [A: , B: x]"},
		{"no path", []*pb.Mutation{insert(path())}, 0, "Key path is empty."},
		{"no key", []*pb.Mutation{insert(nil)}, 0, "Entity is missing key."},
		{"no operation", []*pb.Mutation{{}}, 0, "Mutation is missing operation."},
		{"twice the same entity", []*pb.Mutation{put("A", "n", 1), remove(key("A", "n"))}, 0, "A non-transactional commit may not contain multiple mutations affecting the same entity."},
		{"reserved kind", []*pb.Mutation{insert(key("__r__", "a"))}, 0, `The kind "__r__" is reserved.`},
		{"reserved name", []*pb.Mutation{insert(key("A", "__d__"))}, 0, `The key path element name "__d__" is reserved.`},
		{"reserved property", []*pb.Mutation{upsert(key("A", "n"), "__p__", integer(1))}, 0, `The property.name "__p__" is reserved.`},
		{"empty kind", []*pb.Mutation{insert(key("", "n"))}, 0, "The kind is the empty string."},
		{"empty name", []*pb.Mutation{insert(key("A", ""))}, 0, "The key path element name is the empty string."},
		{"id 0", []*pb.Mutation{insert(path(numbered("A", 0)))}, 0, "Key path id is invalid. Must not be zero."},
		{"long name", []*pb.Mutation{insert(key("A", long))}, 0, "The key path element name is longer than 1500 bytes."},
		{"long kind", []*pb.Mutation{insert(key(long, "a"))}, 0, "The kind is longer than 1500 bytes."},
		{"long path", []*pb.Mutation{insert(deep)}, 0, "Key path is too long. Cannot exceed 100 elements."},
		{"long key", []*pb.Mutation{insert(large)}, 0, "The key is longer than 6144 bytes."},
		{"long incomplete key", []*pb.Mutation{insert(path(append(large.Path, &pb.Key_PathElement{Kind: "A"})...))}, 0, "The key is longer than 6144 bytes."},
		{"long indexed string", []*pb.Mutation{upsert(key("A", "n"), "p", text(long))}, 0, `The value of property "p" is longer than 1500 bytes.`},
		{"long property name", []*pb.Mutation{upsert(key("A", "n"), long, integer(1))}, 0, "The property.name is longer than 1500 bytes."},
		{"empty property name", []*pb.Mutation{upsert(key("A", "n"), "", integer(1))}, 0, "The property.name is the empty string."},
		{"array in array", []*pb.Mutation{upsert(key("A", "n"), "p", array(array(integer(1))))}, 0, "list_value cannot contain a Value containing another list_value."},
		{"unindexed array", []*pb.Mutation{upsert(key("A", "n"), "p", func() *pb.Value { v := array(); v.ExcludeFromIndexes = true; return v }())}, 0, "Exclude from indexes cannot be set on a list value"},
		{"no value", []*pb.Mutation{upsert(key("A", "n"), "p", &pb.Value{})}, 0, `The value "p" does not contain a value.`},
		{"nested too deep", []*pb.Mutation{upsert(key("A", "n"), "p", nested(21))}, 0, "At most 20 nested entity values are supported."},
		{"latitude", []*pb.Mutation{upsert(key("A", "n"), "p", &pb.Value{ValueType: &pb.Value_GeoPointValue{GeoPointValue: &latlng.LatLng{Latitude: 91}}})}, 0, "Geo point latitude outside permitted range -90.0 to 90.0."},
		{"latitude NaN", []*pb.Mutation{upsert(key("A", "n"), "p", &pb.Value{ValueType: &pb.Value_GeoPointValue{GeoPointValue: &latlng.LatLng{Latitude: math.NaN()}}})}, 0, "Geo point latitude is not a number."},
		{"year 0", []*pb.Mutation{upsert(key("A", "n"), "p", &pb.Value{ValueType: &pb.Value_TimestampValue{TimestampValue: &timestamppb.Timestamp{Seconds: -62135596801}}})}, 0, "Timestamp seconds exceeds limit for field"},
		{"projected value", []*pb.Mutation{upsert(key("A", "n"), "p", &pb.Value{ValueType: integer(1).ValueType, Meaning: 18})}, 0, "Projection property cannot be used."},
		{"too large", []*pb.Mutation{upsert(key("A", "n"), "p", array(unindexed(1_000_000), unindexed(100_000)))}, 0, "maximum entity size is 1048576 bytes"},
		{"other project", []*pb.Mutation{insert(&pb.Key{PartitionId: &pb.PartitionId{ProjectId: "other"}, Path: key("A", "n").Path})}, 0, "mismatched databases within request: <unknown!>~other vs. <unknown!>~proj"},
		{"reserved namespace", []*pb.Mutation{insert(&pb.Key{PartitionId: &pb.PartitionId{NamespaceId: "__n__"}, Path: key("A", "n").Path})}, 0, `The namespace id "__n__" is reserved.`},
		{"bad database", []*pb.Mutation{insert(&pb.Key{PartitionId: &pb.PartitionId{DatabaseId: "(default)"}, Path: key("A", "n").Path})}, 0, `Illegal string "(default)" in database id.`},
		{"bad project", []*pb.Mutation{insert(&pb.Key{PartitionId: &pb.PartitionId{ProjectId: "a b"}, Path: key("A", "n").Path})}, 0, `"a b" is an invalid project id.`},
		{"other database", []*pb.Mutation{insert(&pb.Key{PartitionId: &pb.PartitionId{DatabaseId: "other"}, Path: key("A", "n").Path})}, 0, "mismatched databases within request: <unknown!>~proj vs. <unknown!>~#other"},
		{"unknown meaning", []*pb.Mutation{upsert(key("A", "n"), "p", meaning(integer(1), 99))}, 0, "Unknown value meaning 99."},
		{"unexpected meaning", []*pb.Mutation{upsert(key("A", "n"), "p", meaning(integer(1), 14))}, 0, "Unexpected value meaning 14."},
		{"meaning of another type", []*pb.Mutation{upsert(key("A", "n"), "p", meaning(integer(1), 15))}, 0, `Value "p" has a meaning 15 which does not match string_value field.`},
		{"indexed text", []*pb.Mutation{upsert(key("A", "n"), "p", meaning(text("x"), 15))}, 0, "Indexed value has meaning 15."},
		{"update of a missing entity, with a base", []*pb.Mutation{based(update(key("A", "nope")), 1)}, codes.NotFound,
			"no entity to update: app: \"proj\"\npath <\n  Element {\n    type: \"A\"\n    name: \"nope\"\n  }\n>\n"},
		{"update of a missing entity, with a base that must be met", []*pb.Mutation{with(based(update(key("A", "nope")), 1), func(m *pb.Mutation) {
			m.ConflictResolutionStrategy = pb.Mutation_FAIL
		})}, codes.FailedPrecondition, "the stored version (0) does not match the required base version (1)"},
		{"control characters", []*pb.Mutation{update(key("A", "a\x00\n\"\\ö"))}, codes.NotFound,
			"no entity to update: app: \"proj\"\npath <\n  Element {\n    type: \"A\"\n    name: \"a\\000\\n\\\"\\\\ö\"\n  }\n>\n"},
		{"bad namespace", []*pb.Mutation{insert(&pb.Key{PartitionId: &pb.PartitionId{NamespaceId: "bad ns!"}, Path: key("A", "n").Path})}, 0, `Illegal string "bad ns!" in namespace id.`},
		{"property mask", []*pb.Mutation{with(put("A", "n", 1), func(m *pb.Mutation) {
			m.PropertyMask = &pb.PropertyMask{Paths: []string{"n", "__x__"}}
		})}, 0, `The property_mask.property.name "__x__" is reserved.`},
		{"legacy name that is UTF-8", []*pb.Mutation{insert(key("A", "__bytesYWJj__"))}, 0, `Invalid key path element name "__bytesYWJj__": valid UTF-8 bytes encoded as non-UTF-8.`},
		{"legacy kind in bad base64", []*pb.Mutation{insert(key("__bytes/w==__", "n"))}, 0, `Invalid kind "__bytes/w==__": not base64 encoded.`},
		{"vector, indexed", []*pb.Mutation{upsert(key("A", "n"), "p", vector(false, double(1)))}, 0, "Vector's must be excluded from indexes."},
		{"vector of integers", []*pb.Mutation{upsert(key("A", "n"), "p", vector(true, integer(1)))}, 0, "Vector must only contain values of type 'double'."},
		{"vector of nothing", []*pb.Mutation{upsert(key("A", "n"), "p", vector(true))}, 0, "Cannot have a zero length vector."},
		{"long vector", []*pb.Mutation{upsert(key("A", "n"), "p", vector(true, slices.Repeat([]*pb.Value{double(1)}, 2049)...))}, 0, "Vectors must be at most 2048 dimensions."},
		{"vector with NaN", []*pb.Mutation{upsert(key("A", "n"), "p", vector(true, double(math.NaN())))}, 0, "Vector cannot contain NaN values."},
		{"vector in an array", []*pb.Mutation{upsert(key("A", "n"), "p", array(vector(true, double(1))))}, 0, "list_value cannot contain a Value containing another list_value."},
		{"an integer that is a vector", []*pb.Mutation{upsert(key("A", "n"), "p", &pb.Value{ValueType: integer(1).ValueType, Meaning: 31})}, 0, `Value "p" has a meaning 31 which does not match vector field.`},
		{"an entity that is a vector", []*pb.Mutation{upsert(key("A", "n"), "p", meaning(entityValue(&pb.Entity{}), 31))}, 0, `Value "p" has a meaning 31 which does not match vector field.`},
		{"several bad properties", []*pb.Mutation{with(put("A", "n", 1), func(m *pb.Mutation) {
			m.GetUpsert().Properties = props{"g": {}, "c": {}, "f": {}, "b": {}, "a": integer(1), "d": {}, "h": {}, "e": {}}
		})}, 0, `The value "b" does not contain a value.`},
		{"array with a meaning", []*pb.Mutation{upsert(key("A", "n"), "p", &pb.Value{ValueType: array().ValueType, Meaning: 9})}, 0, "A Value containing a list_value cannot specify a meaning."},
		{"incomplete key value", []*pb.Mutation{upsert(key("A", "n"), "p", keyValue(path(&pb.Key_PathElement{Kind: "A"})))}, 0, "Key path element must not be incomplete: [A: ]"},
		{"empty key value", []*pb.Mutation{upsert(key("A", "n"), "p", keyValue(path()))}, 0, "Key path is empty."},
		{"empty key in an entity value", []*pb.Mutation{upsert(key("A", "n"), "p", entityValue(&pb.Entity{Key: path()}))}, 0, "Key path is empty."},
		{"incomplete ancestor in an entity value", []*pb.Mutation{upsert(key("A", "n"), "p", entityValue(&pb.Entity{Key: path(&pb.Key_PathElement{Kind: "A"}, numbered("B", 1))}))}, 0, "Key path element must not be incomplete: [A: , B: 1]"},
		{"strategy without a base", []*pb.Mutation{with(put("A", "n", 1), func(m *pb.Mutation) {
			m.ConflictResolutionStrategy = pb.Mutation_FAIL
		})}, 0, "cannot set a conflict resolution strategy if no detection strategy was set"},
		{"negative base", []*pb.Mutation{based(put("A", "n", 1), -1)}, 0, "Invalid base_version: -1, it should be >= 0"},
		{"insert on a base", []*pb.Mutation{based(insert(key("A", "n")), 1)}, 0,
			"Cannot insert an entity with a base version greater than zero: app: \"proj\"\npath <\n  Element {\n    type: \"A\"\n    name: \"n\"\n  }\n>\n"},
		{"insert on an update time", []*pb.Mutation{with(insert(key("A", "n")), func(m *pb.Mutation) {
			m.ConflictDetectionStrategy = &pb.Mutation_UpdateTime{UpdateTime: &timestamppb.Timestamp{Seconds: 1}}
		})}, 0, "Cannot insert an entity with a base version greater than zero: app: \"proj\"\npath <\n  Element {\n    type: \"A\"\n    name: \"n\"\n  }\n>\n"},
		{"base in the future", []*pb.Mutation{based(put("A", "x", 2), math.MaxInt64)}, 0,
			"Invalid base version, it is greater than the stored version: app: \"proj\"\npath <\n  Element {\n    type: \"A\"\n    name: \"x\"\n  }\n>\n"},
		{"base of an entity that never was", []*pb.Mutation{with(based(put("A", "nope", 2), 1), func(m *pb.Mutation) {
			m.ConflictResolutionStrategy = pb.Mutation_FAIL
		})}, codes.FailedPrecondition, "the stored version (0) does not match the required base version (1)"},
		{"update of nothing", []*pb.Mutation{based(update(key("A", "n")), 0)}, 0,
			"Cannot update an entity with a base version set to zero: app: \"proj\"\npath <\n  Element {\n    type: \"A\"\n    name: \"n\"\n  }\n>\n"},
		{"base of an incomplete key", []*pb.Mutation{based(insert(path(&pb.Key_PathElement{Kind: "A"})), 0)}, 0, "conflict detection is not allowed for incomplete keys"},
		{"update time in nanoseconds", []*pb.Mutation{with(put("A", "n", 1), func(m *pb.Mutation) {
			m.ConflictDetectionStrategy = &pb.Mutation_UpdateTime{UpdateTime: &timestamppb.Timestamp{Seconds: 1, Nanos: 1}}
		})}, 0, "timestamp cannot have more than microseconds precision"},
		{"update time before 1970", []*pb.Mutation{with(put("A", "n", 1), func(m *pb.Mutation) {
			m.ConflictDetectionStrategy = &pb.Mutation_UpdateTime{UpdateTime: &timestamppb.Timestamp{Seconds: -1}}
		})}, 0, "Only timestamps past epoch are supported."},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.code == 0 {
				c.code = codes.InvalidArgument
			}
			// A good mutation in front must not be applied either.
			err := a.commit(t.Context(), nil, append([]*pb.Mutation{put("Witness", c.name, 1)}, c.m...)...)
			if status.Code(err) != c.code || status.Convert(err).Message() != c.text {
				t.Errorf("got %v; want %v %q", err, c.code, c.text)
			}
			a.mustGet(nil, "Witness", c.name, -1)
		})
	}
}

func unindexed(n int) *pb.Value {
	return &pb.Value{ValueType: &pb.Value_StringValue{StringValue: strings.Repeat("x", n)}, ExcludeFromIndexes: true}
}

func TestRefusedCommitModes(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	single := func(o *pb.TransactionOptions) *pb.CommitRequest {
		return &pb.CommitRequest{ProjectId: project, TransactionSelector: &pb.CommitRequest_SingleUseTransaction{SingleUseTransaction: o}}
	}
	inOrder := func(ms ...*pb.Mutation) *pb.CommitRequest {
		r := single(&pb.TransactionOptions{})
		r.Mutations = ms
		return r
	}
	strict := func(m *pb.Mutation) *pb.Mutation {
		m = based(m, 0)
		m.ConflictResolutionStrategy = pb.Mutation_FAIL
		return m
	}
	named := func(tx string) *pb.CommitRequest {
		return &pb.CommitRequest{ProjectId: project, TransactionSelector: &pb.CommitRequest_Transaction{Transaction: []byte(tx)}}
	}
	for _, c := range []struct {
		req  *pb.CommitRequest
		text string
	}{
		{&pb.CommitRequest{ProjectId: project}, "transactional commit requires a transaction"},
		{&pb.CommitRequest{}, "The app id is the empty string."},
		{&pb.CommitRequest{ProjectId: project, DatabaseId: "(default)"}, `"(default)" is an invalid database id.`},
		{named("bogus"), "Invalid transaction."},
		{single(&pb.TransactionOptions{Mode: &pb.TransactionOptions_ReadOnly_{ReadOnly: &pb.TransactionOptions_ReadOnly{}}}), "single_use_transaction in a commit request must be READ_WRITE."},
		{single(&pb.TransactionOptions{Mode: &pb.TransactionOptions_ReadWrite_{ReadWrite: &pb.TransactionOptions_ReadWrite{PreviousTransaction: []byte("abc")}}}), "Invalid transaction."},
		{named(""), "a transaction cannot be the empty string."},
		{&pb.CommitRequest{ProjectId: project, Mode: pb.CommitRequest_NON_TRANSACTIONAL, TransactionSelector: single(nil).TransactionSelector}, "non-transaction commit cannot specify a transaction"},
		{inOrder(put("A", "n", 1), based(put("A", "n", 2), 1)), "Mutations for the same entity must have the same base version."},
		{inOrder(strict(put("A", "n", 1)), put("A", "n", 2)), "Mutations for the same entity must have the same conflict resolution strategy."},
		{inOrder(insert(key("A", "n")), insert(key("A", "n"))), "Cannot insert then insert an entity in the same request."},
		{inOrder(put("A", "n", 1), insert(key("A", "n"))), "Cannot upsert then insert an entity in the same request."},
		{inOrder(remove(key("A", "n")), update(key("A", "n"))), "Cannot delete then update an entity in the same request."},
	} {
		_, err := a.Commit(t.Context(), c.req)
		if status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != c.text {
			t.Errorf("%v: got %v; want %q", c.req, err, c.text)
		}
	}
	// A version and an update time that are the same number are the same base.
	timed := put("A", "n", 2)
	timed.ConflictDetectionStrategy = &pb.Mutation_UpdateTime{UpdateTime: timestamppb.New(time.UnixMicro(7))}
	if _, err := a.Commit(t.Context(), inOrder(based(put("A", "n", 1), 7), timed)); err != nil {
		t.Errorf("the same base in two forms: %v", err)
	}
	_, err := a.Rollback(t.Context(), &pb.RollbackRequest{ProjectId: project})
	if got, want := status.Convert(err).Message(), "transaction required"; got != want {
		t.Errorf("got %q; want %q", got, want)
	}
	_, err = a.AllocateIds(t.Context(), &pb.AllocateIdsRequest{ProjectId: project, Keys: []*pb.Key{path(numbered("A", 1))}})
	if got, want := status.Convert(err).Message(), "Key path element must not be complete: [A: 1]"; got != want {
		t.Errorf("got %q; want %q", got, want)
	}
}

// TestConflictDetection: the server's value wins unless the mutation asks to
// fail.
func TestConflictDetection(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	ctx := t.Context()
	send := func(m *pb.Mutation) (*pb.MutationResult, error) {
		resp, err := a.Commit(ctx, &pb.CommitRequest{ProjectId: project, Mode: pb.CommitRequest_NON_TRANSACTIONAL, Mutations: []*pb.Mutation{m}})
		if err != nil {
			return nil, err
		}
		return resp.GetMutationResults()[0], nil
	}
	first, err := send(put("A", "x", 1))
	if err != nil || first.GetVersion() == 0 {
		t.Fatal(first, err)
	}
	based := func(n, base int64) *pb.Mutation {
		m := put("A", "x", n)
		m.ConflictDetectionStrategy = &pb.Mutation_BaseVersion{BaseVersion: base}
		return m
	}
	second, err := send(based(2, first.GetVersion()))
	if err != nil || second.GetConflictDetected() || second.GetVersion() <= first.GetVersion() {
		t.Fatalf("the right base: %v, %v", second, err)
	}
	if !proto.Equal(second.GetCreateTime(), first.GetCreateTime()) {
		t.Errorf("the creation time moved from %v to %v", first.GetCreateTime(), second.GetCreateTime())
	}
	third, err := send(based(3, first.GetVersion()))
	if err != nil || !third.GetConflictDetected() || third.GetVersion() != second.GetVersion() {
		t.Fatalf("a stale base: %v, %v", third, err)
	}
	a.mustGet(nil, "A", "x", 2)
	failing := based(3, 1)
	failing.ConflictResolutionStrategy = pb.Mutation_FAIL
	_, err = send(failing)
	text := fmt.Sprintf("the stored version (%d) does not match the required base version (1)", second.GetVersion())
	if status.Code(err) != codes.FailedPrecondition || status.Convert(err).Message() != text {
		t.Errorf("a stale base that fails: %v; want %q", err, text)
	}
	m := put("A", "x", 4)
	m.ConflictDetectionStrategy = &pb.Mutation_UpdateTime{UpdateTime: second.GetUpdateTime()}
	if r, err := send(m); err != nil || r.GetConflictDetected() {
		t.Fatalf("the right update time: %v, %v", r, err)
	}

	again := based(5, 0)
	again.Operation = &pb.Mutation_Insert{Insert: again.GetUpsert()}
	if _, err := send(again); status.Code(err) != codes.AlreadyExists {
		t.Errorf("an insertion of what is there, without a base: %v", err)
	}

	// A missing entity has the version of the lookup that missed it.
	missing, err := a.Lookup(ctx, &pb.LookupRequest{ProjectId: project, Keys: []*pb.Key{key("A", "y")}})
	if err != nil || missing.GetMissing()[0].GetVersion() == 0 {
		t.Fatal(missing, err)
	}
	seen := missing.GetMissing()[0].GetVersion()
	absent := func(base int64) *pb.Mutation {
		m := put("A", "y", 1)
		m.ConflictDetectionStrategy = &pb.Mutation_BaseVersion{BaseVersion: base}
		return m
	}
	for _, base := range []int64{1, seen + 1, math.MaxInt64} {
		if r, err := send(absent(base)); err != nil || !r.GetConflictDetected() {
			t.Fatalf("base %d, which no lookup has told: %v, %v", base, r, err)
		}
	}
	never := put("A", "z", 1)
	never.ConflictDetectionStrategy = &pb.Mutation_UpdateTime{UpdateTime: &timestamppb.Timestamp{}}
	if r, err := send(never); err != nil || r.GetConflictDetected() {
		t.Fatalf("the update time 0 of a missing entity: %v, %v", r, err)
	}
	if r, err := send(absent(seen)); err != nil || r.GetConflictDetected() {
		t.Fatalf("still missing: %v, %v", r, err)
	}
	gone, err := send(remove(key("A", "y")))
	if err != nil {
		t.Fatal(err)
	}
	missingSince := func(version int64) *pb.Mutation {
		m := remove(key("A", "y"))
		m.ConflictDetectionStrategy = &pb.Mutation_UpdateTime{UpdateTime: timestamppb.New(time.UnixMicro(version))}
		return m
	}
	for version, conflict := range map[int64]bool{gone.GetVersion(): false, gone.GetVersion() - 1: true, gone.GetVersion() + 1: true} {
		if r, err := send(missingSince(version)); err != nil || r.GetConflictDetected() != conflict {
			t.Errorf("an update time %d µs after the deletion: %v, %v; want a conflict: %v", version-gone.GetVersion(), r, err, conflict)
		}
	}
	if r, err := send(absent(seen)); err != nil || !r.GetConflictDetected() {
		t.Fatalf("missing again, but it was there: %v, %v", r, err)
	}
	if r, err := send(absent(gone.GetVersion())); err != nil || r.GetConflictDetected() {
		t.Fatalf("missing since: %v, %v", r, err)
	}
}

func TestPropertyMasks(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	ctx := t.Context()
	full := &pb.Entity{Key: key("A", "x"), Properties: map[string]*pb.Value{"p": integer(1), "q": integer(2), "e": nested(1)}}
	a.mustCommit(nil, &pb.Mutation{Operation: &pb.Mutation_Upsert{Upsert: full}})
	part := upsert(key("A", "x"), "p", integer(9))
	part.PropertyMask = &pb.PropertyMask{Paths: []string{"p", "q"}}
	a.mustCommit(nil, part)
	lookup := func(mask ...string) map[string]*pb.Value {
		req := &pb.LookupRequest{ProjectId: project, Keys: []*pb.Key{key("A", "x")}}
		if mask != nil {
			req.PropertyMask = &pb.PropertyMask{Paths: mask}
		}
		resp, err := a.Lookup(ctx, req)
		if err != nil || len(resp.GetFound()) != 1 || resp.GetFound()[0].GetVersion() == 0 {
			t.Fatal(resp, err)
		}
		return resp.GetFound()[0].GetEntity().GetProperties()
	}
	want := &pb.Entity{Properties: map[string]*pb.Value{"p": integer(9), "e": nested(1)}}
	if got := (&pb.Entity{Properties: lookup()}); !proto.Equal(got, want) {
		t.Errorf("after a masked upsert: %v; want %v", got, want)
	}
	want = &pb.Entity{Properties: map[string]*pb.Value{"e": nested(1)}}
	keyed := upsert(key("A", "x"), "e", nested(1))
	keyed.GetUpsert().GetProperties()["e"].GetEntityValue().Key = key("B", "within")
	a.mustCommit(nil, keyed)
	if got := (&pb.Entity{Properties: lookup("e.e")}); !proto.Equal(got, want) {
		t.Errorf("a masked lookup: %v; want %v", got, want)
	}
}

// TestVersionsOfTheMissing: a lookup that finds nothing tells of which snapshot
// it speaks, unless it is eventually consistent.
func TestVersionsOfTheMissing(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	version := func(o *pb.ReadOptions) int64 {
		t.Helper()
		resp, err := a.Lookup(t.Context(), &pb.LookupRequest{ProjectId: project, ReadOptions: o, Keys: []*pb.Key{key("A", "x")}})
		if err != nil || len(resp.GetMissing()) != 1 {
			t.Fatal(resp, err)
		}
		return resp.GetMissing()[0].GetVersion()
	}
	if v := version(nil); v <= 0 {
		t.Errorf("in an empty database: %d", v)
	}
	a.mustCommit(nil, put("A", "y", 1))
	if v := version(nil); v <= 1 {
		t.Errorf("after a commit: %d", v)
	}
	if v := version(&pb.ReadOptions{ConsistencyType: &pb.ReadOptions_ReadConsistency_{ReadConsistency: pb.ReadOptions_EVENTUAL}}); v != 0 {
		t.Errorf("eventually consistent: %d; want none", v)
	}
}

func TestRefusedQueries(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	filter := func(name string, op pb.PropertyFilter_Operator, v *pb.Value) *pb.Filter {
		return &pb.Filter{FilterType: &pb.Filter_PropertyFilter{PropertyFilter: &pb.PropertyFilter{
			Property: &pb.PropertyReference{Name: name}, Op: op, Value: v}}}
	}
	composite := func(op pb.CompositeFilter_Operator, fs ...*pb.Filter) *pb.Filter {
		return &pb.Filter{FilterType: &pb.Filter_CompositeFilter{CompositeFilter: &pb.CompositeFilter{Op: op, Filters: fs}}}
	}
	kind := func(names ...string) (ks []*pb.KindExpression) {
		for _, n := range names {
			ks = append(ks, &pb.KindExpression{Name: n})
		}
		return ks
	}
	order := func(name string, d pb.PropertyOrder_Direction) []*pb.PropertyOrder {
		return []*pb.PropertyOrder{{Property: &pb.PropertyReference{Name: name}, Direction: d}}
	}
	const bad = codes.InvalidArgument
	for _, c := range []struct {
		q    *pb.Query
		code codes.Code
		text string
	}{
		{&pb.Query{Kind: kind("A", "B")}, bad, "multiple kinds not supported"},
		{&pb.Query{Filter: filter("i", pb.PropertyFilter_EQUAL, integer(1))}, bad, "kind is required for filter: i"},
		{&pb.Query{Order: order("i", 1)}, bad, "kind is required for all orders except __key__ ascending"},
		{&pb.Query{Order: order("__key__", 2)}, bad, "kind is required for all orders except __key__ ascending"},
		{&pb.Query{Kind: kind("A"), Limit: wrapperspb.Int32(-1)}, bad, "Limit must be non-negative."},
		{&pb.Query{Kind: kind("A"), Offset: -1}, bad, "Offset must be non-negative."},
		{&pb.Query{Kind: kind("A"), Filter: filter("p", 0, integer(1))}, bad, "a property filter must specify an operator"},
		{&pb.Query{Kind: kind("A"), Filter: filter("p", pb.PropertyFilter_EQUAL, array())}, bad, "A list value is not allowed"},
		{&pb.Query{Kind: kind("A"), Filter: filter("p", pb.PropertyFilter_EQUAL, nested(1))}, bad, "An entity value is not allowed"},
		{&pb.Query{Kind: kind("A"), Filter: filter("p", pb.PropertyFilter_HAS_ANCESTOR, integer(1))}, bad, "HAS_ANCESTOR requires a key value"},
		{&pb.Query{Kind: kind("A"), Filter: filter("p", pb.PropertyFilter_HAS_ANCESTOR, &pb.Value{ValueType: &pb.Value_KeyValue{KeyValue: key("A", "a")}})}, bad, "property must be __key__"},
		{&pb.Query{Kind: kind("A"), Filter: filter("__key__", pb.PropertyFilter_EQUAL, integer(1))}, bad, "__key__ filter value must be a Key"},
		{&pb.Query{Kind: kind("A"), Filter: composite(pb.CompositeFilter_AND)}, bad, "A composite filter must have at least one sub-filter."},
		{&pb.Query{Kind: kind("A"), StartCursor: []byte("garbage")}, bad, "Error parsing protocol message"},
		{&pb.Query{Kind: kind("A"), Filter: filter("p", pb.PropertyFilter_EQUAL, integer(1)), Projection: []*pb.Projection{{Property: &pb.PropertyReference{Name: "p"}}}}, bad, "Cannot use projection on a property with an equality filter."},
	} {
		_, err := a.RunQuery(t.Context(), &pb.RunQueryRequest{ProjectId: project, QueryType: &pb.RunQueryRequest_Query{Query: c.q}})
		if status.Code(err) != c.code || status.Convert(err).Message() != c.text {
			t.Errorf("%v: got %v; want %v %q", c.q, err, c.code, c.text)
		}
	}
}
