package script_test

import (
	"strings"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
	"google.golang.org/grpc/codes"
)

const recording = `recorded FS
step 1 BeginTransaction
  project_id: "thisproject"
reply
  transaction: "set"
step 4 Lookup actor 2
  project_id: "thisproject"
  read_options: {
    transaction: "tx:1"
  }
reply 3 "Transaction is \"invalid\"\nor closed."
step 5 RunQuery
reply
  batch: {
    more_results: NOT_FINISHED
  }
reply
  batch: {
    more_results: NO_MORE_RESULTS
  }
`

func TestRecordingsComeBack(t *testing.T) {
	s, err := script.Parse("# a comment\n" + recording)
	if err != nil {
		t.Fatal(err)
	}
	if s.String() != recording {
		t.Errorf("got\n%s\nwant\n%s", s, recording)
	}
	lookup, query := s.Steps[1], s.Steps[2]
	if r := lookup.Replies[0]; lookup.ID != 4 || lookup.Actor != 2 || r.Code != codes.InvalidArgument || r.Message != "Transaction is \"invalid\"\nor closed." {
		t.Errorf("the second step is %+v", lookup)
	}
	if len(query.Replies) != 2 || query.Replies[0].Response.(*pb.RunQueryResponse).GetBatch().GetMoreResults() != pb.QueryResultBatch_NOT_FINISHED {
		t.Errorf("the third step is %+v", query)
	}
}

func TestRefusedScripts(t *testing.T) {
	for text, want := range map[string]string{
		"step one Lookup\n":                             `line 1: the number of a step: "one"`,
		"step 1 Lookdown\n":                             `line 1: no RPC of Datastore is called "Lookdown"`,
		"step 1 Lookup\nstep 1 Lookup\n":                "line 2: a second step 1",
		"step 1 Lookup actor\n":                         "line 1: want step NUMBER METHOD [actor NUMBER]",
		"step 1 Lookup actor x\n":                       `line 1: the number of an actor: "x"`,
		"  keys {}\n":                                   "line 1: a message that belongs to no step",
		"reply\n":                                       "line 1: neither a step nor part of one",
		"step 1 Lookup\nreply x\n":                      `line 2: want reply CODE "TEXT"`,
		"step 1 Lookup\nreply 3 \"x\"\n  a: 1\n":        "line 3: a message that belongs to no step",
		"step 1 Lookup\n  nonsense: 1\nstep 2 Lookup\n": "nonsense",
		"step 1 Lookup\n  nonsense: 1\n":                "nonsense",
	} {
		if _, err := script.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(recording)
	f.Add("interleaved\nstep 1 Commit\n  mode: TRANSACTIONAL\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := script.Parse(text)
		if err != nil {
			return
		}
		again, err := script.Parse(s.String())
		if err != nil {
			t.Fatalf("%v; its text was\n%s", err, s)
		}
		if again.String() != s.String() {
			t.Errorf("it came back as\n%s\nwant\n%s", again, s)
		}
	})
}

func TestReferences(t *testing.T) {
	if step, index, ok := script.CutRef(script.Ref(12, 3)); step != 12 || index != 3 || !ok {
		t.Error(step, index, ok)
	}
	for _, n := range []int64{0, -1, 1 << 62, 1<<63 - 1} {
		if _, _, ok := script.CutRef(n); ok {
			t.Errorf("%d is taken for a reference", n)
		}
	}
	if step, ok := script.CutTransaction(script.Transaction(5)); step != 5 || !ok {
		t.Error(step, ok)
	}
	if step, index, ok := script.CutCursor(script.Cursor(5, script.End)); step != 5 || index != script.End || !ok {
		t.Error(step, index, ok)
	}
}
