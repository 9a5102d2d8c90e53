package datastore_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

// TestStoredValues: what goes in comes out, but for what Datastore settles.
func TestStoredValues(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	own := func(k *pb.Key) *pb.Key {
		k = proto.CloneOf(k)
		k.PartitionId = &pb.PartitionId{ProjectId: project}
		return k
	}
	incomplete := path(numbered("A", 1), &pb.Key_PathElement{Kind: "B"})
	other := &pb.Key{PartitionId: &pb.PartitionId{ProjectId: "other", DatabaseId: "d", NamespaceId: "n"}, Path: key("A", "x").Path}
	for name, c := range map[string]struct{ in, out *pb.Value }{
		"vector":                         {vector(true, double(1), double(2)), vector(true, double(1), double(2))},
		"largest vector":                 {vector(true, slices.Repeat(vs(double(1)), 2048)...), vector(true, slices.Repeat(vs(double(1)), 2048)...)},
		"vector with unindexed elements": {vector(true, excluded(double(1))), vector(true, double(1))},
		"vector in an entity":            {embedded("v", vector(true, double(1))), embedded("v", vector(true, double(1)))},
		"key":                            {keyValue(key("A", "x")), keyValue(own(key("A", "x")))},
		"key of another database":        {keyValue(other), keyValue(other)},
		"key with reserved names":        {keyValue(key("__A__", "__x__")), keyValue(own(key("__A__", "__x__")))},
		"entity with a key":              {entityValue(&pb.Entity{Key: key("A", "x")}), entityValue(&pb.Entity{Key: own(key("A", "x"))})},
		"entity with an incomplete key":  {entityValue(&pb.Entity{Key: incomplete}), entityValue(&pb.Entity{Key: own(incomplete)})},
		"entity with a reserved key":     {entityValue(&pb.Entity{Key: key("__A__", "x")}), entityValue(&pb.Entity{Key: own(key("__A__", "x"))})},
	} {
		t.Run(name, func(t *testing.T) {
			a.mustCommit(nil, upsert(key("V", name), "p", c.in))
			if diff := cmp.Diff(c.out, a.properties(key("V", name))["p"], protocmp.Transform()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestLegacyNames: kinds and names that are not UTF-8 come in base64, with and
// without padding.
func TestLegacyNames(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	padded, bare := key("__bytes_-8=__", "__bytes_w==__"), key("__bytes_-8__", "__bytes_w__")
	a.mustCommit(nil, upsert(bare, "n", integer(1)))
	resp, err := a.Lookup(t.Context(), &pb.LookupRequest{ProjectId: project, Keys: []*pb.Key{proto.CloneOf(padded), proto.CloneOf(bare)}})
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.GetFound()) != 1 || len(resp.GetMissing()) != 0 {
		t.Fatalf("found %v, missing %v; want one entity", resp.GetFound(), resp.GetMissing())
	}
	if diff := cmp.Diff(padded.GetPath(), resp.GetFound()[0].GetEntity().GetKey().GetPath(), protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestMasksOfReads: paths are those of the API, and reserved names are refused.
func TestMasksOfReads(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	k := key("M", "a")
	a.mustCommit(nil, transformed(k, props{"a": integer(1), "b.c": integer(2), "l": array(embedded("x", integer(1))), "e": entityValue(&pb.Entity{
		Properties: props{"x": integer(1), "y": integer(2)}})}))
	read := func(paths ...string) ([]props, error) {
		m := &pb.PropertyMask{Paths: paths}
		look, err := a.Lookup(t.Context(), &pb.LookupRequest{ProjectId: project, Keys: []*pb.Key{k}, PropertyMask: m})
		if err != nil {
			return nil, err
		}
		run, err := a.RunQuery(t.Context(), &pb.RunQueryRequest{ProjectId: project, PropertyMask: m,
			QueryType: &pb.RunQueryRequest_Query{Query: &pb.Query{Kind: []*pb.KindExpression{{Name: "M"}}}}})
		if err != nil {
			return nil, err
		}
		return []props{look.GetFound()[0].GetEntity().GetProperties(), run.GetBatch().GetEntityResults()[0].GetEntity().GetProperties()}, nil
	}
	for _, c := range []struct {
		paths []string
		want  props
	}{
		{nil, nil},
		{[]string{"__key__"}, nil},
		{[]string{"a", "a"}, props{"a": integer(1)}},
		{[]string{"b.c", "l.x", "a.b", "z"}, nil},
		{[]string{"`b.c`"}, props{"b.c": integer(2)}},
		{[]string{"e.x"}, props{"e": embedded("x", integer(1))}},
	} {
		all, err := read(c.paths...)
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range all {
			if diff := cmp.Diff(c.want, got, protocmp.Transform()); diff != "" {
				t.Errorf("%q (-want +got):\n%s", c.paths, diff)
			}
		}
	}
	for p, want := range map[string]string{
		"__x__":                   "the name __x__ is reserved",
		"e.__x__":                 "the name __x__ is reserved",
		"":                        "Invalid empty property path string.",
		strings.Repeat("x", 1501): "property path is longer than 1500 bytes.",
	} {
		if _, err := read(p); status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != want {
			t.Errorf("%.20q: got %v; want %q", p, err, want)
		}
	}
}

// TestAnswersThatWouldBeTooLarge are refused before anything is done: a client
// could not take them.
func TestAnswersThatWouldBeTooLarge(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	many := make([]*pb.Mutation, 100_000)
	for i := range many {
		many[i] = remove(path(numbered("D", int64(i+1))))
	}
	err := a.commit(t.Context(), nil, slices.Concat(many, []*pb.Mutation{put("D", "witness", 1)})...)
	const text = "The answer to a commit has at most 4193280 bytes; the results of these 100001 mutations may take "
	if status.Code(err) != codes.InvalidArgument || !strings.HasPrefix(status.Convert(err).Message(), text) {
		t.Errorf("got %v; want %q", err, text)
	}
	a.mustGet(nil, "D", "witness", -1)
	if err := a.commit(t.Context(), nil, many[:90_000]...); err != nil {
		t.Errorf("90,000 mutations: %v", err)
	}

	keys := make([]*pb.Key, 6000)
	for i := range keys {
		keys[i] = path(named("A", fmt.Sprintf("%01000d", i)), &pb.Key_PathElement{Kind: "B"})
	}
	_, err = a.AllocateIds(t.Context(), &pb.AllocateIdsRequest{ProjectId: project, Keys: keys})
	if status.Code(err) != codes.InvalidArgument || !strings.HasPrefix(status.Convert(err).Message(), "The answer to AllocateIds has at most 4193280 bytes; these 6000 keys take ") {
		t.Errorf("got %v", err)
	}
	if _, err := a.AllocateIds(t.Context(), &pb.AllocateIdsRequest{ProjectId: project, Keys: keys[:4000]}); err != nil {
		t.Errorf("4000 keys: %v", err)
	}
}

// TestRequestTags are accepted, whatever they are, and mean nothing.
func TestRequestTags(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	o := &pb.RequestOptions{RequestTags: append(slices.Repeat([]string{"same", ""}, 50), strings.Repeat("x", 1000))}
	if _, err := a.Commit(t.Context(), &pb.CommitRequest{ProjectId: project, Mode: pb.CommitRequest_NON_TRANSACTIONAL,
		Mutations: []*pb.Mutation{put("A", "n", 1)}, RequestOptions: o}); err != nil {
		t.Error(err)
	}
	if _, err := a.Lookup(t.Context(), &pb.LookupRequest{ProjectId: project, Keys: []*pb.Key{key("A", "n")}, RequestOptions: o}); err != nil {
		t.Error(err)
	}
}
