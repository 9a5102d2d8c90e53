package diff

import (
	"context"
	"maps"
	"slices"
	"strconv"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/model"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
	"google.golang.org/protobuf/proto"
)

func newHistory() *history {
	return &history{stored: map[string]*pb.Entity{}, at: map[int]map[string]*pb.Entity{}, after: map[int]map[string]*pb.Entity{}, steps: map[int]script.Step{}, meant: map[int]*pb.Query{}, totals: map[int]*pb.AggregationQuery{}, answered: map[int]bool{}}
}

// history is what our server held at each step of a script.
type history struct {
	stored   map[string]*pb.Entity
	at       map[int]map[string]*pb.Entity // before the step
	after    map[int]map[string]*pb.Entity
	steps    map[int]script.Step
	meant    map[int]*pb.Query            // what GQL steps meant
	totals   map[int]*pb.AggregationQuery // and those that aggregate
	answered map[int]bool                 // steps that we did not refuse
}

func (h *history) enter(step script.Step) {
	h.steps[step.ID] = step
	h.at[step.ID] = h.stored
}

// leave takes up our answer to a step, and looks up what a commit changed.
func (h *history) leave(ctx context.Context, step script.Step, a *Answer, s *session) {
	h.answered[step.ID] = true
	defer func() { h.after[step.ID] = h.stored }()
	h.meant[step.ID], h.totals[step.ID] = a.parsed, a.aggregated
	commit, ok := step.Request.(*pb.CommitRequest)
	if !ok {
		return
	}
	var keys []*pb.Key
	for i, m := range commit.GetMutations() {
		k := mutatedKey(m)
		if path := k.GetPath(); len(path) > 0 && path[len(path)-1].GetIdType() == nil {
			k = proto.Clone(k).(*pb.Key)
			k.Path[len(path)-1].IdType = &pb.Key_PathElement_Id{Id: script.Ref(step.ID, i)}
		}
		keys = append(keys, k)
	}
	a = s.do(ctx, script.Step{ID: step.ID, Request: &pb.LookupRequest{ProjectId: commit.GetProjectId(), DatabaseId: commit.GetDatabaseId(), Keys: keys}})
	if len(a.Rows) == 0 && len(keys) == 0 {
		return
	}
	h.stored = maps.Clone(h.stored)
	for _, k := range keys {
		delete(h.stored, script.KeyText(k))
	}
	for _, row := range a.Rows {
		h.stored[script.KeyText(row.GetEntity().GetKey())] = row.GetEntity()
	}
}

// wrote reports whether a mutation of that sort was in a step up to this one.
func (h *history) wrote(step int, is func(*pb.Mutation) bool) bool {
	for id, s := range h.steps {
		if id <= step && ofMutations(is)(s.Request) {
			return true
		}
	}
	return false
}

// begunByReading reports whether a read began a transaction before a step.
func (h *history) begunByReading(step int) bool {
	for id, s := range h.steps {
		r, ok := s.Request.(interface{ GetReadOptions() *pb.ReadOptions })
		if ok && id < step && r.GetReadOptions().GetNewTransaction() != nil {
			return true
		}
	}
	return false
}

// committedSince reports whether a commit came between two steps.
func (h *history) committedSince(began, step int) bool {
	for id, s := range h.steps {
		if _, ok := s.Request.(*pb.CommitRequest); ok && began < id && id < step && h.answered[id] {
			return true
		}
	}
	return false
}

// refusedCommit reports whether a transaction's commit before a step was refused.
func (h *history) refusedCommit(step int) bool {
	for id, s := range h.steps {
		if r, ok := s.Request.(*pb.CommitRequest); ok && id < step && !h.answered[id] && len(r.GetTransaction()) > 0 {
			return true
		}
	}
	return false
}

// commits is how often a transaction was to be committed before a step.
func (h *history) commits(transaction, step int) int {
	n := 0
	for id, s := range h.steps {
		if r, ok := s.Request.(*pb.CommitRequest); ok && id < step {
			if began, ok := script.CutTransaction(r.GetTransaction()); ok && began == transaction {
				n++
			}
		}
	}
	return n
}

// entities are those that a step sees: those stored before it, or before its
// read-only transaction, or at the time that it reads.
func (h *history) entities(step int) []*pb.Entity {
	if began := transactionOf(h.steps[step].Request); readOnlyOf(h.steps[began].Request) != nil {
		step = began
	}
	if at, _, ok := script.CutRef(readTimeOf(h.steps[step].Request).GetSeconds()); ok && h.after[at] != nil {
		return slices.Collect(maps.Values(h.after[at]))
	}
	return slices.Collect(maps.Values(h.at[step]))
}

// query is what a step asks; nil when it asks nothing.
func (h *history) query(step int) (*pb.PartitionId, *pb.Query) {
	switch r := h.steps[step].Request.(type) {
	case *pb.RunQueryRequest:
		if r.GetGqlQuery() != nil {
			return r.GetPartitionId(), h.meant[step]
		}
		return r.GetPartitionId(), r.GetQuery()
	case *pb.RunAggregationQueryRequest:
		q := h.aggregation(step).GetNestedQuery()
		if q == nil && r.GetGqlQuery() == nil {
			q = &pb.Query{}
		}
		return r.GetPartitionId(), q
	}
	return nil, nil
}

// aggregation is what a step adds up.
func (h *history) aggregation(step int) *pb.AggregationQuery {
	r, ok := h.steps[step].Request.(*pb.RunAggregationQueryRequest)
	if ok && r.GetGqlQuery() != nil {
		return h.totals[step]
	}
	if !ok {
		return nil
	}
	return r.GetAggregationQuery()
}

// answer is what the model says to a query step.
func (h *history) answer(step int, quirks model.Quirks) (*model.Query, model.Answer) {
	partition, q := h.query(step)
	if q == nil {
		return nil, model.Answer{}
	}
	m := model.Parse(partition, q, quirks)
	return m, m.Run(h.entities(step), h.position(q.GetStartCursor(), quirks), h.position(q.GetEndCursor(), quirks))
}

// position is where a cursor points: after the row of the step that it is of.
func (h *history) position(cursor []byte, quirks model.Quirks) *model.Position {
	step, index, ok := script.CutCursor(cursor)
	if !ok {
		return nil
	}
	if !h.answered[step] {
		return nil
	}
	_, a := h.answer(step, quirks)
	if len(a.Rows) == 0 {
		return nil
	}
	if index < 0 || index >= len(a.Rows) {
		index = len(a.Rows) - 1
	}
	return model.After(a.Rows[index])
}

const unknown = "the model does not know"

// modelled is the model's text for the aspect in which the answers differ.
func (c *Case) modelled(quirks model.Quirks) string {
	if c.Ours.Method == "RunAggregationQuery" {
		return c.aggregated(quirks)
	}
	m, a := c.past.answer(c.Step.ID, quirks)
	if m == nil {
		return unknown
	}
	switch c.Difference.Aspect {
	case "skipped":
		return strconv.Itoa(a.Skipped)
	case "more":
		return a.More().String()
	case "results":
		_, q := c.past.query(c.Step.ID)
		keysOnly := len(q.GetProjection()) == 1 && q.GetProjection()[0].GetProperty().GetName() == "__key__"
		lines := make([]*pb.EntityResult, len(a.Rows))
		for i, row := range a.Rows {
			lines[i] = &pb.EntityResult{Entity: m.Projected(row, keysOnly)}
		}
		return rowsText(lines)
	}
	return unknown
}

// aggregated is the model's text for the results of an aggregation.
func (c *Case) aggregated(quirks model.Quirks) string {
	partition, q := c.past.query(c.Step.ID)
	total := c.past.aggregation(c.Step.ID)
	if q == nil || total == nil || c.Difference.Aspect != "results" || len(q.GetStartCursor())+len(q.GetEndCursor()) > 0 {
		return unknown
	}
	return script.PropertiesText(model.Aggregate(partition, q, total.GetAggregations(), c.past.entities(c.Step.ID), quirks))
}
