package wire

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// TestLimit: a request is refused by what it took on the wire, and nothing is
// kept of it afterwards.
func TestLimit(t *testing.T) {
	l := NewLimit(100, func(size int) error { return fmt.Errorf("%d bytes", size) })
	if name := l.Name(); name != "proto" {
		t.Errorf("the codec is called %q", name)
	}
	answer := func(context.Context, any) (any, error) { return "served", nil }
	for n, want := range map[int]string{0: "<nil>", 98: "<nil>", 99: "101 bytes", 120: "122 bytes"} {
		b, err := proto.Marshal(wrapperspb.String(strings.Repeat("x", n)))
		if err != nil {
			t.Fatal(err)
		}
		var req wrapperspb.StringValue
		if err := l.Unmarshal(mem.BufferSlice{mem.SliceBuffer(b)}, &req); err != nil || len(req.GetValue()) != n {
			t.Fatalf("%d of %d letters, %v", len(req.GetValue()), n, err)
		}
		for range 2 {
			resp, err := l.Intercept(t.Context(), &req, nil, answer)
			if got := fmt.Sprint(err); got != want || err == nil && resp != "served" {
				t.Errorf("%d letters: %v, %v; want %s", n, resp, err, want)
			}
			want = "<nil>" // it's forgotten
		}
	}
	if err := l.Unmarshal(mem.BufferSlice{mem.SliceBuffer(strings.Repeat("\xff", 200))}, new(wrapperspb.StringValue)); err == nil {
		t.Error("no error about bytes that are no message")
	}
	for req := range l.over.Range {
		t.Errorf("%v is kept", req)
	}
}
