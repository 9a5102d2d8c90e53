package gql

import (
	"cmp"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/protobuf/encoding/prototext"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata")

// TestTranscripts: what queries stand for, or the errors they get. A case is
//
//	# a comment
//	namespace n, database d, no literals: what the request says
//	@name a parameter as a proto text, @1 and so on for positional ones
//	the query, each line quoted if it begins with a double quote
//	----
//	the answer
//	FS: what Google's Firestore emulator answers, where that differs
//
// and ends with an empty line. Of syntax errors the list of what was expected
// is never compared with Google's. Where an FS line has an error and ours none,
// Google's error comes from a rule for all queries, which isn't the parser's,
// unless a comment says more. Google's lexer takes a wrong character at the end
// for the end, and its parser gives up some comparisons at their first word,
// where ours names what is wrong. Google's older emulator has the same parser.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cases := strings.Split(strings.TrimSpace(string(text)), "\n\n")
			for i, c := range cases {
				input, rest, ok := strings.Cut(c, "\n----\n")
				if !ok && !*update {
					t.Fatalf("case without ----:\n%s", c)
				}
				want, google, _ := strings.Cut(rest, "\n")
				got := answer(t, input)
				if got != want && !*update {
					t.Errorf("%s\n got %s\nwant %s", input, got, want)
				}
				cases[i] = strings.TrimSuffix(input+"\n----\n"+got+"\n"+google, "\n")
			}
			if *update {
				if err := os.WriteFile(file, []byte(strings.Join(cases, "\n\n")+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// answer parses the input of a case.
func answer(t *testing.T, input string) string {
	q, partition := request(t, input)
	query, err := ParseQuery(q, partition)
	if err == nil {
		return render(query)
	}
	if _, aggregations, _ := parse(q, partition); aggregations == nil {
		return "error: " + strings.ReplaceAll(strconv.Quote(err.Error()), `\"`, `"`)
	}
	a, err := ParseAggregation(q, partition)
	if err != nil {
		return "error: " + strings.ReplaceAll(strconv.Quote(err.Error()), `\"`, `"`)
	}
	return renderAggregation(a)
}

func request(t *testing.T, input string) (*pb.GqlQuery, *pb.PartitionId) {
	t.Helper()
	q := &pb.GqlQuery{AllowLiterals: true, NamedBindings: map[string]*pb.GqlQueryParameter{}}
	partition := &pb.PartitionId{ProjectId: "proj"}
	var src []string
	for line := range strings.Lines(input) {
		line = strings.TrimSuffix(line, "\n")
		word, rest, _ := strings.Cut(line, " ")
		switch {
		case word == "#":
		case line == "no literals":
			q.AllowLiterals = false
		case word == "namespace":
			partition.NamespaceId = rest
		case word == "database":
			partition.DatabaseId = rest
		case strings.HasPrefix(word, "@"):
			p := &pb.GqlQueryParameter{}
			if err := prototext.Unmarshal([]byte(rest), p); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if name := word[1:]; isDigit(cmp.Or(name, "x")[0]) {
				q.PositionalBindings = append(q.PositionalBindings, p)
			} else {
				q.NamedBindings[name] = p
			}
		case strings.HasPrefix(line, `"`):
			s, err := strconv.Unquote(line)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			src = append(src, s)
		default:
			src = append(src, line)
		}
	}
	q.QueryString = strings.Join(src, "\n")
	return q, partition
}
