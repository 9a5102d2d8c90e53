package datastore_test

import (
	"fmt"
	"maps"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/latchwork/latchwork/emulator/datastore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
)

func double(f float64) *pb.Value {
	return &pb.Value{ValueType: &pb.Value_DoubleValue{DoubleValue: f}}
}

func null() *pb.Value {
	return &pb.Value{ValueType: &pb.Value_NullValue{NullValue: structpb.NullValue_NULL_VALUE}}
}

func vector(unindexed bool, vs ...*pb.Value) *pb.Value {
	v := array(vs...)
	v.Meaning, v.ExcludeFromIndexes = 31, unindexed
	return v
}

func keyValue(k *pb.Key) *pb.Value { return &pb.Value{ValueType: &pb.Value_KeyValue{KeyValue: k}} }

func entityValue(e *pb.Entity) *pb.Value {
	return &pb.Value{ValueType: &pb.Value_EntityValue{EntityValue: e}}
}

func embedded(name string, v *pb.Value) *pb.Value {
	return entityValue(&pb.Entity{Properties: map[string]*pb.Value{name: v}})
}

func excluded(v *pb.Value) *pb.Value {
	v = proto.CloneOf(v)
	v.ExcludeFromIndexes = true
	return v
}

func meaning(v *pb.Value, m int32) *pb.Value {
	v.Meaning = m
	return v
}

func based(m *pb.Mutation, version int64) *pb.Mutation {
	m.ConflictDetectionStrategy = &pb.Mutation_BaseVersion{BaseVersion: version}
	return m
}

func increment(path string, v *pb.Value) *pb.PropertyTransform {
	return &pb.PropertyTransform{Property: path, TransformType: &pb.PropertyTransform_Increment{Increment: v}}
}

func maximum(path string, v *pb.Value) *pb.PropertyTransform {
	return &pb.PropertyTransform{Property: path, TransformType: &pb.PropertyTransform_Maximum{Maximum: v}}
}

func minimum(path string, v *pb.Value) *pb.PropertyTransform {
	return &pb.PropertyTransform{Property: path, TransformType: &pb.PropertyTransform_Minimum{Minimum: v}}
}

func appendMissing(path string, vs ...*pb.Value) *pb.PropertyTransform {
	return &pb.PropertyTransform{Property: path, TransformType: &pb.PropertyTransform_AppendMissingElements{
		AppendMissingElements: &pb.ArrayValue{Values: vs}}}
}

func removeAll(path string, vs ...*pb.Value) *pb.PropertyTransform {
	return &pb.PropertyTransform{Property: path, TransformType: &pb.PropertyTransform_RemoveAllFromArray{
		RemoveAllFromArray: &pb.ArrayValue{Values: vs}}}
}

func requestTime(path string) *pb.PropertyTransform {
	return &pb.PropertyTransform{Property: path, TransformType: &pb.PropertyTransform_SetToServerValue{
		SetToServerValue: pb.PropertyTransform_REQUEST_TIME}}
}

type props = map[string]*pb.Value

func transformed(k *pb.Key, p props, ts ...*pb.PropertyTransform) *pb.Mutation {
	return &pb.Mutation{Operation: &pb.Mutation_Upsert{Upsert: &pb.Entity{Key: k, Properties: p}}, PropertyTransforms: ts}
}

func masked(m *pb.Mutation, paths ...string) *pb.Mutation {
	m.PropertyMask = &pb.PropertyMask{Paths: paths}
	return m
}

// transactional commits all mutations as one transaction.
func (a api) transactional(ms ...*pb.Mutation) (*pb.CommitResponse, error) {
	return a.Commit(a.t.Context(), &pb.CommitRequest{ProjectId: project, Mutations: ms,
		TransactionSelector: &pb.CommitRequest_SingleUseTransaction{SingleUseTransaction: &pb.TransactionOptions{}}})
}

func (a api) properties(k *pb.Key) props {
	a.t.Helper()
	resp, err := a.Lookup(a.t.Context(), &pb.LookupRequest{ProjectId: project, Keys: []*pb.Key{k}})
	if err != nil {
		a.t.Fatal(err)
	}
	if len(resp.GetFound()) == 0 {
		return nil
	}
	return resp.GetFound()[0].GetEntity().GetProperties()
}

// transformCases are what Google's Firestore emulator answers, where it keeps
// to the API's description.
var transformCases = []struct {
	name    string
	before  props
	ts      []*pb.PropertyTransform
	after   props
	results []*pb.Value
}{
	{"increment of nothing", nil, ts(increment("n", integer(5))), props{"n": integer(5)}, vs(integer(5))},
	{"integer plus double", props{"n": integer(1)}, ts(increment("n", double(1.5))), props{"n": double(2.5)}, vs(double(2.5))},
	{"double plus integer", props{"n": double(1)}, ts(increment("n", integer(2))), props{"n": double(3)}, vs(double(3))},
	{"overflow", props{"n": integer(math.MaxInt64)}, ts(increment("n", integer(2))), props{"n": integer(math.MaxInt64)}, vs(integer(math.MaxInt64))},
	{"underflow", props{"n": integer(-math.MaxInt64)}, ts(increment("n", integer(-20))), props{"n": integer(math.MinInt64)}, vs(integer(math.MinInt64))},
	{"increment of a string", props{"n": text("x")}, ts(increment("n", integer(2))), props{"n": integer(2)}, vs(integer(2))},
	{"the operand says whether it is indexed", props{"n": excluded(integer(1)), "m": integer(1)},
		ts(increment("n", integer(2)), increment("m", excluded(integer(2)))), props{"n": integer(3), "m": excluded(integer(3))}, vs(integer(3), excluded(integer(3)))},
	{"3 and 3.0", props{"a": integer(3), "b": double(3)}, ts(maximum("a", double(3)), minimum("b", integer(3))), props{"a": integer(3), "b": double(3)}, vs(integer(3), double(3))},
	{"a larger double", props{"n": integer(3)}, ts(maximum("n", double(4.5))), props{"n": double(4.5)}, vs(double(4.5))},
	{"zeros", props{"n": double(math.Copysign(0, -1))}, ts(maximum("n", integer(0)), maximum("n", double(0))), props{"n": double(math.Copysign(0, -1))}, vs(double(math.Copysign(0, -1)), double(math.Copysign(0, -1)))},
	{"NaN wins", props{"a": integer(3), "b": double(math.NaN()), "c": integer(3), "d": double(math.NaN())},
		ts(maximum("a", double(math.NaN())), maximum("b", integer(3)), minimum("c", double(math.NaN())), minimum("d", integer(3))),
		props{"a": double(math.NaN()), "b": double(math.NaN()), "c": double(math.NaN()), "d": double(math.NaN())},
		vs(double(math.NaN()), double(math.NaN()), double(math.NaN()), double(math.NaN()))},
	{"minimum of a string", props{"n": text("a")}, ts(minimum("n", integer(3))), props{"n": integer(3)}, vs(integer(3))},
	{"integers that no double can hold", props{"a": integer(1<<53 + 1), "b": integer(1<<53 + 1)}, ts(maximum("a", double(1<<53)), minimum("b", double(1<<53))),
		props{"a": integer(1<<53 + 1), "b": double(1 << 53)}, vs(integer(1<<53+1), double(1<<53))},
	{"append to nothing", nil, ts(appendMissing("a", integer(1), double(1), integer(2), null(), null())), props{"a": array(integer(1), integer(2), null())}, vs(null())},
	{"append to a number", props{"a": integer(7)}, ts(appendMissing("a", integer(1))), props{"a": array(integer(1))}, vs(null())},
	{"append nothing to a number", props{"a": integer(7)}, ts(appendMissing("a")), props{"a": array()}, vs(null())},
	{"append what is there", props{"a": array(integer(3), double(math.NaN()))}, ts(appendMissing("a", double(3), double(math.NaN()), text("x"))), props{"a": array(integer(3), double(math.NaN()), text("x"))}, vs(null())},
	{"append equivalent entities", nil, ts(appendMissing("a", embedded("x", integer(1)), embedded("x", double(1)))), props{"a": array(embedded("x", integer(1)))}, vs(null())},
	{"append other types", nil, ts(appendMissing("a", text("a"), &pb.Value{ValueType: &pb.Value_BlobValue{BlobValue: []byte("a")}})), props{"a": array(text("a"), &pb.Value{ValueType: &pb.Value_BlobValue{BlobValue: []byte("a")}})}, vs(null())},
	{"append what is there unindexed", props{"a": array(excluded(integer(3)))}, ts(appendMissing("a", integer(3), integer(4))), props{"a": array(excluded(integer(3)), integer(4))}, vs(null())},
	{"append to a vector", props{"a": vector(true, double(1))}, ts(appendMissing("a", integer(3))), props{"a": array(integer(3))}, vs(null())},
	{"remove", props{"a": array(integer(3), double(3), integer(4), double(math.NaN()), null())}, ts(removeAll("a", double(3), double(math.NaN()), null())), props{"a": array(integer(4))}, vs(null())},
	{"remove from a number", props{"a": integer(3)}, ts(removeAll("a", double(3))), props{"a": array()}, vs(null())},
	{"remove from nothing", nil, ts(removeAll("a", double(3))), props{"a": array()}, vs(null())},
	{"remove entities", props{"a": array(embedded("x", integer(1)))}, ts(removeAll("a", embedded("x", double(1)))), props{"a": array()}, vs(null())},
	{"into nothing", nil, ts(increment("e.x", integer(1))), props{"e": embedded("x", integer(1))}, vs(integer(1))},
	{"into an entity", props{"e": embedded("x", integer(4))}, ts(increment("e.x", integer(1))), props{"e": embedded("x", integer(5))}, vs(integer(5))},
	{"into an unindexed entity", props{"e": excluded(embedded("x", integer(4)))}, ts(increment("e.x", integer(1))), props{"e": excluded(embedded("x", integer(5)))}, vs(integer(5))},
	{"into a number", props{"e": integer(4)}, ts(increment("e.x", integer(1))), props{"e": embedded("x", integer(1))}, vs(integer(1))},
	{"into an array", props{"e": array(embedded("x", integer(4)))}, ts(increment("e.x", integer(1))), props{"e": embedded("x", integer(1))}, vs(integer(1))},
	{"deep", nil, ts(increment("a.b.c", integer(1))), props{"a": embedded("b", embedded("c", integer(1)))}, vs(integer(1))},
	{"a dot in a path leads into an entity", props{"a.b": integer(4)}, ts(increment("a.b", integer(1))), props{"a": embedded("b", integer(1)), "a.b": integer(4)}, vs(integer(1))},
	{"in backquotes", props{"a.b": integer(4)}, ts(increment("`a.b`", integer(1))), props{"a.b": integer(5)}, vs(integer(5))},
	{"in order", props{"n": integer(1)}, ts(increment("n", integer(1)), increment("n", integer(10)), maximum("n", integer(5))), props{"n": integer(12)}, vs(integer(2), integer(12), integer(12))},

	// The API demands escapes and doesn't say which; Google's emulator refuses this one.
	{"with backslashes", props{"a.b": integer(4), `c\d`: integer(4)}, ts(increment(`a\.b`, integer(1)), increment(`c\\d`, integer(1))), props{"a.b": integer(5), `c\d`: integer(5)}, vs(integer(5), integer(5))},
}

func ts(all ...*pb.PropertyTransform) []*pb.PropertyTransform { return all }

func vs(all ...*pb.Value) []*pb.Value { return all }

func TestTransforms(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	for _, c := range transformCases {
		t.Run(c.name, func(t *testing.T) {
			// Together with the operation, and with an empty mask on what is stored.
			k := key("T", c.name)
			resp, err := a.transactional(transformed(k, c.before, c.ts...))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.results, resp.GetMutationResults()[0].GetTransformResults(), protocmp.Transform(), cmpopts.EquateNaNs()); diff != "" {
				t.Errorf("results (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.after, a.properties(k), protocmp.Transform(), cmpopts.EquateNaNs()); diff != "" {
				t.Errorf("properties (-want +got):\n%s", diff)
			}
			k = key("T", c.name+", stored")
			a.mustCommit(nil, transformed(k, c.before))
			a.mustCommit(nil, masked(transformed(k, nil, c.ts...)))
			if diff := cmp.Diff(c.after, a.properties(k), protocmp.Transform(), cmpopts.EquateNaNs()); diff != "" {
				t.Errorf("of the stored entity (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRefusedTransforms(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	const paths = ". Unquoted property paths must match regex ([a-zA-Z_][a-zA-Z_0-9]*), and quoted property paths must match regex (`(?:[^`\\\\]|(?:\\\\.))+`)"
	deep := "a" + strings.Repeat(".a", 21)
	many := make([]*pb.PropertyTransform, 501)
	for i := range many {
		many[i] = increment("n", integer(1))
	}
	long := text(fmt.Sprintf("%01501d", 0))
	for _, c := range []struct {
		ts   []*pb.PropertyTransform
		text string
	}{
		{ts(&pb.PropertyTransform{Property: "n"}), "Operation type must be specified for field transformation."},
		{ts(&pb.PropertyTransform{Property: "n", TransformType: &pb.PropertyTransform_SetToServerValue{}}), "ServerValue type must be specified for set_to_server_value transformation."},
		{ts(increment("n", text("a"))), "Input must be int64 or double."},
		{ts(maximum("n", null())), "Input must be int64 or double."},
		{ts(increment("n", &pb.Value{})), "Value missing type."},
		{ts(appendMissing("n", &pb.Value{})), "Value missing type."},
		{ts(increment("", integer(1))), "Invalid empty property path string."},
		{ts(increment("__key__", integer(1))), `Invalid property path member name "__key__".`},
		{ts(increment("e.__x__", integer(1))), `The property_transforms.property.name "__x__" is reserved.`},
		{ts(increment(`a\b`, integer(1))), `Invalid property path "a\b"` + paths},
		{ts(increment(`a\`, integer(1))), `Invalid property path "a\"` + paths},
		{ts(increment("a..b", integer(1))), `Invalid property path "a..b"` + paths},
		{ts(increment("a.", integer(1))), `Invalid property path "a."` + paths},
		{ts(increment("`a", integer(1))), "Invalid property path \"`a\"" + paths},
		{ts(increment(deep, integer(1))), "At most 20 nested entity values are supported."},
		{ts(increment("r.x", integer(1)), increment("s", integer(1)), increment("r", integer(1))), "Cannot transform property r and its nested property at the same time."},
		{many, "A mutation has at most 500 property transforms; this one has 501."},
		{ts(appendMissing("a", array(integer(1)))), "list_value cannot contain a Value containing another list_value."},
		{ts(appendMissing("a", embedded("__x__", integer(1)))), `The property.name "__x__" is reserved.`},
		{ts(appendMissing("a", long)), `The value of property "a" is longer than 1500 bytes.`},
	} {
		err := a.commit(t.Context(), nil, put("T", "witness", 1), transformed(key("T", "n"), nil, c.ts...))
		if status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != c.text {
			t.Errorf("%v: got %v; want %q", c.ts[0], err, c.text)
		}
	}
	err := a.commit(t.Context(), nil, &pb.Mutation{Operation: &pb.Mutation_Delete{Delete: key("T", "n")}, PropertyTransforms: ts(requestTime("t"))})
	if got, want := status.Convert(err).Message(), "Delete mutation cannot have PropertyTransforms."; got != want {
		t.Errorf("got %q; want %q", got, want)
	}
	a.mustGet(nil, "T", "witness", -1)
}

// TestRequestTime: the same in the whole commit, in milliseconds, and when a
// commit had to wait, the time when its turn came.
func TestRequestTime(t *testing.T) {
	isolated(t, nil, func(t *testing.T, a api, _ *env) {
		time.Sleep(1234567 * time.Microsecond)
		holder := a.begin(nil)
		a.mustGet(holder, "T", "a", -1)
		write := do(func() error {
			_, err := a.transactional(transformed(key("T", "a"), nil, requestTime("t")), transformed(key("T", "b"), nil, requestTime("t"), requestTime("u")))
			return err
		})
		time.Sleep(5 * time.Second)
		want := time.Now().Truncate(time.Millisecond)
		a.rollback(holder)
		if err := <-write.err; err != nil {
			t.Fatal(err)
		}
		for _, v := range []*pb.Value{a.properties(key("T", "a"))["t"], a.properties(key("T", "b"))["t"], a.properties(key("T", "b"))["u"]} {
			if got := v.GetTimestampValue().AsTime(); !got.Equal(want) {
				t.Errorf("%v; want %v", got, want.UTC())
			}
		}
	})
}

// TestTransformsMeetTheEntityAtCommit: increments by many at once all count, in
// and outside transactions, in both modes, and so do those that had to wait.
func TestTransformsMeetTheEntityAtCommit(t *testing.T) {
	for _, mode := range []string{"pessimistic", "optimistic"} {
		t.Run(mode, func(t *testing.T) {
			e := start(t, &datastore.Options{Concurrency: mode})
			a := api{e.raw(), t}
			var wg sync.WaitGroup
			const clients, rounds = 16, 50
			for i := range clients {
				wg.Go(func() {
					for range rounds {
						add := masked(transformed(key("T", "sum"), nil, increment("n", integer(1))))
						var err error
						if i%2 == 0 {
							err = a.commit(t.Context(), nil, add)
						} else {
							_, err = a.transactional(add)
						}
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			a.mustGet(nil, "T", "sum", clients*rounds)
		})
	}
	isolated(t, nil, func(t *testing.T, a api, _ *env) {
		a.mustCommit(nil, put("T", "a", 1))
		tx := a.begin(nil)
		a.mustGet(tx, "T", "a", 1)
		add := do(func() error {
			return a.commit(t.Context(), nil, masked(transformed(key("T", "a"), nil, increment("n", integer(1)))))
		})
		if !add.waits() {
			t.Error("the increment did not wait")
		}
		a.mustCommit(tx, put("T", "a", 10))
		if err := <-add.err; err != nil {
			t.Fatal(err)
		}
		a.mustGet(nil, "T", "a", 11)
		synctest.Wait()
	})
}

// TestConflictsInOneCommit: a mutation that conflicts is as if it weren't there
// for those that come after it, which conflict only if they demand the same.
// (Google's older emulator marks those without a base as conflicting too; the
// API says that conflict_detected is false without one.)
func TestConflictsInOneCommit(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	k := key("T", "a")
	a.mustCommit(nil, put("T", "a", 1))
	resp, err := a.transactional(
		based(transformed(k, props{"n": integer(2)}), 1),
		masked(transformed(k, props{"m": integer(3)}), "m"),
		based(transformed(k, props{"n": integer(4)}, increment("n", integer(1))), 1))
	if err != nil {
		t.Fatal(err)
	}
	var conflicts []bool
	for _, r := range resp.GetMutationResults() {
		conflicts = append(conflicts, r.GetConflictDetected())
	}
	if diff := cmp.Diff([]bool{true, false, true}, conflicts); diff != "" {
		t.Errorf("conflicts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(props{"n": integer(1), "m": integer(3)}, a.properties(k), protocmp.Transform(), cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	stored := resp.GetMutationResults()[1].GetVersion()
	resp, err = a.transactional(based(transformed(k, props{"n": integer(9)}, increment("n", integer(1))), 1))
	if err != nil {
		t.Fatal(err)
	}
	want := &pb.MutationResult{Version: stored, ConflictDetected: true}
	if diff := cmp.Diff(want, resp.GetMutationResults()[0], protocmp.Transform(), protocmp.IgnoreFields(want, "create_time", "update_time")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestWritesThatChangeNothing keep the version, as the API says of
// MutationResult.version.
func TestWritesThatChangeNothing(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	k := key("T", "a")
	full := props{"n": integer(1), "m": text("x"), "e": embedded("x", double(1)), "l": array(integer(1), excluded(text("y")))}
	first, err := a.transactional(transformed(k, full))
	if err != nil {
		t.Fatal(err)
	}
	version := first.GetMutationResults()[0].GetVersion()
	for range 10 { // the encoding orders properties at random
		resp, err := a.transactional(transformed(k, full), masked(transformed(k, nil, maximum("n", integer(0)))))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range resp.GetMutationResults() {
			if r.GetVersion() != version || resp.GetIndexUpdates() != 0 {
				t.Errorf("version %d, %d index updates; want %d and none", r.GetVersion(), resp.GetIndexUpdates(), version)
			}
		}
	}
	for name, v := range map[string]*pb.Value{"m": text("z"), "e": embedded("x", double(2)), "l": array(integer(1), excluded(text("w")))} {
		changed := props{}
		maps.Copy(changed, full)
		changed[name] = v
		resp, err := a.transactional(transformed(k, changed))
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.GetMutationResults()[0].GetVersion(); got <= version {
			t.Errorf("another %s kept the version", name)
		}
		version = resp.GetMutationResults()[0].GetVersion()
	}
}
