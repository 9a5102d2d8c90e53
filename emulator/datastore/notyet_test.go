package datastore_test

import (
	"os"
	"strings"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestNotThereYet: what is refused as Unimplemented is in the package comment.
func TestNotThereYet(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(doc), "# Not there yet")
	a := api{start(t, nil).raw(), t}
	ctx := t.Context()
	run := func(r *pb.RunQueryRequest) error {
		r.ProjectId = project
		_, err := a.RunQuery(ctx, r)
		return err
	}
	for word, err := range map[string]error{
		"explain_options": run(&pb.RunQueryRequest{ExplainOptions: &pb.ExplainOptions{}}),
	} {
		if status.Code(err) != codes.Unimplemented {
			t.Errorf("%s: %v; want Unimplemented", word, err)
		}
		if !strings.Contains(section, word) {
			t.Errorf("the package comment doesn't say that %s is not there yet", word)
		}
	}
}
