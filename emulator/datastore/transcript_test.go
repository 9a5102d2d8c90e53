package datastore_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

var rewrite = flag.Bool("update", false, "rewrite the answers in testdata/*.txt")

// TestTranscripts replays conversations and compares the answers, each on a
// server and a clock of its own. A line is a command and a message in text
// format; what is indented below it is the answer:
//
//	put ENTITY                  upserts
//	query RunQueryRequest       rquery: in a read-write transaction of its own
//	aggregate RunAggregationQueryRequest
//	lookup LookupRequest
//	sleep DURATION              lets time pass
//
// CURSOR stands for the end cursor of the query before. Answers come without
// what differs between runs (times, versions, cursors) and without partitions
// but for their namespaces.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { replay(t, file) })
		})
	}
}

func replay(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := speaker{DatastoreClient: start(t, nil).raw()}
	var out []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "  ") {
			continue // an answer
		}
		out = append(out, line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		for answer := range strings.Lines(s.say(t, line)) {
			out = append(out, "  "+strings.TrimRight(answer, "\n"))
		}
	}
	got := strings.Join(out, "\n") + "\n"
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(strings.Split(string(text), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got); -update rewrites the answers:\n%s", file, diff)
	}
}

// speaker sends the commands of a transcript.
type speaker struct {
	pb.DatastoreClient
	cursor []byte // the latest end cursor
}

func (s *speaker) say(t *testing.T, line string) string {
	ctx := t.Context()
	verb, text, _ := strings.Cut(line, " ")
	text = strings.ReplaceAll(text, "CURSOR", fmt.Sprintf("%+q", s.cursor))
	read := func(m proto.Message) {
		if err := prototext.Unmarshal([]byte(text), m); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	var answer proto.Message
	var err error
	switch verb {
	case "put":
		e := new(pb.Entity)
		read(e)
		_, err = s.Commit(ctx, &pb.CommitRequest{ProjectId: project, Mode: pb.CommitRequest_NON_TRANSACTIONAL,
			Mutations: []*pb.Mutation{{Operation: &pb.Mutation_Upsert{Upsert: e}}}})
		if err == nil {
			return ""
		}
	case "query", "rquery":
		req := new(pb.RunQueryRequest)
		read(req)
		answer, err = s.query(ctx, req, verb == "rquery")
	case "aggregate":
		req := new(pb.RunAggregationQueryRequest)
		read(req)
		req.ProjectId = project
		answer, err = s.RunAggregationQuery(ctx, req)
	case "lookup":
		req := new(pb.LookupRequest)
		read(req)
		req.ProjectId = project
		answer, err = s.Lookup(ctx, req)
	case "sleep":
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(d)
		return ""
	default:
		t.Fatalf("%q is no command", verb)
	}
	if err != nil {
		return fmt.Sprintf("%v %q", status.Code(err), status.Convert(err).Message())
	}
	return messageText(answer)
}

func (s *speaker) query(ctx context.Context, req *pb.RunQueryRequest, inTx bool) (*pb.RunQueryResponse, error) {
	req.ProjectId = project
	if inTx {
		req.ReadOptions = &pb.ReadOptions{ConsistencyType: &pb.ReadOptions_NewTransaction{NewTransaction: &pb.TransactionOptions{}}}
	}
	resp, err := s.RunQuery(ctx, req)
	if err != nil {
		return nil, err
	}
	if inTx {
		if _, err := s.Rollback(ctx, &pb.RollbackRequest{ProjectId: project, Transaction: resp.GetTransaction()}); err != nil {
			return nil, err
		}
		resp.Transaction = nil
	}
	s.cursor = resp.GetBatch().GetEndCursor()
	return resp, nil
}

var (
	varying = regexp.MustCompile(` ?\b((read|create|update|commit)_time|execution_duration): ?\{[^{}]*\}|` +
		` ?\b(snapshot_)?version: ?\d+|` +
		` ?\b(skipped_|end_)?cursor: ?"(\\.|[^"\\])*"|` +
		` ?project_id: ?"[^"]*"`)
	noPartition = regexp.MustCompile(` ?partition_id: ?\{ ?\} ?`)
)

// messageText renders a message on a line, each result of a query on one of its
// own. The text format puts in spaces at random; they go.
func messageText(m proto.Message) string {
	text := strings.Join(strings.Fields(prototext.MarshalOptions{}.Format(m)), " ")
	text = noPartition.ReplaceAllString(varying.ReplaceAllString(text, ""), "")
	text = strings.NewReplacer("{ ", "{", " }", "}").Replace(text)
	return strings.ReplaceAll(text, " entity_results:", "\nentity_results:")
}
