package transcode

import (
	"strings"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
)

// TestUnknownNameIsFoundWithoutText walks a body of very many elements: where
// they stand is written down only for the one that is wrong.
func TestUnknownNameIsFoundWithoutText(t *testing.T) {
	const elements = 100_000
	body := []byte(`{"mutations":[{}` + strings.Repeat(",{}", elements-1) + `,{"upsert":{"properties":{"a":{},"b":{"nosuch":1}}}}]}`)
	md := (&pb.CommitRequest{}).ProtoReflect().Descriptor()
	var name, at string
	allocs := testing.AllocsPerRun(1, func() { name, at, _ = unknownName(md, body) })
	if want := "mutations[100000].upsert.properties[1].value"; name != "nosuch" || at != want {
		t.Errorf("found %q at %q, want nosuch at %s", name, at, want)
	}
	if limit := float64(elements + 1000); allocs > limit {
		t.Errorf("%v allocations for %d elements, want at most %v", allocs, elements, limit)
	}
}
