package protocol

import (
	"strings"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/properties"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
)

// TestComputingAgain: a commit that waits computes its entities again whenever
// they have changed. What that costs doesn't add up to the bound on a commit.
func TestComputingAgain(t *testing.T) {
	large := &pb.Value{ValueType: &pb.Value_StringValue{StringValue: strings.Repeat("x", 900_000)}, ExcludeFromIndexes: true}
	stored := entityOf("A", 1, map[string]*pb.Value{"a": {ValueType: &pb.Value_ArrayValue{
		ArrayValue: &pb.ArrayValue{Values: []*pb.Value{large}}}}})
	var c commit
	c.project = "p"
	m := &pb.Mutation{
		Operation:    &pb.Mutation_Update{Update: &pb.Entity{Key: stored.Key}},
		PropertyMask: &pb.PropertyMask{},
		PropertyTransforms: []*pb.PropertyTransform{{Property: "a", TransformType: &pb.PropertyTransform_AppendMissingElements{
			AppendMissingElements: &pb.ArrayValue{Values: []*pb.Value{integerValue(1)}}}}},
	}
	if err := c.check([]*pb.Mutation{m}); err != nil {
		t.Fatal(err)
	}
	for range properties.MaxWork / 900_000 * 2 {
		current, err := storage.NewEntity(stored)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.compute(&c.planned[0], current, 1); err != nil {
			t.Fatal(err)
		}
	}
}
