package encoding_test

import (
	"fmt"
	"strings"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
)

// TestRowsOfAnySize: rows are the same whether their numbers need two bytes or
// four, and whatever their maker has made before.
func TestRowsOfAnySize(t *testing.T) {
	var maker encoding.RowMaker
	for _, size := range []int{1, 300, 325, 326, 327, 328, 329, 330, 1000, 2} { // 200 rows of them have about 64 KiB
		const properties = 200
		e := &pb.Entity{
			Key:        &pb.Key{Path: []*pb.Key_PathElement{{Kind: "K", IdType: &pb.Key_PathElement_Name{Name: "n"}}}},
			Properties: map[string]*pb.Value{},
		}
		text := strings.Repeat("x", size)
		for i := range properties {
			e.Properties[fmt.Sprintf("p%03d", i)] = &pb.Value{ValueType: &pb.Value_StringValue{StringValue: text}}
		}
		rows, err := maker.Of(e)
		if err != nil {
			t.Fatal(err)
		}
		if rows.Len() != encoding.FirstProperty+properties || rows.Repeats() {
			t.Fatalf("%d rows of %d bytes, repeats: %v", rows.Len(), size, rows.Repeats())
		}
		path := string(encoding.AppendPath(nil, e.GetKey()))
		if rows.Path() != path || rows.Row(0) != encoding.EntityRow(e.GetKey()) || rows.Row(1) != encoding.KindPrefix("", "K")+path {
			t.Fatalf("%d bytes: path %q, rows %q and %q", size, rows.Path(), rows.Row(0), rows.Row(1))
		}
		for i := range properties {
			prefix := encoding.PropertyPrefix("", "K", fmt.Sprintf("p%03d", i))
			head := rows.Head(encoding.FirstProperty + i)
			if !strings.HasPrefix(head, prefix) || strings.Count(head, "x") != size {
				t.Fatalf("%d bytes: head %d is %q", size, i, head)
			}
		}
	}
}

// TestRepeats: rows know whether a property has several of them.
func TestRepeats(t *testing.T) {
	text := func(s string) *pb.Value { return &pb.Value{ValueType: &pb.Value_StringValue{StringValue: s}} }
	array := func(values ...*pb.Value) *pb.Value {
		return &pb.Value{ValueType: &pb.Value_ArrayValue{ArrayValue: &pb.ArrayValue{Values: values}}}
	}
	for _, c := range []struct {
		properties map[string]*pb.Value
		repeats    bool
	}{
		{nil, false},
		{map[string]*pb.Value{"a": text("x"), "aa": text("x"), "b": text("y")}, false},
		{map[string]*pb.Value{"a": array(text("x"), text("x"))}, false},
		{map[string]*pb.Value{"a": array(text("x"), text("y"))}, true},
		{map[string]*pb.Value{"a": text("1"), "b": array(text(""), text("y")), "c": text("z")}, true},
	} {
		e := &pb.Entity{Key: &pb.Key{Path: []*pb.Key_PathElement{{Kind: "K", IdType: &pb.Key_PathElement_Id{Id: 1}}}}, Properties: c.properties}
		rows, err := encoding.RowsOf(e)
		if err != nil {
			t.Fatal(err)
		}
		named := false
		for range rows.Repeated() {
			named = true
		}
		if rows.Repeats() != c.repeats || named != c.repeats {
			t.Errorf("%v: repeats %v, named: %v; want %v", c.properties, rows.Repeats(), named, c.repeats)
		}
	}
	if (encoding.Rows{}).Repeats() {
		t.Error("no rows repeat")
	}
}
