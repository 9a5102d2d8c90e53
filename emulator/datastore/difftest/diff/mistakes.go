package diff

import (
	"slices"
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/model"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
	"google.golang.org/protobuf/proto"
)

// A mistake is one that a request may have beside others. Which of several a
// server names first is its own affair; that the request has it isn't.
type mistake struct {
	text string // that the error begins with, after InvalidArgument
	made func(proto.Message) bool
}

// otherMistake matches when both errors name mistakes that the request really
// has.
func otherMistake(c *Case) bool {
	x, y := made(c.Difference.Ours, c.Step.Request), made(c.Difference.Theirs, c.Step.Request)
	transactions := inTransaction(c.Step.Request) && strings.Contains(strings.ToLower(x), "transaction") && strings.Contains(strings.ToLower(y), "transaction")
	return x != "" && y != "" && x != y && !otherWords(c) && !transactions && !bothSyntax(c)
}

// made is the beginning of an error's text when the request has the mistake.
func made(text string, request proto.Message) string {
	text, _ = strings.CutPrefix(text, "InvalidArgument: ")
	for _, m := range mistakes() {
		switch {
		case !strings.HasPrefix(text, m.text) || !m.made(request):
		case isGQL(request):
			return text // a mistake may be made several times, here and there
		default:
			return m.text
		}
	}
	return ""
}

func mistakes() []mistake {
	ofQuery := func(made func(*pb.Query) bool) func(proto.Message) bool {
		return func(request proto.Message) bool {
			if isGQL(request) {
				return true // what it says was checked where it isn't GQL
			}
			q := queryOf(request)
			return q != nil && made(q)
		}
	}
	ofKeys := func(made func(*pb.Key) bool) func(proto.Message) bool {
		return func(request proto.Message) bool {
			return isGQL(request) || slices.ContainsFunc(keysOf(request), made) // GQL has them in its text
		}
	}
	projects := func(q *pb.Query, name string) bool {
		return slices.ContainsFunc(q.GetProjection(), func(p *pb.Projection) bool { return p.GetProperty().GetName() == name })
	}
	groups := func(q *pb.Query, name string) bool {
		return slices.ContainsFunc(q.GetDistinctOn(), func(p *pb.PropertyReference) bool { return p.GetName() == name })
	}
	filters := func(made func(q *pb.Query, f *pb.PropertyFilter) bool) func(*pb.Query) bool {
		return func(q *pb.Query) bool {
			return slices.ContainsFunc(model.PropertyFilters(q.GetFilter()), func(f *pb.PropertyFilter) bool { return made(q, f) })
		}
	}
	equality := func(f *pb.PropertyFilter) bool {
		return f.GetOp() == pb.PropertyFilter_EQUAL || f.GetOp() == pb.PropertyFilter_IN
	}
	return []mistake{
		{"Cannot use projection on a property with an equality filter.", ofQuery(filters(func(q *pb.Query, f *pb.PropertyFilter) bool {
			return equality(f) && projects(q, f.GetProperty().GetName())
		}))},
		{"cannot use projection on a property with an equality filter", ofQuery(filters(func(q *pb.Query, f *pb.PropertyFilter) bool {
			return equality(f) && projects(q, f.GetProperty().GetName())
		}))},
		{"cannot use group by on a property with an equality filter", ofQuery(filters(func(q *pb.Query, f *pb.PropertyFilter) bool {
			return equality(f) && groups(q, f.GetProperty().GetName())
		}))},
		{"Cannot use group by on a property with an equality filter.", ofQuery(filters(func(q *pb.Query, f *pb.PropertyFilter) bool {
			return equality(f) && groups(q, f.GetProperty().GetName())
		}))},
		{"All group by properties must be ordered before any non group by properties.", ofQuery(groupsAfterOrders)},
		{"must specify all group by orderings before any non group by orderings", ofQuery(groupsAfterOrders)},
		{"order by clause cannot contain duplicate fields ", ofQuery(func(q *pb.Query) bool {
			seen := map[string]bool{}
			for _, o := range q.GetOrder() {
				if seen[o.GetProperty().GetName()] {
					return true
				}
				seen[o.GetProperty().GetName()] = true
			}
			return false
		})},
		{"kind is required for filter: ", ofQuery(kindlessFilter)},
		{"kind is required for non-__key__ filters", ofQuery(kindlessFilter)},
		{"kind is required for all orders except __key__ ascending", ofQuery(func(q *pb.Query) bool {
			return len(q.GetKind()) == 0 && slices.ContainsFunc(q.GetOrder(), func(o *pb.PropertyOrder) bool {
				return !isKeyOrder(o) || o.GetDirection() == pb.PropertyOrder_DESCENDING
			})
		})},
		{"kind is required for projection: ", ofQuery(func(q *pb.Query) bool { return len(q.GetKind()) == 0 })},
		{"projections are not supported for the property: ", ofQuery(func(q *pb.Query) bool { return slices.ContainsFunc(model.Projected(q), reservedName) })},
		{"All disjunctions must have a common and unique ancestor constraint.", ofQuery(ancestorsDiffer)},
		{"duplicate ancestor or parent constraint", ofQuery(ancestorsDiffer)},
		{"Only a single 'NOT_EQUAL' or 'NOT_IN' is allowed per query.", ofQuery(func(q *pb.Query) bool { return negations(q) > 1 })},
		{"'NOT_IN' cannot be used in the same query with 'IN' or 'OR'.", ofQuery(func(q *pb.Query) bool {
			return uses(q, pb.PropertyFilter_NOT_IN) && (uses(q, pb.PropertyFilter_IN) || hasOr(q.GetFilter()))
		})},
		{"property must be __key__", ofQuery(filters(func(_ *pb.Query, f *pb.PropertyFilter) bool {
			return f.GetOp() == pb.PropertyFilter_HAS_ANCESTOR && f.GetProperty().GetName() != "__key__"
		}))},
		{"Key path element must not be complete: ", func(request proto.Message) bool {
			_, ok := request.(*pb.AllocateIdsRequest)
			return ok && slices.ContainsFunc(keysOf(request), func(k *pb.Key) bool { return !incomplete(k) })
		}},
		{"Key path element must not be incomplete: ", ofKeys(func(k *pb.Key) bool {
			return slices.ContainsFunc(k.GetPath(), func(e *pb.Key_PathElement) bool { return e.GetIdType() == nil })
		})},
		{"mismatched databases within request: ", ofKeys(func(k *pb.Key) bool {
			p := k.GetPartitionId()
			return p.GetDatabaseId() != "" || p.GetProjectId() != "" && p.GetProjectId() != script.Project
		})},
		{`"(default)" is an invalid database id.`, ofKeys(func(k *pb.Key) bool { return k.GetPartitionId().GetDatabaseId() == "(default)" })},
		{`Illegal string "(default)" in database id.`, ofKeys(func(k *pb.Key) bool { return k.GetPartitionId().GetDatabaseId() == "(default)" })},
		{"Illegal string ", ofKeys(func(k *pb.Key) bool { return k.GetPartitionId().GetNamespaceId() != "" })},
		{"The namespace id ", ofKeys(func(k *pb.Key) bool { return reservedName(k.GetPartitionId().GetNamespaceId()) })},
		{"The key path element name ", ofKeys(func(k *pb.Key) bool {
			return slices.ContainsFunc(k.GetPath(), func(e *pb.Key_PathElement) bool {
				name, ok := e.GetIdType().(*pb.Key_PathElement_Name)
				return ok && (name.Name == "" || len(name.Name) > 1500 || reservedName(name.Name))
			})
		})},
		{"The kind ", ofKeys(func(k *pb.Key) bool {
			return slices.ContainsFunc(k.GetPath(), func(e *pb.Key_PathElement) bool {
				return e.GetKind() == "" || len(e.GetKind()) > 1500 || reservedName(e.GetKind())
			})
		})},
		{"Key path id is invalid. Must be greater than zero in GQL", isGQL},
		{"The query namespace is ", foreignNamespace},
		{"Encountered ", isGQL},
		{"Unknown function ", isGQL},
		{"The property.name is the empty string.", isGQL},
		{"Absent named binding: ", isGQL},
		{"Invalid datetime text (does not match pattern): ", isGQL},
		{"Inequality filter on ", isGQL},
		{"Lexical error ", isGQL},
		{"Disallowed literal: ", isGQL},
		{"Group by is not supported for the property: __key__", ofQuery(func(q *pb.Query) bool { return groups(q, "__key__") })},
		{"group by is not supported for the property: __key__", ofQuery(func(q *pb.Query) bool { return groups(q, "__key__") })},
		{"IN requires an non-empty ArrayValue.", ofQuery(emptyIn)},
		{"Invalid base version, it is greater than the stored version", ofMutations(func(m *pb.Mutation) bool { return m.GetConflictDetectionStrategy() != nil })},
		{"Unknown Distance Measure.", isSearch},
		{"Query Value must be of type vector.", isSearch},
		{"FindNearest.limit must be a positive integer ", isSearch},
		{"A query offset cannot be used with FindNearest", isSearch},
		{"A query limit cannot be used with FindNearest", isSearch},
		{"Too many disjunctions after normalization.", ofQuery(func(q *pb.Query) bool { return len(model.Alternatives(q.GetFilter())) > 30 })},
		{"Aggregation aliases contain duplicate alias: ", ofAggregation(func(all []*pb.AggregationQuery_Aggregation, _ *pb.Query) bool { return len(all) > 1 })},
		{"The maximum number of aggregations ", ofAggregation(func(all []*pb.AggregationQuery_Aggregation, _ *pb.Query) bool { return len(all) > 5 })},
		{"Aggregations can not be empty.", ofAggregation(func(all []*pb.AggregationQuery_Aggregation, _ *pb.Query) bool { return len(all) == 0 })},
		{"The aggregation property ", ofAggregation(func(_ []*pb.AggregationQuery_Aggregation, q *pb.Query) bool { return len(q.GetProjection()) > 0 })},
		{"Aggregation over non-key properties is not supported for base query that only returns keys.", ofAggregation(func(_ []*pb.AggregationQuery_Aggregation, q *pb.Query) bool {
			return projects(q, "__key__")
		})},
		{"Mutations for the same entity must have the same base version.", repeats},
		{"Mutations for the same entity must have the same conflict resolution strategy.", repeats},
		{"Cannot modify entities in a read-only transaction.", func(request proto.Message) bool {
			r, ok := request.(*pb.CommitRequest)
			return ok && len(r.GetTransaction()) > 0 && len(r.GetMutations()) > 0
		}},
		{"__key__ filter namespace is ", foreignNamespace},
		{"Invalid transaction.", inTransaction},
		{"Transaction is invalid or closed.", inTransaction},
		{"transaction has expired or is invalid", inTransaction},
		{"Only timestamps past epoch are supported.", func(request proto.Message) bool {
			r, ok := request.(interface{ GetReadOptions() *pb.ReadOptions })
			return ok && r.GetReadOptions().GetReadTime() != nil
		}},
		{"FailedPrecondition: The requested 'read_time' is too old.", func(request proto.Message) bool {
			r, ok := request.(interface{ GetReadOptions() *pb.ReadOptions })
			return ok && r.GetReadOptions().GetReadTime() != nil
		}},
		{"Cannot transform property ", ofMutations(func(m *pb.Mutation) bool { return len(m.GetPropertyTransforms()) > 1 })},
		{"Only timestamps past epoch are supported.", ofMutations(func(m *pb.Mutation) bool { return m.GetUpdateTime() != nil })},
		{"Cannot update an entity with a base version set to zero", ofMutations(func(m *pb.Mutation) bool { return m.GetUpdate() != nil && m.GetConflictDetectionStrategy() != nil })},
		{"Cannot insert an entity with a base version greater than zero", ofMutations(func(m *pb.Mutation) bool { return m.GetInsert() != nil && m.GetConflictDetectionStrategy() != nil })},
		{"Invalid base_version: ", ofMutations(func(m *pb.Mutation) bool { return m.GetBaseVersion() < 0 })},
		{"AlreadyExists: entity already exists", ofMutations(func(m *pb.Mutation) bool { return m.GetInsert() != nil })},
		{"NotFound: no entity to update", ofMutations(func(m *pb.Mutation) bool { return m.GetUpdate() != nil })},
		{"FailedPrecondition: the stored version ", ofMutations(func(m *pb.Mutation) bool { return m.GetConflictResolutionStrategy() == pb.Mutation_FAIL })},
		{"Cannot collapse mutations with different version preconditions ", repeats},
		{"Cannot insert then insert ", repeats},
		{"Cannot update then insert ", repeats},
		{"Cannot upsert then insert ", repeats},
		{"Cannot delete then update ", repeats},
		{"Key path id is invalid.", ofKeys(func(k *pb.Key) bool {
			return slices.ContainsFunc(k.GetPath(), func(e *pb.Key_PathElement) bool {
				id, ok := e.GetIdType().(*pb.Key_PathElement_Id)
				return ok && id.Id == 0
			})
		})},
		{"Key path is too long.", ofKeys(func(k *pb.Key) bool { return len(k.GetPath()) > 100 })},
		{"Projection property cannot be used.", ofValues(func(v *pb.Value) bool { return v.GetMeaning() == 18 })},
		{"A Value containing a list_value cannot specify a meaning.", ofValues(func(v *pb.Value) bool { return v.GetArrayValue() != nil && v.GetMeaning() != 0 })},
		{"Exclude from indexes cannot be set on a list value", ofValues(func(v *pb.Value) bool { return v.GetArrayValue() != nil && v.GetExcludeFromIndexes() })},
		{"Vector's must be excluded from indexes.", ofValues(func(v *pb.Value) bool { return v.GetMeaning() == 31 && !v.GetExcludeFromIndexes() })},
		{"Vectors must be at most 2048 dimensions.", ofValues(func(v *pb.Value) bool { return len(v.GetArrayValue().GetValues()) > 2048 })},
		{"Timestamp seconds exceeds limit for field", ofValues(func(v *pb.Value) bool { return v.GetTimestampValue() != nil })},
		{"Timestamp nanos exceeds limit for field", ofValues(func(v *pb.Value) bool {
			n := v.GetTimestampValue().GetNanos()
			return n < 0 || n > 999_999_999
		})},
	}
}
