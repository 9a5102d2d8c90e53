package diff

import (
	"slices"
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/model"
	"google.golang.org/grpc/codes"
)

// firestore are the ways in which the Firestore emulator answers differently.
func firestore() []Entry {
	return []Entry{
		{
			ID: "fs-index-updates", Of: "FS", Aspect: "index updates",
			Match:    theirs("0"),
			Sentence: "never says how many index entries a commit wrote",
			Source:   "proto: `CommitResponse.index_updates`; recorded production traffic has 2n+1 for a new entity with n indexed values",
		},
		{
			ID: "fs-commit-time", Of: "FS", Aspect: "commit time",
			Match: func(c *Case) bool {
				r, ok := c.Step.Request.(*pb.CommitRequest)
				return ok && r.GetMode() == pb.CommitRequest_NON_TRANSACTIONAL && c.Difference.Theirs == "true"
			},
			Sentence: "sets `commit_time` for commits outside transactions",
			Source:   "proto: \"not set for non-transactional commits\"",
		},
		{
			ID: "fs-lookup-cursors", Of: "FS", Aspect: "cursors",
			Match: func(c *Case) bool {
				_, ok := c.Step.Request.(*pb.LookupRequest)
				return ok && c.Difference.Theirs == "true"
			},
			Sentence: "sets cursors on what a lookup finds",
			Source:   "proto: `EntityResult.cursor` is set in query results",
		},
		{
			ID: "fs-skipped-cursor", Of: "FS", Aspect: "skipped cursor",
			Match:    theirs("false"),
			Sentence: "never sets `skipped_cursor`",
			Source:   "proto: \"Will be set when skipped_results != 0\"; recorded production traffic",
		},
		{
			ID: "fs-missing-versions", Of: "FS", Aspect: "missing versions",
			Match:    theirs("false"),
			Sentence: "gives missing entities no version",
			Source:   "proto: `EntityResult.version` is the version of the snapshot for missing entities",
		},
		{
			ID: "fs-more-after-cursor", Of: "FS", Aspect: "more",
			Match: func(c *Case) bool {
				r, ok := c.Step.Request.(*pb.RunQueryRequest)
				return ok && (len(r.GetQuery().GetEndCursor()) > 0 || r.GetGqlQuery() != nil) &&
					c.Difference.Ours == "MORE_RESULTS_AFTER_CURSOR" && c.Difference.Theirs == "NO_MORE_RESULTS"
			},
			Sentence: "says NO_MORE_RESULTS where the end cursor ended a query",
			Source:   "proto: MORE_RESULTS_AFTER_CURSOR",
		},
		{
			ID: "fs-key-versions", Of: "FS", Aspect: "versions, times", Match: notFull,
			Sentence: "gives versions and times to results that aren't whole entities",
			Source:   "proto: `EntityResult.version` is set for FULL entity results",
		},
		{
			ID: "fs-later-times", Of: "FS", Aspect: "times", Either: true, Match: laterTimes,
			Sentence: "gives a mutation the times of the last one of the same entity in the same commit",
			Source:   "proto: `MutationResult.create_time` is not set after a deletion, only then",
		},
		{
			ID: "fs-delete-version", Of: "FS", Aspect: "versions", Either: true,
			Match:    func(c *Case) bool { return deleteVersions(c) && c.Ours.Aspect("conflicts") == "" },
			Sentence: "answers the deletion of an entity that was deleted before, even if the same commit made it anew, with the version of that deletion",
			Source:   "proto: `MutationResult.version`, any version after the last one of the entity",
		},
		{
			ID: "fs-rows", Of: "FS", Aspect: "results, skipped, more",
			Quirk:    model.Quirks{Rows: true},
			Sentence: "returns an entity once for each of its index rows that match",
			Source:   "docs: queries on array properties return an entity once; DS",
		},
		{
			ID: "fs-batches", Of: "FS", Aspect: "batches", NoExample: "it needs hundreds of results",
			Match:    theirs("1"),
			Sentence: "returns all results in one batch",
			Source:   "recorded production traffic: batches of 300",
		},
		{
			ID: "fs-aggregation-transaction", Of: "FS", Aspect: "transaction",
			Match: func(c *Case) bool {
				r, ok := c.Step.Request.(*pb.RunAggregationQueryRequest)
				return ok && r.GetReadOptions().GetNewTransaction() != nil && c.Difference.Theirs == "false"
			},
			Sentence: "doesn't return the transaction that an aggregation began",
			Source:   "proto: `RunAggregationQueryResponse.transaction`",
		},
		{
			ID: "fs-gql-aggregation-query", Of: "FS", Aspect: "query",
			Match: func(c *Case) bool {
				return c.Ours.Method == "RunAggregationQuery" && isGQL(c.Step.Request) && c.Difference.Theirs == ""
			},
			Sentence: "doesn't return what it understood of an aggregation in GQL",
			Source:   "proto: `RunAggregationQueryResponse.query`",
		},
		{
			ID: "fs-conflicts", Of: "FS", Aspect: "conflicts", Diverges: true,
			Match: func(c *Case) bool {
				return c.Ours.Aspect("conflicts") != "" && ofMutations(func(m *pb.Mutation) bool {
					return m.GetConflictDetectionStrategy() != nil && m.GetConflictResolutionStrategy() != pb.Mutation_FAIL
				})(c.Step.Request)
			},
			Sentence: "applies mutations whose entity has another version than they demand",
			Source:   "proto: `ConflictResolutionStrategy.SERVER_VALUE`; DS",
		},
		{
			ID: "fs-statistics", Of: "FS", Aspect: "*", Either: true,
			Match:    func(c *Case) bool { return strings.HasPrefix(c.kind(), "__Stat_") && nothingFound(c) },
			Sentence: "has no statistics entities",
			Source:   "docs: Datastore statistics",
		},
		{
			ID: "fs-later-versions", Of: "FS", Aspect: "versions", Either: true, Match: laterTimes,
			Sentence: "gives a mutation that changed nothing the version of a later one of the same entity in the same commit",
			Source:   "proto: `MutationResult.version` of a mutation that changes nothing",
		},
		{
			ID: "fs-contradiction-more", Of: "FS", Aspect: "more",
			Match: func(c *Case) bool {
				return c.query().GetLimit() != nil && c.query().GetLimit().GetValue() == 0 && contradicts(c) && !distinctCursor(c) && c.Difference.Theirs == "MORE_RESULTS_AFTER_LIMIT"
			},
			Sentence: "doesn't see all contradictions in a query with limit 0",
			Source:   "recorded production traffic: NO_MORE_RESULTS",
		},
		{
			ID: "fs-nothing-below-null", Of: "FS", Aspect: "more",
			Match: func(c *Case) bool {
				return c.query().GetLimit() != nil && c.query().GetLimit().GetValue() == 0 && c.Difference.Theirs == "NO_MORE_RESULTS" &&
					slices.ContainsFunc(model.PropertyFilters(c.query().GetFilter()), func(f *pb.PropertyFilter) bool {
						_, null := f.GetValue().GetValueType().(*pb.Value_NullValue)
						return null && f.GetOp() == pb.PropertyFilter_LESS_THAN
					})
			},
			Sentence: "says NO_MORE_RESULTS to a query with limit 0 for what is less than null",
			Source:   "FS itself, where the limit is 0 and nothing is found; DS",
		},
		{
			ID: "fs-find-nearest", Of: "FS", Aspect: "results",
			Match: func(c *Case) bool {
				return isSearch(c.Step.Request) && slices.ContainsFunc([]model.Quirks{{}, {Rows: true}, {Unindexed: true}, {Rows: true, Unindexed: true}}, func(q model.Quirks) bool {
					return c.modelled(q.Or(model.Quirks{NotNearest: true})) == c.Difference.Theirs
				}) &&
					(len(c.query().GetProjection()) > 0 || c.modelled(model.Quirks{}) == c.Difference.Ours)
			},
			Sentence: "ignores `find_nearest`",
			Source:   "proto: `Query.find_nearest`",
		},
		{
			ID: "fs-end-cursor", Of: "FS", Aspect: "end cursor",
			Match:    func(c *Case) bool { return len(c.Ours.Rows)+len(c.Theirs.Rows) == 0 && c.Difference.Theirs == "false" },
			Sentence: "has no `end_cursor` where a query found nothing",
			Source:   "recorded production traffic",
		},
		{
			ID: "fs-aggregation-more", Of: "FS", Aspect: "more",
			Match: func(c *Case) bool {
				return c.Ours.Method == "RunAggregationQuery" && c.Difference.Theirs == "MORE_RESULTS_TYPE_UNSPECIFIED"
			},
			Sentence: "never sets `more_results` of aggregations",
			Source:   "proto: `AggregationResultBatch.more_results`, NO_MORE_RESULTS",
		},
		{
			ID: "fs-properties", Of: "FS", Aspect: "results, skipped, more, end cursor",
			Match:    func(c *Case) bool { return c.kind() == "__property__" && nothingFound(c) },
			Sentence: "finds nothing in `__property__`",
			Source:   "docs: metadata queries; DS",
		},
		{
			ID: "fs-distinct-cursor", Of: "FS", Aspect: "results, skipped, more",
			Match: func(c *Case) bool {
				q := c.query()
				return distinctCursor(c) && (c.Difference.Aspect != "more" || c.Difference.Theirs == "MORE_RESULTS_AFTER_LIMIT") && (q.GetLimit() != nil || q.GetOffset() > 0 || c.turned() ||
					within(c.Ours.Rows, c.theirRows()))
			},
			Wide:     "which results it shows again, and which none of when the query is reversed, depends on what came before the cursor",
			Sentence: "shows another result of a combination that came before the start cursor",
			Source:   "proto: `Query.distinct_on`, the first result for each combination of values",
		},
		{
			ID: "fs-applied-later", Of: "FS", Aspect: "history", NoExample: "no single answer shows it: a history does",
			Match: func(c *Case) bool {
				return slices.ContainsFunc(c.history, func(a answered) bool {
					r, ok := a.Request.(*pb.CommitRequest)
					return ok && r.GetMode() == pb.CommitRequest_NON_TRANSACTIONAL && a.Code == codes.DeadlineExceeded
				})
			},
			Sentence: "applies a write that waited for a lock after its client has given up",
			Source:   "gRPC: a request whose deadline has passed is cancelled; DS",
		},
		{
			ID: "fs-rows-equal", Of: "FS", Aspect: "results",
			Match: func(c *Case) bool {
				seen := map[string]bool{}
				once := slices.DeleteFunc(slices.Clone(c.Theirs.Rows), func(row *pb.EntityResult) bool {
					again := seen[RowText(row)]
					seen[RowText(row)] = true
					return again
				})
				return len(c.query().GetProjection()) > 0 && equalAndUnequal(c.query()) && rowsText(once) == c.Difference.Ours
			},
			Sentence: "repeats a row of a projection for each value of a property that must equal something and also has an inequality",
			Source:   "docs: a property that equals one value doesn't order results",
		},
		{
			ID: "fs-aggregation-equality", Of: "FS", Aspect: "results", Either: true,
			Wide: "how often it adds up a value depends on the index that it chose, and on how it unites alternatives",
			Match: func(c *Case) bool {
				return c.Ours.Method == "RunAggregationQuery" && slices.ContainsFunc(c.past.aggregation(c.Step.ID).GetAggregations(), func(a *pb.AggregationQuery_Aggregation) bool {
					name := a.GetSum().GetProperty().GetName() + a.GetAvg().GetProperty().GetName()
					return name != "" && slices.ContainsFunc(model.PropertyFilters(c.query().GetFilter()), func(f *pb.PropertyFilter) bool {
						return f.GetProperty().GetName() == name && (f.GetOp() == pb.PropertyFilter_EQUAL || f.GetOp() == pb.PropertyFilter_IN)
					}) && slices.ContainsFunc(c.past.entities(c.Step.ID), func(e *pb.Entity) bool {
						return len(e.GetProperties()[name].GetArrayValue().GetValues()) > 1
					})
				})
			},
			Sentence: "adds up several values of a property with an equality filter",
			Source:   "docs: a property with an equality filter can't be projected; ours takes the value that the filter names, or else the first",
		},
		{
			ID: "fs-key-ties", Of: "FS", Aspect: "results, skipped", Quirk: model.Quirks{KeyTies: true},
			Sentence: "sorts the results of alternatives that tie by key, before what they only project",
			Source:   "FS itself, where there is one alternative; DS",
		},
		{
			ID: "fs-unindexed-entity", Of: "FS", Aspect: "results, skipped, more", Quirk: model.Quirks{Unindexed: true},
			Sentence: "indexes what lies within an entity that is excluded from indexes",
			Source:   "docs: excluding an embedded entity excludes all its properties; DS",
		},
	}
}
