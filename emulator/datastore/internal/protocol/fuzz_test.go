package protocol

import (
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"github.com/latchwork/latchwork/emulator/datastore/internal/transactions"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// FuzzRequests: any sequence of a commit, a lookup and a query that decodes is
// answered, never with Internal or Unknown, and what was written can be read.
func FuzzRequests(f *testing.F) {
	key := &pb.Key{Path: []*pb.Key_PathElement{{Kind: "A", IdType: &pb.Key_PathElement_Name{Name: "x\x00"}}}}
	value := &pb.Value{ValueType: &pb.Value_StringValue{StringValue: "v"}}
	array := &pb.Value{ValueType: &pb.Value_ArrayValue{ArrayValue: &pb.ArrayValue{Values: []*pb.Value{value, value}}}}
	e := &pb.Entity{Key: key, Properties: map[string]*pb.Value{"p": value, "a": array}}
	commit := &pb.CommitRequest{ProjectId: "p", Mode: pb.CommitRequest_NON_TRANSACTIONAL, Mutations: []*pb.Mutation{
		{Operation: &pb.Mutation_Upsert{Upsert: e}, PropertyMask: &pb.PropertyMask{Paths: []string{"p", "a.b"}}}}}
	property := func(name string, op pb.PropertyFilter_Operator, v *pb.Value) *pb.Filter {
		return &pb.Filter{FilterType: &pb.Filter_PropertyFilter{PropertyFilter: &pb.PropertyFilter{
			Property: &pb.PropertyReference{Name: name}, Op: op, Value: v}}}
	}
	query := func(q *pb.Query) *pb.RunQueryRequest {
		return &pb.RunQueryRequest{ProjectId: "p", QueryType: &pb.RunQueryRequest_Query{Query: q}}
	}
	kinds := []*pb.KindExpression{{Name: "A"}}
	lookup := &pb.LookupRequest{ProjectId: "p", Keys: []*pb.Key{key}, PropertyMask: &pb.PropertyMask{Paths: []string{"p"}}}
	for _, q := range []*pb.RunQueryRequest{
		query(&pb.Query{}),
		query(&pb.Query{Kind: kinds, Filter: property("p", pb.PropertyFilter_EQUAL, value), Limit: wrapperspb.Int32(1)}),
		query(&pb.Query{Kind: kinds, Filter: property("a", pb.PropertyFilter_GREATER_THAN, value),
			Order: []*pb.PropertyOrder{{Property: &pb.PropertyReference{Name: "p"}, Direction: 2}}, Offset: 1}),
		query(&pb.Query{Kind: kinds, Projection: []*pb.Projection{{Property: &pb.PropertyReference{Name: "a"}}}}),
	} {
		seed := make([][]byte, 3)
		for i, m := range []proto.Message{commit, lookup, q} {
			var err error
			if seed[i], err = proto.Marshal(m); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(seed[0], seed[1], seed[2])
	}
	one := &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: 1}}
	half := &pb.Value{ValueType: &pb.Value_DoubleValue{DoubleValue: 0.5}}
	vector := &pb.Value{ValueType: &pb.Value_ArrayValue{ArrayValue: &pb.ArrayValue{Values: []*pb.Value{half}}}, Meaning: meaningVector, ExcludeFromIndexes: true}
	elements := &pb.ArrayValue{Values: []*pb.Value{one, half, value}}
	var ts []*pb.PropertyTransform
	for path, op := range map[string]*pb.PropertyTransform{
		"t":     {TransformType: &pb.PropertyTransform_SetToServerValue{SetToServerValue: pb.PropertyTransform_REQUEST_TIME}},
		"n":     {TransformType: &pb.PropertyTransform_Increment{Increment: half}},
		"e.n":   {TransformType: &pb.PropertyTransform_Maximum{Maximum: one}},
		"`e`.m": {TransformType: &pb.PropertyTransform_Minimum{Minimum: one}},
		"a":     {TransformType: &pb.PropertyTransform_AppendMissingElements{AppendMissingElements: elements}},
		`b\.c`:  {TransformType: &pb.PropertyTransform_RemoveAllFromArray{RemoveAllFromArray: elements}},
	} {
		op.Property = path
		ts = append(ts, op)
	}
	again := &pb.CommitRequest{ProjectId: "p", Mutations: []*pb.Mutation{
		{Operation: &pb.Mutation_Upsert{Upsert: &pb.Entity{Key: key, Properties: map[string]*pb.Value{"v": vector, "n": one}}}, PropertyTransforms: ts},
		{Operation: &pb.Mutation_Upsert{Upsert: e}, PropertyMask: &pb.PropertyMask{}, PropertyTransforms: ts,
			ConflictDetectionStrategy: &pb.Mutation_BaseVersion{BaseVersion: 1}},
	}, TransactionSelector: &pb.CommitRequest_SingleUseTransaction{SingleUseTransaction: &pb.TransactionOptions{}}}
	past := proto.CloneOf(lookup)
	past.ReadOptions = &pb.ReadOptions{ConsistencyType: &pb.ReadOptions_ReadTime{ReadTime: timestamppb.Now()}}
	seed := make([][]byte, 3)
	for i, m := range []proto.Message{again, past, query(&pb.Query{})} {
		var err error
		if seed[i], err = proto.Marshal(m); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(seed[0], seed[1], seed[2])
	f.Fuzz(func(t *testing.T, commitWire, lookupWire, queryWire []byte) {
		store, err := storage.Open(nil)
		if err != nil {
			t.Fatal(err)
		}
		s := New(store, transactions.Options{})
		defer s.Close()
		ctx := t.Context()
		answered := func(err error) bool {
			if c := status.Code(err); c == codes.Internal || c == codes.Unknown {
				t.Fatal(err)
			}
			return err == nil
		}
		var c pb.CommitRequest
		if proto.Unmarshal(commitWire, &c) == nil {
			if _, err := s.Commit(ctx, &c); answered(err) {
				for _, m := range c.GetMutations() {
					readBack(t, s, &c, m)
				}
			}
		}
		var l pb.LookupRequest
		if proto.Unmarshal(lookupWire, &l) == nil {
			_, err := s.Lookup(ctx, &l)
			answered(err)
		}
		var q pb.RunQueryRequest
		if proto.Unmarshal(queryWire, &q) != nil {
			return
		}
		resp, err := s.RunQuery(ctx, &q)
		if answered(err) && q.GetQuery() != nil {
			q.GetQuery().StartCursor = resp.GetBatch().GetEndCursor()
			_, err = s.RunQuery(ctx, &q)
			answered(err)
		}
	})
}

// readBack looks the entity of a mutation up, if it is the last one on it.
func readBack(t *testing.T, s *Service, c *pb.CommitRequest, m *pb.Mutation) {
	e := m.GetUpsert()
	if e == nil || len(c.GetMutations()) > 1 || m.GetConflictDetectionStrategy() != nil {
		return
	}
	resp, err := s.Lookup(t.Context(), &pb.LookupRequest{ProjectId: c.GetProjectId(), DatabaseId: c.GetDatabaseId(), Keys: []*pb.Key{e.GetKey()}})
	if err != nil {
		t.Fatal(err)
	}
	// The answer carries entities in wire form: see wireform.go.
	wire, err := proto.Marshal(resp)
	if err != nil {
		t.Fatal(err)
	}
	var got pb.LookupResponse
	if err := proto.Unmarshal(wire, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.GetFound()) != 1 {
		t.Fatalf("%v was not found: %v", e.GetKey(), &got)
	}
	if m.GetPropertyMask() == nil && len(m.GetPropertyTransforms()) == 0 && !proto.Equal(got.GetFound()[0].GetEntity(), e) {
		t.Fatalf("wrote %v, read %v", e, got.GetFound()[0].GetEntity())
	}
}
