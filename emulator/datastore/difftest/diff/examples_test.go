package diff

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/model"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Each entry of the table has an example: a minimal script with the answers that
// Google's emulator gave. Our server differs from them in what that entry says,
// now as well, and in nothing that no entry justifies. Write those that are
// missing with
//
//	go run ./emulator/datastore/difftest -examples emulator/datastore/difftest/diff/testdata/examples -count 100000
func TestExamples(t *testing.T) {
	const folder = "testdata/examples"
	table := Justified()
	ours := Server{"ours", serve(t, "")}
	for i := range table {
		e := &table[i]
		t.Run(e.ID, func(t *testing.T) {
			file := filepath.Join(folder, e.ID+".txt")
			text, err := os.ReadFile(file)
			if e.NoExample != "" {
				if err == nil {
					t.Errorf("there is %s, though there should be none: %s", file, e.NoExample)
				}
				return
			}
			if errors.Is(err, fs.ErrNotExist) {
				t.Skipf("NO EXAMPLE RECORDED: %v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			s, err := script.Parse(string(text))
			if err != nil {
				t.Fatal(err)
			}
			found := example(t, ours, table, s, e)
			narrow(t, table, found, e)
		})
	}
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		id := strings.TrimSuffix(filepath.Base(file), ".txt")
		if !slices.ContainsFunc(table, func(e Entry) bool { return e.ID == id }) {
			t.Errorf("%s is the example of no entry", file)
		}
	}
}

// example runs a recording and returns the difference that the entry justifies.
func example(t *testing.T, ours Server, table []Entry, s script.Script, e *Entry) *Case {
	t.Helper()
	theirs := &player{}
	for _, step := range s.Steps {
		theirs.replies = append(theirs.replies, step.Replies...)
	}
	var found *Case
	r := &Runner{Ours: ours, Theirs: []Server{{s.Recorded, theirs}}, Table: table, Counts: NewCounts(),
		Seek: func(entry string, c *Case) bool {
			if entry == e.ID {
				found = c
			}
			return entry == e.ID
		}}
	f, err := r.Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if f == nil || f.Entry != e.ID {
		t.Fatalf("the entry doesn't justify it: %v", f)
	}
	return found
}

// narrow checks that the entry doesn't match what is near its example: the other
// way round, an error of ours that nothing explains, an error or a result of
// theirs that nobody knows.
func narrow(t *testing.T, table []Entry, c *Case, e *Entry) {
	t.Helper()
	matches := func(what string, near Case) {
		t.Helper()
		if unworthy(near.Ours) == "" && e.Match != nil && e.Match(&near) || e.Quirk != (model.Quirks{}) && slices.Contains((&Runner{Table: table}).quirks(near.of, &near), e) {
			t.Errorf("%s is justified as well:\nours   %s\ntheirs %s", what, near.Difference.Ours, near.Difference.Theirs)
		}
	}
	failed := func(a *Answer) *Answer {
		b := *a
		b.fail(status.New(codes.Internal, "boom"))
		return &b
	}
	near := *c
	near.Ours, near.Difference.Ours = failed(c.Ours), "Internal: boom"
	if c.Difference.Aspect == "error" {
		matches("an internal error of ours", near)
	}
	near = *c
	if !e.Either {
		near.Ours, near.Theirs = c.Theirs, c.Ours
		near.Difference.Ours, near.Difference.Theirs = c.Difference.Theirs, c.Difference.Ours
		matches("the other way round", near)
	}
	near = *c
	switch {
	case c.Difference.Aspect == "error":
		near.Theirs, near.Difference.Theirs = failed(c.Theirs), "Internal: boom"
	case e.Wide != "" || !slices.Contains([]string{"results", "found", "missing"}, c.Difference.Aspect):
		return
	default:
		rows := slices.Clone(c.Theirs.Rows)
		rows = append(rows, &pb.EntityResult{Entity: &pb.Entity{Key: &pb.Key{Path: []*pb.Key_PathElement{{Kind: "Nobody", IdType: &pb.Key_PathElement_Id{Id: 1}}}}}})
		theirs := *c.Theirs
		theirs.Rows = rows
		near.Theirs = &theirs
		near.Difference.Theirs = strings.TrimPrefix(c.Difference.Theirs+"\n"+RowText(rows[len(rows)-1]), "\n")
	}
	matches("what nobody says", near)
}

// player answers with what was recorded, in its order.
type player struct{ replies []script.Reply }

func played[M proto.Message](p *player) (response M, err error) {
	if len(p.replies) == 0 {
		return response, status.Error(codes.Internal, "the recording is over")
	}
	r := p.replies[0]
	p.replies = p.replies[1:]
	if r.Response == nil {
		return response, status.Error(r.Code, r.Message)
	}
	response, ok := r.Response.(M)
	if !ok {
		return response, status.Errorf(codes.Internal, "the recording goes on with a %T", r.Response)
	}
	return proto.CloneOf(response), nil
}

func (p *player) Lookup(context.Context, *pb.LookupRequest, ...grpc.CallOption) (*pb.LookupResponse, error) {
	return played[*pb.LookupResponse](p)
}

func (p *player) RunQuery(context.Context, *pb.RunQueryRequest, ...grpc.CallOption) (*pb.RunQueryResponse, error) {
	return played[*pb.RunQueryResponse](p)
}

func (p *player) RunAggregationQuery(context.Context, *pb.RunAggregationQueryRequest, ...grpc.CallOption) (*pb.RunAggregationQueryResponse, error) {
	return played[*pb.RunAggregationQueryResponse](p)
}

func (p *player) BeginTransaction(context.Context, *pb.BeginTransactionRequest, ...grpc.CallOption) (*pb.BeginTransactionResponse, error) {
	return played[*pb.BeginTransactionResponse](p)
}

func (p *player) Commit(context.Context, *pb.CommitRequest, ...grpc.CallOption) (*pb.CommitResponse, error) {
	return played[*pb.CommitResponse](p)
}

func (p *player) Rollback(context.Context, *pb.RollbackRequest, ...grpc.CallOption) (*pb.RollbackResponse, error) {
	return played[*pb.RollbackResponse](p)
}

func (p *player) AllocateIds(context.Context, *pb.AllocateIdsRequest, ...grpc.CallOption) (*pb.AllocateIdsResponse, error) {
	return played[*pb.AllocateIdsResponse](p)
}

func (p *player) ReserveIds(context.Context, *pb.ReserveIdsRequest, ...grpc.CallOption) (*pb.ReserveIdsResponse, error) {
	return played[*pb.ReserveIdsResponse](p)
}
