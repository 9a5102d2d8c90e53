package diff

import (
	"slices"
	"strconv"
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/model"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
	"google.golang.org/grpc/codes"
)

// theirs matches when the other server's text is the given one.
func theirs(text string) func(*Case) bool {
	return func(c *Case) bool { return c.Difference.Theirs == text }
}

// noTimes matches when nothing in the other server's answer has a time.
func noTimes(c *Case) bool {
	for _, row := range c.Theirs.Rows {
		if row.GetCreateTime() != nil || row.GetUpdateTime() != nil {
			return false
		}
	}
	r, ok := c.Theirs.Response.(*pb.CommitResponse)
	if ok {
		for _, m := range r.GetMutationResults() {
			if m.GetCreateTime() != nil || m.GetUpdateTime() != nil {
				return false
			}
		}
	}
	return true
}

// notFull matches answers of queries whose results are keys or projections.
func notFull(c *Case) bool {
	t := c.Ours.Aspect("type")
	return c.Ours.Method == "RunQuery" && !strings.Contains(c.Difference.Ours, " of ") && (t == "KEY_ONLY" || t == "PROJECTION") && c.Theirs.Aspect("type") == t
}

// laterTimes matches when the answers to all mutations have the same times but
// for those whose entity is mutated again.
func laterTimes(c *Case) bool {
	return mutationsDiffer(c, func(all []*pb.Mutation, i int) bool {
		return slices.ContainsFunc(all[i+1:], func(m *pb.Mutation) bool { return sameKey(m, all[i]) })
	})
}

// deleteVersions matches when the answers to all mutations have the same
// versions but for those of entities that weren't there, and that the last
// mutation deletes.
func deleteVersions(c *Case) bool {
	return mutationsDiffer(c, func(all []*pb.Mutation, i int) bool {
		last := all[i]
		for _, m := range all[i:] {
			if sameKey(m, last) {
				last = m
			}
		}
		return last.GetDelete() != nil && c.past.at[c.Step.ID][script.KeyText(mutatedKey(last))] == nil
	})
}

// mutationsDiffer reports whether the lines of the aspect, one for each
// mutation, differ only where may says so.
func mutationsDiffer(c *Case, may func(all []*pb.Mutation, i int) bool) bool {
	r, ok := c.Step.Request.(*pb.CommitRequest)
	x, y := strings.Split(c.Difference.Ours, "\n"), strings.Split(c.Difference.Theirs, "\n")
	if !ok || len(x) != len(r.GetMutations()) || len(y) != len(x) {
		return false
	}
	for i := range x {
		if x[i] != y[i] && !may(r.GetMutations(), i) {
			return false
		}
	}
	return true
}

// anyStored reports whether a property that the query names has a value of
// that sort in some entity.
func (c *Case) anyStored(is func(*pb.Value) bool) bool {
	q := c.query()
	if q == nil {
		return false
	}
	names := model.Names(q)
	if c.Ours.Method == "RunAggregationQuery" {
		for _, a := range c.past.aggregation(c.Step.ID).GetAggregations() {
			names = append(names, a.GetSum().GetProperty().GetName(), a.GetAvg().GetProperty().GetName())
		}
	}
	return slices.ContainsFunc(c.past.entities(c.Step.ID), func(e *pb.Entity) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			name, _, _ = strings.Cut(name, ".")
			v := e.GetProperties()[name]
			return is(v) || slices.ContainsFunc(v.GetArrayValue().GetValues(), is)
		})
	})
}

// severalOrdered reports whether a property that orders the results, by name or
// by an inequality, has several values in some entity.
func (c *Case) severalOrdered() bool {
	q := c.query()
	names := map[string]bool{}
	for _, o := range q.GetOrder() {
		names[o.GetProperty().GetName()] = true
	}
	for _, f := range model.PropertyFilters(q.GetFilter()) {
		switch f.GetOp() {
		case pb.PropertyFilter_EQUAL, pb.PropertyFilter_IN, pb.PropertyFilter_HAS_ANCESTOR:
		default:
			names[f.GetProperty().GetName()] = true
		}
	}
	return slices.ContainsFunc(c.past.entities(c.Step.ID), func(e *pb.Entity) bool {
		for name := range names {
			if first, _, _ := strings.Cut(name, "."); len(e.GetProperties()[first].GetArrayValue().GetValues()) > 1 {
				return true
			}
		}
		return false
	})
}

// maskedQuery reports whether a query has a mask, or follows a mutation with one.
func maskedQuery(c *Case) bool {
	r, ok := c.Step.Request.(*pb.RunQueryRequest)
	return ok && r.GetPropertyMask() != nil || c.past.wrote(c.Step.ID, func(m *pb.Mutation) bool { return m.GetPropertyMask() != nil })
}

// distinctCursor reports whether the step's query wants distinct results behind a
// cursor.
func distinctCursor(c *Case) bool {
	return c.Ours.Method == "RunQuery" && len(c.query().GetDistinctOn()) > 0 && len(c.query().GetStartCursor()) > 0
}

// query is the one that the step asks, GQL as we understood it; nil when it
// asks none.
func (c *Case) query() *pb.Query {
	if isGQL(c.Step.Request) && c.past != nil {
		_, q := c.past.query(c.Step.ID)
		return q
	}
	return queryOf(c.Step.Request)
}

// filters reports whether the step's query has a filter with that operator.
func (c *Case) filters(op pb.PropertyFilter_Operator) bool {
	return slices.ContainsFunc(model.PropertyFilters(c.query().GetFilter()), func(f *pb.PropertyFilter) bool { return f.GetOp() == op })
}

// unindexedLast matches when our rows are theirs once the unindexed elements of
// each array stand behind the indexed ones.
func unindexedLast(c *Case) bool {
	rows := make([]*pb.EntityResult, len(c.Ours.Rows))
	for i, row := range c.Ours.Rows {
		rows[i] = &pb.EntityResult{Entity: model.UnindexedLast(row.GetEntity())}
	}
	theirs := c.Difference.Theirs
	if c.Ours.Method == "Lookup" { // entities may come twice there
		theirs = strings.Join(slices.Compact(strings.Split(theirs, "\n")), "\n")
	}
	return rowsText(rows) == theirs && theirs != c.Difference.Ours && rowsText(c.Ours.Rows) == c.Difference.Ours
}

// kind is the kind that the step asks for.
func (c *Case) kind() string {
	if k := c.query().GetKind(); len(k) > 0 {
		return k[0].GetName()
	}
	return ""
}

// untold reports whether the step's query is in GQL that we refused, so that
// nobody says what it means.
func (c *Case) untold() bool { return isGQL(c.Step.Request) && c.query() == nil }

// contradicts reports whether a query that found nothing has two bounds on one
// property, or an ancestor and a bound on keys.
func contradicts(c *Case) bool {
	bounds := map[string]int{}
	for _, f := range model.PropertyFilters(c.query().GetFilter()) {
		bounds[f.GetProperty().GetName()]++
	}
	for _, n := range bounds {
		if n > 1 {
			return true
		}
	}
	return false
}

// inPast reports whether the step reads at a read_time, its own or its
// transaction's.
func (c *Case) inPast() bool {
	return readTimeOf(c.Step.Request) != nil || readTimeOf(c.past.steps[c.transaction()].Request) != nil
}

// transaction is the step that began the transaction of this one; 0 when there
// is none.
func (c *Case) transaction() int { return transactionOf(c.Step.Request) }

// readOnly reports whether the step belongs to a read-only transaction.
func (c *Case) readOnly() bool { return readOnlyOf(c.past.steps[c.transaction()].Request) != nil }

// transactionLost matches when the other server has refused a request of the
// same transaction before, and so has lost it.
func transactionLost(c *Case) bool {
	earlier := c.refused[c.transaction()] && c.transaction() != 0 && c.transaction() != c.Step.ID
	switch c.Difference.Theirs {
	case "Unknown: ", "InvalidArgument: Invalid transaction.", "InvalidArgument: Transaction is invalid or closed.", "InvalidArgument: transaction has expired or is invalid":
		return earlier && (c.Ours.Code == codes.OK || c.Difference.Ours == "InvalidArgument: Cannot modify entities in a read-only transaction.")
	}
	return false
}

// laterSnapshot reports whether the step reads in a read-only transaction of
// which a read was refused, or that began before the last commit.
func laterSnapshot(c *Case) bool {
	return c.readOnly() && (c.refused[c.transaction()] || c.past.committedSince(c.transaction(), c.Step.ID))
}

// moreProperties matches answers about __property__ that have, besides ours,
// properties that are keys of entity values or empty arrays.
func moreProperties(c *Case) bool {
	if c.kind() != "__property__" {
		return false
	}
	empty := map[string]bool{} // paths of empty arrays
	keyed := false
	for _, e := range c.past.entities(c.Step.ID) {
		path := e.GetKey().GetPath()
		for name, v := range e.GetProperties() {
			keyed = keyed || slices.ContainsFunc(collect[*pb.Entity](v), func(e *pb.Entity) bool { return e.GetKey() != nil })
			if v.GetArrayValue() != nil && len(v.GetArrayValue().GetValues()) == 0 {
				empty[path[len(path)-1].GetKind()+"."+name] = true
			}
		}
	}
	q := c.query()
	if q.GetLimit() != nil || q.GetOffset() > 0 || c.Difference.Aspect != "results" {
		return keyed || len(empty) > 0
	}
	known := map[string]bool{}
	for _, row := range c.Ours.Rows {
		known[script.KeyText(row.GetEntity().GetKey())] = true
	}
	var rest []*pb.EntityResult
	for _, row := range c.Theirs.Rows {
		path := row.GetEntity().GetKey().GetPath()
		name := path[len(path)-1].GetName()
		switch {
		case known[script.KeyText(row.GetEntity().GetKey())]:
			rest = append(rest, row)
		case strings.HasSuffix(name, ".__key__") && keyed, empty[path[0].GetName()+"."+name]:
		default:
			return false
		}
	}
	return withoutNull(rowsText(rest)) == withoutNull(c.Difference.Ours)
}

// withoutNull is a text about properties that doesn't say which are null.
func withoutNull(rows string) string {
	rows = strings.ReplaceAll(rows, `"NULL", `, "")
	return strings.ReplaceAll(strings.ReplaceAll(rows, `, "NULL"`, ""), `"NULL"`, "")
}

// whichVersion matches when both name one of several versions that are demanded.
func whichVersion(c *Case) bool {
	const prefix = "FailedPrecondition: the stored version ("
	r, ok := c.Step.Request.(*pb.CommitRequest)
	n := 0
	for _, m := range r.GetMutations() {
		if m.GetConflictResolutionStrategy() == pb.Mutation_FAIL {
			n++
		}
	}
	return ok && n > 1 && strings.HasPrefix(c.Difference.Ours, prefix) && strings.HasPrefix(c.Difference.Theirs, prefix)
}

// theirRows are the results of the other server.
func (c *Case) theirRows() string { return rowsText(c.Theirs.Rows) }

// waits matches when we wait for a lock of a transaction whose commit was
// refused, and which nobody ended.
func waits(c *Case) bool {
	return c.Ours.Code == codes.DeadlineExceeded && c.past.refusedCommit(c.Step.ID) &&
		(c.Difference.Theirs == "Aborted: Transaction lock timeout." || c.Theirs.Code == codes.OK && (c.of == "DS" || reads(c.Step.Request)))
}

// twice matches when the other server's lines are ours, some of them again.
func twice(c *Case) bool {
	_, ok := c.Step.Request.(*pb.LookupRequest)
	lines := strings.Split(c.Difference.Theirs, "\n")
	return ok && strings.Join(slices.Compact(lines), "\n") == c.Difference.Ours
}

// entityStored reports whether a property that the query names has an entity as
// a value; any property, where nobody says what the query means.
func (c *Case) entityStored() bool {
	if c.untold() {
		return slices.ContainsFunc(c.past.entities(c.Step.ID), func(e *pb.Entity) bool { return len(collect[*pb.Entity](e)) > 0 })
	}
	return c.anyStored(func(v *pb.Value) bool { return v.GetEntityValue() != nil })
}

// nothingFound matches what follows when the other server finds nothing where
// there is something.
func nothingFound(c *Case) bool {
	if len(c.Theirs.Rows) > 0 {
		return false
	}
	switch c.Difference.Aspect {
	case "results", "skipped", "type", "error":
		return true
	case "more":
		return c.Difference.Theirs == "NO_MORE_RESULTS"
	case "end cursor":
		return len(c.Ours.Rows) > 0
	}
	return false
}

// turned reports whether a query has a cursor of one with the opposite order.
func (c *Case) turned() bool {
	q := c.query()
	for _, cursor := range [][]byte{q.GetStartCursor(), q.GetEndCursor()} {
		step, _, ok := script.CutCursor(cursor)
		if !ok {
			continue
		}
		of := queryOf(c.past.steps[step].Request)
		if len(of.GetOrder()) > 0 && len(q.GetOrder()) > 0 && of.GetOrder()[0].GetDirection() != q.GetOrder()[0].GetDirection() {
			return true
		}
	}
	return false
}

// within reports whether all rows are among those of a text.
func within(rows []*pb.EntityResult, text string) bool {
	return !slices.ContainsFunc(rows, func(row *pb.EntityResult) bool { return !strings.Contains(text, RowText(row)) })
}

// stored reports whether all rows are of entities that the step sees.
func (c *Case) stored(rows []*pb.EntityResult) bool {
	known := map[string]bool{}
	for _, e := range c.past.entities(c.Step.ID) {
		known[script.KeyText(e.GetKey())] = true
	}
	return !slices.ContainsFunc(rows, func(row *pb.EntityResult) bool { return !known[script.KeyText(row.GetEntity().GetKey())] })
}

// moreConflicts matches when theirs are our conflicts and others, where may says
// so.
func moreConflicts(c *Case, may func(all []*pb.Mutation, i int) bool) bool {
	r, ok := c.Step.Request.(*pb.CommitRequest)
	if !ok {
		return false
	}
	ours, theirs := strings.Fields(c.Difference.Ours), strings.Fields(c.Difference.Theirs)
	for i := range r.GetMutations() {
		mine, also := slices.Contains(ours, strconv.Itoa(i)), slices.Contains(theirs, strconv.Itoa(i))
		if mine != also && (mine || !may(r.GetMutations(), i)) {
			return false
		}
	}
	return len(theirs) > len(ours)
}

// demandsOfMissing reports whether a mutation demands a version of an entity
// that isn't there.
func demandsOfMissing(c *Case, m *pb.Mutation) bool {
	return m.GetConflictDetectionStrategy() != nil && c.past.at[c.Step.ID][script.KeyText(mutatedKey(m))] == nil
}
