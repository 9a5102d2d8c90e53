package diff

import (
	"fmt"
	"slices"
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// Answer is what a server said to one step, in normal form: a text for each of
// its aspects, so that two answers can be compared aspect by aspect.
type Answer struct {
	Method  string
	Code    codes.Code
	Message string // of an error
	// Unresolved says that the server never gave the cursor or the time that the
	// request was to carry, so that it was asked for something else.
	Unresolved bool

	Rows     []*pb.EntityResult // of a query, all batches
	Pages    int
	Response proto.Message // the only one, or the last batch
	Aspects  []Aspect
	Replies  []script.Reply // all that the server sent

	skipped       int
	skippedCursor bool
	parsed        *pb.Query
	aggregated    *pb.AggregationQuery
	transaction   bool
}

// Aspect is one side of an answer.
type Aspect struct{ Name, Text string }

// Aspect returns the text of an aspect; "" when the answer has none.
func (a *Answer) Aspect(name string) string {
	for _, s := range a.Aspects {
		if s.Name == name {
			return s.Text
		}
	}
	return ""
}

func (a *Answer) set(name, format string, args ...any) {
	text := format
	if len(args) > 0 {
		text = fmt.Sprintf(format, args...)
	}
	a.Aspects = append(a.Aspects, Aspect{name, text})
}

func (a *Answer) fail(st *status.Status) {
	a.Code, a.Message = st.Code(), st.Message()
	a.Replies = append(a.Replies, script.Reply{Code: a.Code, Message: a.Message})
	a.Aspects = []Aspect{{"error", fmt.Sprintf("%v: %s", a.Code, a.Message)}}
}

// String renders the answer for people.
func (a *Answer) String() string {
	var b strings.Builder
	for _, s := range a.Aspects {
		if s.Text == "" {
			continue
		}
		if strings.Contains(s.Text, "\n") {
			fmt.Fprintf(&b, "%s:\n  %s\n", s.Name, strings.ReplaceAll(strings.TrimSuffix(s.Text, "\n"), "\n", "\n  "))
		} else {
			fmt.Fprintf(&b, "%s: %s\n", s.Name, s.Text)
		}
	}
	return b.String()
}

// add takes up one response.
func (a *Answer) add(response proto.Message) {
	a.Response = response
	a.Replies = append(a.Replies, script.Reply{Response: response})
	a.Pages++
	if r, ok := response.(*pb.RunQueryResponse); ok {
		a.Rows = append(a.Rows, r.GetBatch().GetEntityResults()...)
		a.skipped += int(r.GetBatch().GetSkippedResults())
		a.skippedCursor = a.skippedCursor || len(r.GetBatch().GetSkippedCursor()) > 0
		if a.Pages == 1 {
			a.parsed = r.GetQuery()
			a.transaction = len(r.GetTransaction()) > 0
		}
	}
}

// finish computes the aspects.
func (a *Answer) finish() {
	switch r := a.Response.(type) {
	case *pb.LookupResponse:
		a.lookup(r)
	case *pb.RunQueryResponse:
		a.query(r)
	case *pb.RunAggregationQueryResponse:
		a.aggregation(r)
	case *pb.CommitResponse:
		a.commit(r)
	case *pb.AllocateIdsResponse:
		a.keys(r.GetKeys())
	}
}

func (a *Answer) lookup(r *pb.LookupResponse) {
	// The order is undefined.
	byKey := func(x, y *pb.EntityResult) int {
		return strings.Compare(script.KeyText(x.GetEntity().GetKey()), script.KeyText(y.GetEntity().GetKey()))
	}
	found := slices.SortedStableFunc(slices.Values(r.GetFound()), byKey)
	missing := slices.SortedStableFunc(slices.Values(r.GetMissing()), byKey)
	a.Rows = found
	a.set("found", "%s", rowsText(found))
	a.set("missing", "%s", rowsText(missing))
	var deferred []string
	for _, k := range r.GetDeferred() {
		deferred = append(deferred, script.KeyText(k))
	}
	slices.Sort(deferred)
	a.set("deferred", "%s", strings.Join(deferred, "\n"))
	a.versions(found)
	a.set("missing versions", "%v", len(missing) > 0 && missing[0].GetVersion() != 0)
	a.set("cursors", "%v", len(found) > 0 && len(found[0].GetCursor()) > 0)
	a.set("read time", "%v", r.GetReadTime() != nil)
	a.set("transaction", "%v", len(r.GetTransaction()) > 0)
}

func (a *Answer) query(r *pb.RunQueryResponse) {
	b := r.GetBatch()
	a.set("type", "%v", b.GetEntityResultType())
	a.set("results", "%s", rowsText(a.Rows))
	a.set("skipped", "%d", a.skipped)
	a.set("more", "%v", b.GetMoreResults())
	a.set("batches", "%d", a.Pages)
	cursors := 0
	for _, row := range a.Rows {
		if len(row.GetCursor()) > 0 {
			cursors++
		}
	}
	a.set("cursors", "%v", cursors == len(a.Rows))
	a.set("end cursor", "%v", len(b.GetEndCursor()) > 0)
	a.set("skipped cursor", "%v", a.skippedCursor)
	a.versions(a.Rows)
	a.set("read time", "%v", b.GetReadTime() != nil)
	a.set("transaction", "%v", a.transaction)
	a.set("query", "%s", protoText(a.parsed))
	a.set("explained", "%v", r.GetExplainMetrics() != nil)
}

func (a *Answer) aggregation(r *pb.RunAggregationQueryResponse) {
	a.aggregated = r.GetQuery()
	var lines []string
	for _, res := range r.GetBatch().GetAggregationResults() {
		lines = append(lines, script.PropertiesText(res.GetAggregateProperties()))
	}
	a.set("results", "%s", strings.Join(lines, "\n"))
	a.set("more", "%v", r.GetBatch().GetMoreResults())
	a.set("read time", "%v", r.GetBatch().GetReadTime() != nil)
	a.set("transaction", "%v", len(r.GetTransaction()) > 0)
	a.set("query", "%s", protoText(r.GetQuery()))
	a.set("explained", "%v", r.GetExplainMetrics() != nil)
}

func (a *Answer) commit(r *pb.CommitResponse) {
	var keys, conflicts, versions, times, transforms []string
	for i, m := range r.GetMutationResults() {
		if m.GetKey() != nil {
			keys = append(keys, fmt.Sprintf("%d: %s", i, script.KeyText(m.GetKey())))
		}
		if m.GetConflictDetected() {
			conflicts = append(conflicts, fmt.Sprint(i))
		}
		versions = append(versions, versionText(m.GetVersion()))
		times = append(times, timesText(m.GetCreateTime() != nil, m.GetCreateTime().GetSeconds(), m.GetUpdateTime() != nil, m.GetUpdateTime().GetSeconds()))
		for _, v := range m.GetTransformResults() {
			transforms = append(transforms, fmt.Sprintf("%d: %s", i, script.ValueText(v)))
		}
	}
	a.set("mutations", "%d", len(r.GetMutationResults()))
	a.set("keys", "%s", strings.Join(keys, "\n"))
	a.set("conflicts", "%s", strings.Join(conflicts, "\n"))
	a.set("transforms", "%s", strings.Join(transforms, "\n"))
	a.set("versions", "%s", strings.Join(versions, "\n"))
	a.set("times", "%s", strings.Join(times, "\n"))
	a.set("index updates", "%d", r.GetIndexUpdates())
	a.set("commit time", "%v", r.GetCommitTime() != nil)
}

func (a *Answer) keys(keys []*pb.Key) {
	var lines []string
	for _, k := range keys {
		lines = append(lines, script.KeyText(k))
	}
	a.set("keys", "%s", strings.Join(lines, "\n"))
}

func (a *Answer) versions(rows []*pb.EntityResult) {
	var versions, times []string
	for _, row := range rows {
		key := script.KeyText(row.GetEntity().GetKey())
		versions = append(versions, key+" "+versionText(row.GetVersion()))
		times = append(times, key+" "+timesText(row.GetCreateTime() != nil, row.GetCreateTime().GetSeconds(), row.GetUpdateTime() != nil, row.GetUpdateTime().GetSeconds()))
	}
	if unordered(rows) {
		slices.Sort(versions)
		slices.Sort(times)
	}
	a.set("versions", "%s", strings.Join(versions, "\n"))
	a.set("times", "%s", strings.Join(times, "\n"))
}

// rowsText renders results one a line. Allocated identifiers order results
// differently on each server, so rows with such keys are sorted by their text.
func rowsText(rows []*pb.EntityResult) string {
	lines := make([]string, len(rows))
	for i, row := range rows {
		lines[i] = RowText(row)
	}
	if unordered(rows) {
		slices.Sort(lines)
	}
	return strings.Join(lines, "\n")
}

// RowText renders one result.
func RowText(row *pb.EntityResult) string {
	e := row.GetEntity()
	return script.KeyText(e.GetKey()) + " " + script.PropertiesText(e.GetProperties())
}

func unordered(rows []*pb.EntityResult) bool {
	return slices.ContainsFunc(rows, func(row *pb.EntityResult) bool {
		return slices.ContainsFunc(row.GetEntity().GetKey().GetPath(), func(e *pb.Key_PathElement) bool {
			_, _, ok := script.CutRef(e.GetId())
			return ok
		})
	})
}

func versionText(v int64) string {
	if v == 0 {
		return "none"
	}
	if step, _, ok := script.CutRef(v); ok {
		return fmt.Sprintf("of step %d", step)
	}
	return "of nothing in this script"
}

func timesText(created bool, c int64, updated bool, u int64) string {
	text := func(set bool, n int64) string {
		if !set {
			return "none"
		}
		return versionText(n)
	}
	return "created " + text(created, c) + ", updated " + text(updated, u)
}

func protoText(m proto.Message) string {
	if !m.ProtoReflect().IsValid() {
		return ""
	}
	return strings.ReplaceAll(prototext.MarshalOptions{}.Format(m), "  ", " ")
}

// Difference is an aspect in which two answers differ.
type Difference struct{ Aspect, Ours, Theirs string }

// dependent aspects say nothing where the one that they depend on differs.
var dependent = map[string][]string{
	"versions": {"results", "found", "conflicts"}, "times": {"results", "found", "conflicts"}, "transforms": {"conflicts"}, "keys": {"conflicts"}, "cursors": {"results", "found"},
	"batches": {"results"}, "more": {"results", "skipped"}, "end cursor": {"results", "skipped"}, "skipped cursor": {"skipped"},
}

// compare lists the differences between two answers.
func compare(ours, theirs *Answer) []Difference {
	if ours.Code != codes.OK || theirs.Code != codes.OK {
		x, y := ours.Aspect("error"), theirs.Aspect("error")
		if x == y {
			return nil
		}
		return []Difference{{"error", x, y}}
	}
	var all []Difference
	for i, x := range ours.Aspects {
		y := theirs.Aspects[i]
		if x.Text == y.Text {
			continue
		}
		if slices.ContainsFunc(all, func(d Difference) bool { return slices.Contains(dependent[x.Name], d.Aspect) }) {
			continue
		}
		all = append(all, Difference{x.Name, x.Text, y.Text})
	}
	return all
}
