package cloudtasks

import (
	"fmt"
	"testing"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// TestRememberedOperationsAreBounded: in bytes too, since an answer may carry
// the bodies of its tasks.
func TestRememberedOperationsAreBounded(t *testing.T) {
	var b batches
	size := 0
	remember := func(id string) (made bool) {
		_, err := b.once("projects/p/locations/l/queues/q", "create", id, func() (*longrunningpb.Operation, error) {
			made = true
			return &longrunningpb.Operation{Metadata: &anypb.Any{Value: make([]byte, size)}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	for _, tt := range []struct{ size, kept int }{{10, maxOperations}, {8 << 20, maxOperationBytes/(8<<20) - 1}, {10, maxOperations}} {
		size = tt.size
		for i := range 2 * maxOperations {
			remember(fmt.Sprint(tt.size, i))
		}
		kept := 0
		for _, op := range b.done {
			kept += proto.Size(op)
		}
		if len(b.done) > tt.kept || kept > maxOperationBytes {
			t.Errorf("after operations of %d bytes: %d are remembered, %d bytes; want at most %d and %d", tt.size, len(b.done), kept, tt.kept, maxOperationBytes)
		}
		if remember(fmt.Sprint(tt.size, 2*maxOperations-1)) {
			t.Errorf("the last operation of %d bytes is forgotten", tt.size)
		}
	}
}
