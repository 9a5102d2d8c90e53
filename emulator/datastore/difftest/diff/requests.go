package diff

import (
	"regexp"
	"slices"
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/model"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func sameKey(a, b *pb.Mutation) bool {
	return script.KeyText(mutatedKey(a)) == script.KeyText(mutatedKey(b))
}

func isKeyOrder(o *pb.PropertyOrder) bool { return o.GetProperty().GetName() == "__key__" }

// ordersAfterKey reports whether a query sorts by something after the key.
func ordersAfterKey(q *pb.Query) bool {
	at := slices.IndexFunc(q.GetOrder(), isKeyOrder)
	return at >= 0 && at < len(q.GetOrder())-1
}

// transactionOf is the step that began the transaction of a request; 0 when
// there is none.
func transactionOf(request proto.Message) int {
	var tx []byte
	switch r := request.(type) {
	case *pb.CommitRequest:
		tx = r.GetTransaction()
	case *pb.RollbackRequest:
		tx = r.GetTransaction()
	case interface{ GetReadOptions() *pb.ReadOptions }:
		tx = r.GetReadOptions().GetTransaction()
	}
	step, _ := script.CutTransaction(tx)
	return step
}

// readOnlyOf is how a request begins a read-only transaction; nil when it
// doesn't.
func readOnlyOf(request proto.Message) *pb.TransactionOptions_ReadOnly {
	switch r := request.(type) {
	case *pb.BeginTransactionRequest:
		return r.GetTransactionOptions().GetReadOnly()
	case interface{ GetReadOptions() *pb.ReadOptions }:
		return r.GetReadOptions().GetNewTransaction().GetReadOnly()
	}
	return nil
}

// readTimeOf is the time that a request reads at, or begins a transaction to read
// at; nil when it names none.
func readTimeOf(request proto.Message) *timestamppb.Timestamp {
	if t := readOnlyOf(request).GetReadTime(); t != nil {
		return t
	}
	if r, ok := request.(interface{ GetReadOptions() *pb.ReadOptions }); ok {
		return r.GetReadOptions().GetReadTime()
	}
	return nil
}

// reads reports whether a request may be one of a transaction's reads.
func reads(request proto.Message) bool {
	_, ok := request.(interface{ GetReadOptions() *pb.ReadOptions })
	return ok
}

// aggregations is how many an aggregation asks for.
func aggregations(request proto.Message) int {
	r, ok := request.(*pb.RunAggregationQueryRequest)
	if !ok {
		return 0
	}
	return max(len(r.GetAggregationQuery().GetAggregations()), len(aggregateFunction.FindAllString(r.GetGqlQuery().GetQueryString(), -1)))
}

var aggregateFunction = regexp.MustCompile(`(?i)\b(COUNT|COUNT_UP_TO|SUM|AVG)\s*\(`)

func ancestorInOr(f *pb.Filter, in bool) bool {
	if p := f.GetPropertyFilter(); p != nil {
		return in && p.GetOp() == pb.PropertyFilter_HAS_ANCESTOR
	}
	in = in || f.GetCompositeFilter().GetOp() == pb.CompositeFilter_OR
	return slices.ContainsFunc(f.GetCompositeFilter().GetFilters(), func(sub *pb.Filter) bool { return ancestorInOr(sub, in) })
}

// inequalities is how many properties a query has inequalities on.
func inequalities(q *pb.Query) int {
	names := map[string]bool{}
	for _, f := range model.PropertyFilters(q.GetFilter()) {
		if model.IsInequality(f.GetOp()) {
			names[f.GetProperty().GetName()] = true
		}
	}
	return len(names)
}

func hasOr(f *pb.Filter) bool {
	return f.GetCompositeFilter().GetOp() == pb.CompositeFilter_OR || slices.ContainsFunc(f.GetCompositeFilter().GetFilters(), hasOr)
}

func depth(f *pb.Filter) int {
	deepest := 0
	for _, sub := range f.GetCompositeFilter().GetFilters() {
		deepest = max(deepest, depth(sub))
	}
	return deepest + 1
}

func metadataKind(kind string) bool { return strings.HasPrefix(kind, "__") && kind != "" }

// equalAndUnequal reports whether some property has an equality and an
// inequality.
func equalAndUnequal(q *pb.Query) bool {
	equal, unequal := map[string]bool{}, map[string]bool{}
	for _, f := range model.PropertyFilters(q.GetFilter()) {
		name := f.GetProperty().GetName()
		equal[name] = equal[name] || f.GetOp() == pb.PropertyFilter_EQUAL || f.GetOp() == pb.PropertyFilter_IN
		unequal[name] = unequal[name] || model.IsInequality(f.GetOp())
		if equal[name] && unequal[name] {
			return true
		}
	}
	return false
}

func isSearch(request proto.Message) bool { return queryOf(request).GetFindNearest() != nil }

// inTransaction reports whether a request names a transaction.
func inTransaction(request proto.Message) bool {
	switch r := request.(type) {
	case *pb.CommitRequest:
		return len(r.GetTransaction()) > 0
	case interface{ GetReadOptions() *pb.ReadOptions }:
		return len(r.GetReadOptions().GetTransaction()) > 0
	}
	return false
}

func emptyIn(q *pb.Query) bool {
	return slices.ContainsFunc(model.PropertyFilters(q.GetFilter()), func(f *pb.PropertyFilter) bool {
		return f.GetOp() == pb.PropertyFilter_IN && len(f.GetValue().GetArrayValue().GetValues()) == 0
	})
}

func ofMutations(made func(*pb.Mutation) bool) func(proto.Message) bool {
	return func(request proto.Message) bool {
		r, ok := request.(*pb.CommitRequest)
		return ok && slices.ContainsFunc(r.GetMutations(), made)
	}
}

func ofAggregation(made func([]*pb.AggregationQuery_Aggregation, *pb.Query) bool) func(proto.Message) bool {
	return func(request proto.Message) bool {
		if isGQL(request) {
			return true
		}
		r, ok := request.(*pb.RunAggregationQueryRequest)
		return ok && made(r.GetAggregationQuery().GetAggregations(), r.GetAggregationQuery().GetNestedQuery())
	}
}

// repeats reports whether a commit mutates some entity twice.
func repeats(request proto.Message) bool {
	r, ok := request.(*pb.CommitRequest)
	if !ok {
		return false
	}
	seen := map[string]bool{}
	for _, m := range r.GetMutations() {
		key := script.KeyText(mutatedKey(m))
		if seen[key] {
			return true
		}
		seen[key] = true
	}
	return false
}

func reservedName(s string) bool {
	return len(s) >= 4 && strings.HasPrefix(s, "__") && strings.HasSuffix(s, "__")
}

// foreignNamespace reports whether a query may have a key of another namespace
// in its filter.
func foreignNamespace(request proto.Message) bool {
	if isGQL(request) {
		return true
	}
	r, ok := request.(interface{ GetPartitionId() *pb.PartitionId })
	return ok && slices.ContainsFunc(keysOf(request), func(k *pb.Key) bool {
		return k.GetPartitionId().GetNamespaceId() != r.GetPartitionId().GetNamespaceId()
	})
}

func incomplete(k *pb.Key) bool {
	p := k.GetPath()
	return len(p) == 0 || p[len(p)-1].GetIdType() == nil
}

// groupsAfterOrders reports whether a query sorts by something that it isn't
// distinct on before all that it is.
func groupsAfterOrders(q *pb.Query) bool {
	groups := map[string]bool{}
	for _, d := range q.GetDistinctOn() {
		groups[d.GetName()] = true
	}
	left := len(groups)
	for _, o := range q.GetOrder() {
		if left == 0 {
			return false
		}
		name := o.GetProperty().GetName()
		if !groups[name] {
			return true
		}
		delete(groups, name)
		left--
	}
	return false
}

func kindlessFilter(q *pb.Query) bool {
	return len(q.GetKind()) == 0 && slices.ContainsFunc(model.PropertyFilters(q.GetFilter()), func(f *pb.PropertyFilter) bool {
		return f.GetProperty().GetName() != "__key__"
	})
}

// ancestorsDiffer reports whether some alternative of a filter has other
// ancestors than another, or several.
func ancestorsDiffer(q *pb.Query) bool {
	first := ""
	for i, and := range model.Alternatives(q.GetFilter()) {
		own := ""
		for _, f := range and {
			if f.GetOp() != pb.PropertyFilter_HAS_ANCESTOR {
				continue
			}
			key := script.KeyText(f.GetValue().GetKeyValue())
			if own != "" {
				return true
			}
			own = key
		}
		if i == 0 {
			first = own
		} else if own != first {
			return true
		}
	}
	return false
}

// ancestorTwice reports whether all alternatives of a filter have the same
// ancestor, and one of them names it twice.
func ancestorTwice(q *pb.Query) bool {
	names := map[string]bool{}
	twice := false
	for _, and := range model.Alternatives(q.GetFilter()) {
		n := 0
		for _, f := range and {
			if f.GetOp() == pb.PropertyFilter_HAS_ANCESTOR {
				n++
				names[script.KeyText(f.GetValue().GetKeyValue())] = true
			}
		}
		if n == 0 {
			return false
		}
		twice = twice || n > 1
	}
	return twice && len(names) == 1
}

func negations(q *pb.Query) int {
	n := 0
	for _, f := range model.PropertyFilters(q.GetFilter()) {
		if f.GetOp() == pb.PropertyFilter_NOT_EQUAL || f.GetOp() == pb.PropertyFilter_NOT_IN {
			n++
		}
	}
	return n
}

func uses(q *pb.Query, op pb.PropertyFilter_Operator) bool {
	return slices.ContainsFunc(model.PropertyFilters(q.GetFilter()), func(f *pb.PropertyFilter) bool { return f.GetOp() == op })
}

// queryOf is the query that a request holds; nil where it holds none.
func queryOf(request proto.Message) *pb.Query {
	switch r := request.(type) {
	case *pb.RunQueryRequest:
		return r.GetQuery()
	case *pb.RunAggregationQueryRequest:
		n := r.GetAggregationQuery().GetNestedQuery()
		if n != nil || r.GetAggregationQuery() == nil {
			return n
		}
		return &pb.Query{}
	}
	return nil
}

func isGQL(request proto.Message) bool {
	switch r := request.(type) {
	case *pb.RunQueryRequest:
		return r.GetGqlQuery() != nil
	case *pb.RunAggregationQueryRequest:
		return r.GetGqlQuery() != nil
	}
	return false
}

// keysOf are all keys in a request; those of its partition have no path.
func keysOf(request proto.Message) []*pb.Key {
	return collect[*pb.Key](request)
}

func ofValues(made func(*pb.Value) bool) func(proto.Message) bool {
	return func(request proto.Message) bool { return slices.ContainsFunc(collect[*pb.Value](request), made) }
}

// collect returns all messages of one type within another.
func collect[M proto.Message](m proto.Message) []M {
	var all []M
	walk(m.ProtoReflect(), func(field protoreflect.FieldDescriptor, v protoreflect.Value) (protoreflect.Value, bool) {
		if field.Kind() == protoreflect.MessageKind {
			if one, ok := v.Message().Interface().(M); ok {
				all = append(all, one)
			}
		}
		return v, false
	})
	return all
}

func mutatedKey(m *pb.Mutation) *pb.Key {
	switch op := m.GetOperation().(type) {
	case *pb.Mutation_Insert:
		return op.Insert.GetKey()
	case *pb.Mutation_Update:
		return op.Update.GetKey()
	case *pb.Mutation_Upsert:
		return op.Upsert.GetKey()
	case *pb.Mutation_Delete:
		return op.Delete
	}
	return nil
}
