package diff

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/model"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// Justified is the table of justified differences.
func Justified() []Entry {
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
			ID: "fs-exists-text", Of: "FS", Aspect: "error",
			Match: func(c *Case) bool {
				return strings.HasPrefix(c.Difference.Ours, "AlreadyExists: entity already exists: app: ") &&
					strings.HasPrefix(c.Difference.Theirs, "AlreadyExists: entity already exists: EntityRef{")
			},
			Sentence: "names an existing entity in a format of its own",
			Source:   "recorded production traffic",
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
			ID: "fs-key-versions", Of: "FS", Aspect: "versions", Match: notFull,
			Sentence: "gives versions to results that aren't whole entities",
			Source:   "proto: `EntityResult.version` is set for FULL entity results",
		},
		{
			ID: "fs-key-times", Of: "FS", Aspect: "times", Match: notFull,
			Sentence: "gives times to results that aren't whole entities",
			Source:   "proto: `EntityResult.create_time` is set for FULL entity results",
		},
		{
			ID: "fs-later-times", Of: "FS", Aspect: "times", Match: laterTimes,
			Sentence: "gives a mutation the times of the last one of the same entity in the same commit",
			Source:   "proto: `MutationResult.create_time` is not set after a deletion, only then",
		},
		{
			ID: "fs-delete-version", Of: "FS", Aspect: "versions",
			Match:    func(c *Case) bool { return deleteVersions(c) && c.Ours.Aspect("conflicts") == "" },
			Sentence: "answers the deletion of an entity that was deleted before with the version of that deletion",
			Source:   "proto: `MutationResult.version`, any version after the last one of the entity",
		},
		{
			ID: "fs-rows", Of: "FS", Aspect: "results",
			Quirk:    model.Quirks{Rows: true},
			Sentence: "returns an entity once for each of its index rows that match",
			Source:   "docs: queries on array properties return an entity once; DS",
		},
		{
			ID: "fs-rows-skipped", Of: "FS", Aspect: "skipped",
			Quirk:    model.Quirks{Rows: true},
			Sentence: "counts an entity once for each of its index rows among the skipped",
			Source:   "docs: queries on array properties return an entity once; DS",
		},
		{
			ID: "fs-projection-ties", Of: "FS", Aspect: "results",
			Quirk:    model.Quirks{LastOrder: true},
			Sentence: "sorts what a projection adds to the orders in the direction of the last order",
			Source:   "docs: an index has what a projection adds in ascending order; DS",
		},
		{
			ID: "fs-entity-crash", Of: "FS", Aspect: "error",
			Match: func(c *Case) bool {
				return c.Difference.Theirs == "Unknown: " && (c.Ours.Code == codes.OK || made(c.Difference.Ours, c.Step.Request) != "") && c.entityStored()
			},
			Sentence: "fails where a property that a query sorts or filters by holds an entity (with a key, or in an array)",
			Source:   "docs: an entity value isn't indexed, its properties are",
		},
		{
			ID: "fs-key-order-cursor", Of: "FS", Aspect: "error",
			Match: func(c *Case) bool {
				q := c.query()
				return c.Difference.Theirs == "InvalidArgument: index data should not include primary key" &&
					len(q.GetStartCursor())+len(q.GetEndCursor()) > 0 && slices.Contains(model.Names(q), "__key__")
			},
			Sentence: "doesn't know its own cursors of queries that sort or filter by key and sort by another property",
			Source:   "proto: a cursor is a place in the results of its query; DS",
		},
		{
			ID: "fs-or-ancestor-crash", Of: "FS", Aspect: "error",
			Match: func(c *Case) bool {
				return c.Difference.Theirs == "Unknown: " && ancestorInOr(c.query().GetFilter(), false) && !c.entityStored() &&
					!strings.HasPrefix(c.Difference.Ours, "InvalidArgument: The maximum number of aggregations")
			},
			Sentence: "fails where HAS_ANCESTOR stands within OR",
			Source:   "proto: all disjuncts may have the same HAS_ANCESTOR",
		},
		{
			ID: "fs-batches", Of: "FS", Aspect: "batches",
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
			ID: "fs-read-only-commit", Of: "FS", Aspect: "error",
			Match: func(c *Case) bool {
				r, ok := c.Step.Request.(*pb.CommitRequest)
				return ok && len(r.GetMutations()) == 0 && c.Ours.Code == codes.OK && c.Difference.Theirs == "InvalidArgument: Cannot modify entities in a read-only transaction."
			},
			Sentence: "refuses to commit a read-only transaction",
			Source:   "the integration tests of Google's Go client; DS",
		},
		{
			ID: "fs-kindless-transaction-crash", Of: "FS", Aspect: "error",
			Match: func(c *Case) bool {
				o, ok := c.Step.Request.(interface{ GetReadOptions() *pb.ReadOptions })
				return ok && (len(o.GetReadOptions().GetTransaction()) > 0 || o.GetReadOptions().GetNewTransaction() != nil) &&
					c.query() != nil && len(c.query().GetKind()) == 0 && c.Ours.Code == codes.OK && c.Difference.Theirs == "Unknown: " && !c.entityStored()
			},
			Sentence: "fails at kindless queries in transactions",
			Source:   "docs: queries in transactions; DS",
		},
		{
			ID: "fs-transaction-lost", Of: "FS", Aspect: "error", Match: func(c *Case) bool { return transactionLost(c) && c.Difference.Theirs != "Unknown: " }, Diverges: true,
			Sentence: "refused an earlier request of the transaction",
			Source:   "see the entry about that request",
		},
		{
			ID: "fs-conflicts", Of: "FS", Aspect: "*", Diverges: true,
			Match: func(c *Case) bool {
				return c.Ours.Aspect("conflicts") != "" && c.Difference.Aspect != "index updates" && c.Difference.Aspect != "commit time" && ofMutations(func(m *pb.Mutation) bool {
					return m.GetConflictDetectionStrategy() != nil && m.GetConflictResolutionStrategy() != pb.Mutation_FAIL
				})(c.Step.Request)
			},
			Sentence: "applies mutations whose entity has another version than they demand",
			Source:   "proto: `ConflictResolutionStrategy.SERVER_VALUE`; DS",
		},
		{
			ID: "fs-lasting-locks", Of: "FS", Aspect: "error", Diverges: true,
			Match: func(c *Case) bool {
				return c.Difference.Theirs == "Aborted: Transaction lock timeout." && c.past.begunByReading(c.Step.ID)
			},
			Sentence: "keeps writes waiting for transactions that a read began, read-only ones and ended ones too",
			Source:   "docs: read-only transactions don't lock, and locks end with their transaction; DS",
		},
		{
			ID: "fs-statistics", Of: "FS", Aspect: "*",
			Match:    func(c *Case) bool { return strings.HasPrefix(c.kind(), "__Stat_") && statisticsMissing(c) },
			Sentence: "has no statistics entities",
			Source:   "docs: Datastore statistics",
		},
		{
			ID: "fs-later-versions", Of: "FS", Aspect: "versions", Match: laterTimes,
			Sentence: "gives a mutation that changed nothing the version of a later one of the same entity in the same commit",
			Source:   "proto: `MutationResult.version` of a mutation that changes nothing",
		},
		{
			ID: "fs-contradiction-more", Of: "FS", Aspect: "more",
			Match: func(c *Case) bool {
				return c.query().GetLimit() != nil && c.query().GetLimit().GetValue() == 0 && contradicts(c) && c.Difference.Theirs == "MORE_RESULTS_AFTER_LIMIT"
			},
			Sentence: "doesn't see all contradictions in a query with limit 0",
			Source:   "recorded production traffic: NO_MORE_RESULTS",
		},
		{
			ID: "fs-find-nearest", Of: "FS", Aspect: "results",
			Match: func(c *Case) bool {
				return isSearch(c.Step.Request) && c.modelled(model.Quirks{NotNearest: true}) == c.Difference.Theirs &&
					(len(c.query().GetProjection()) > 0 || c.modelled(model.Quirks{}) == c.Difference.Ours)
			},
			Sentence: "ignores `find_nearest`",
			Source:   "proto: `Query.find_nearest`",
		},
		{
			ID: "fs-find-nearest-projection", Of: "FS", Aspect: "error",
			Match: func(c *Case) bool {
				return isSearch(c.Step.Request) && c.Ours.Code == codes.OK && made(c.Difference.Theirs, c.Step.Request) != ""
			},
			Sentence: "takes the distance that a projection names for a stored property",
			Source:   "proto: `FindNearest.distance_result_property`",
		},
		{
			ID: "fs-find-nearest-unchecked", Of: "FS", Aspect: "error",
			Match: func(c *Case) bool {
				return isSearch(c.Step.Request) && c.Ours.Code == codes.InvalidArgument && c.Theirs.Code == codes.OK
			},
			Sentence: "ignores `find_nearest`, whatever it says",
			Source:   "proto: `Query.find_nearest`",
		},
		{
			ID: "fs-which-pair", Of: "FS", Aspect: "error",
			Match: func(c *Case) bool {
				return pairOfMutations.MatchString(c.Difference.Ours) && pairOfMutations.MatchString(c.Difference.Theirs)
			},
			Sentence: "names another one of several pairs of mutations that exclude each other",
			Source:   "proto: each of the pairs is forbidden",
		},
		{
			ID: "other-mistake", Of: "FS, DS", Aspect: "error", Match: otherMistake,
			Sentence: "names another one of several mistakes that a request has",
			Source:   "no source gives an order of checks",
		},
		{
			ID: "mismatch-order", Of: "FS, DS", Aspect: "error", Match: swapped,
			Sentence: "names two databases that don't match in an order of its own",
			Source:   "none: both texts name both",
		},
		{
			ID: "unrecognized", Of: "FS, DS", Aspect: "error",
			Match: func(c *Case) bool {
				return strings.HasSuffix(c.Difference.Theirs, "UNRECOGNIZED") && c.Ours.Code == codes.InvalidArgument
			},
			Sentence: "doesn't name the number that isn't one of an enumeration",
			Source:   "none: ours says more",
		},
		{
			ID: "fs-reserve-negative-crash", Of: "FS", Aspect: "error",
			Match: func(c *Case) bool {
				r, ok := c.Step.Request.(*pb.ReserveIdsRequest)
				return ok && c.Difference.Theirs == "Unknown: " && slices.ContainsFunc(r.GetKeys(), func(k *pb.Key) bool {
					return slices.ContainsFunc(k.GetPath(), func(e *pb.Key_PathElement) bool { return e.GetId() < 0 })
				})
			},
			Sentence: "fails where a negative identifier is to be reserved",
			Source:   "DS; proto: negative identifiers are discouraged, not forbidden",
		},
		{
			ID: "foreign-transaction", Of: "FS, DS", Aspect: "error",
			Match: func(c *Case) bool {
				return c.Difference.Ours == "InvalidArgument: Invalid transaction." && (c.Difference.Theirs == "InvalidArgument: Transaction is invalid or closed." || c.Difference.Theirs == "InvalidArgument: transaction has expired or is invalid") &&
					c.transaction() == 0
			},
			Sentence: "takes bytes that look like its own for a transaction that is over",
			Source:   "none: transactions are opaque",
		},
		{
			ID: "fs-reference-text", Of: "FS", Aspect: "error",
			Match: func(c *Case) bool {
				return c.Difference.Ours != c.Difference.Theirs && reference(c.Difference.Ours) == reference(c.Difference.Theirs)
			},
			Sentence: "writes the small identifiers of an entity's path in hexadecimal too, and cuts letters in its names down to eight bits",
			Source:   "recorded production traffic; proto: names are UTF-8",
		},
		{
			ID: "fs-end-cursor", Of: "FS", Aspect: "end cursor",
			Match:    func(c *Case) bool { return len(c.Ours.Rows)+len(c.Theirs.Rows) == 0 && c.Difference.Theirs == "false" },
			Sentence: "has no `end_cursor` where a query found nothing",
			Source:   "recorded production traffic",
		},
		{
			ID: "contradiction", Of: "FS, DS", Aspect: "type",
			Match: func(c *Case) bool {
				return c.Difference.Ours == "FULL" && len(c.Ours.Rows)+len(c.Theirs.Rows) == 0 && contradicts(c)
			},
			Sentence: "looks even where the bounds on a property leave nothing, and says what results there would have been",
			Source:   "recorded production traffic: FULL, even for keys only",
		},
		{
			ID: "fs-rows-more", Of: "FS", Aspect: "more", Quirk: model.Quirks{Rows: true},
			Sentence: "counts an entity once for each of its index rows, so that more is left behind the limit",
			Source:   "docs: queries on array properties return an entity once; DS",
		},
		{
			ID: "long-text", Of: "FS, DS", Aspect: "error",
			Match: func(c *Case) bool {
				before, _, cut := strings.Cut(c.Difference.Ours, "…")
				return cut && strings.HasPrefix(c.Difference.Theirs, before)
			},
			Sentence: "repeats what a client sent at any length",
			Source:   "none: ours says how long it was",
		},
		{
			ID: "other-database-text", Of: "FS, DS", Aspect: "error",
			Match: func(c *Case) bool {
				return strings.HasPrefix(c.Difference.Ours, "InvalidArgument: mismatched databases within request: ") &&
					strings.HasPrefix(c.Difference.Theirs, "InvalidArgument: The request was for database '")
			},
			Sentence: "words the mistake differently where the key stands in a filter",
			Source:   "FS itself, everywhere else",
		},
		{
			ID: "unknown-operator", Of: "FS, DS", Aspect: "error",
			Match: func(c *Case) bool {
				return strings.HasPrefix(c.Difference.Ours, "InvalidArgument: unknown filter operator ") &&
					(c.Difference.Theirs == "InvalidArgument: The 'HAS_PARENT' filter is not supported." || c.Difference.Theirs == "InvalidArgument: HAS_PARENT requires a key value or null")
			},
			Sentence: "knows the number of an operator that isn't in the API",
			Source:   "proto: `PropertyFilter.Operator`",
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
			ID: "underscores", Of: "FS, DS", Aspect: "error",
			Match: func(c *Case) bool {
				return strings.HasSuffix(c.Difference.Ours, `"____" is reserved.`) && !otherMistake(c)
			},
			Sentence: "doesn't take the name ____ for a reserved one",
			Source:   "proto: names that match `__.*__` are reserved",
		},
		{
			ID: "read-time-text", Of: "FS, DS", Aspect: "error",
			Match: func(c *Case) bool {
				for _, prefix := range []string{"FailedPrecondition: The requested 'read_time' is too old.", "InvalidArgument: invalid timestamp"} {
					if strings.HasPrefix(c.Difference.Ours, prefix) && strings.HasPrefix(c.Difference.Theirs, prefix) {
						return true
					}
				}
				return false
			},
			Sentence: "says nothing, or something else, about a read_time that can't be had",
			Source:   "none: ours says how old it may be",
		},
		{
			ID: "consistency-crash", Of: "FS, DS", Aspect: "error",
			Match: func(c *Case) bool {
				return c.Difference.Theirs == "Unknown: " && c.Difference.Ours == "InvalidArgument: ReadConsistency must be specified."
			},
			Sentence: "fails at a read consistency that isn't one of the API's",
			Source:   "FS itself, where none is given",
		},
		{
			ID: "fs-eventual", Of: "FS", Aspect: "error",
			Match:    theirs("InvalidArgument: Firestore emulator does not support eventual consistency options."),
			Sentence: "refuses eventual consistency",
			Source:   "proto: `ReadOptions.EVENTUAL`; DS",
		},
		{
			ID: "fs-six-aggregations-crash", Of: "FS", Aspect: "error",
			Match: func(c *Case) bool {
				return c.Difference.Theirs == "Unknown: " && strings.HasPrefix(c.Difference.Ours, "InvalidArgument: The maximum number of aggregations allowed in an aggregation query is 5.")
			},
			Sentence: "fails at more than five aggregations",
			Source:   "Google's Node client expects production's text",
		},
		{
			ID: "fs-aggregation-unchecked", Of: "FS", Aspect: "error",
			Match: func(c *Case) bool {
				return c.Ours.Method == "RunAggregationQuery" && c.Theirs.Code == codes.OK && !strings.Contains(c.Difference.Ours, "kind is required for projection") &&
					!strings.Contains(c.Difference.Ours, " in GQL") && made(c.Difference.Ours, c.Step.Request) != ""
			},
			Sentence: "aggregates over queries that it refuses to run",
			Source:   "FS itself, as a query",
		},
		{
			ID: "fs-kinds", Of: "FS", Aspect: "error",
			Match: func(c *Case) bool {
				return c.kind() == "__kind__" && c.Difference.Theirs == "InvalidArgument: Kind queries are not supported in the Datastore Mode emulator." ||
					c.kind() == "__namespace__" && c.Difference.Theirs == "InvalidArgument: Namespace queries are not supported in the Datastore Mode emulator."
			},
			Sentence: "doesn't support queries of `__kind__` and `__namespace__`",
			Source:   "docs: metadata queries; DS",
		},
		{
			ID: "fs-properties", Of: "FS", Aspect: "results",
			Match:    func(c *Case) bool { return c.kind() == "__property__" && c.Difference.Theirs == "" },
			Sentence: "finds nothing in `__property__`",
			Source:   "docs: metadata queries; DS",
		},
		{
			ID: "fs-properties-skipped", Of: "FS", Aspect: "skipped",
			Match:    func(c *Case) bool { return c.kind() == "__property__" && c.Difference.Theirs == "0" },
			Sentence: "finds nothing in `__property__`, so that there is nothing to skip",
			Source:   "docs: metadata queries; DS",
		},
		{
			ID: "fs-properties-more", Of: "FS", Aspect: "more",
			Match:    func(c *Case) bool { return c.kind() == "__property__" && c.Difference.Theirs == "NO_MORE_RESULTS" },
			Sentence: "finds nothing in `__property__`, so that there is no more",
			Source:   "docs: metadata queries; DS",
		},
		{
			ID: "fs-properties-end", Of: "FS", Aspect: "end cursor",
			Match: func(c *Case) bool {
				return c.kind() == "__property__" && len(c.Ours.Rows) > 0 && c.Difference.Theirs == "false"
			},
			Sentence: "finds nothing in `__property__`, so that there is no cursor",
			Source:   "docs: metadata queries; DS",
		},
		{
			ID: "fs-properties-unchecked", Of: "FS", Aspect: "error",
			Match: func(c *Case) bool {
				return c.kind() == "__property__" && c.Theirs.Code == codes.OK && len(c.Theirs.Rows) == 0
			},
			Sentence: "finds nothing in `__property__`, whatever it is asked",
			Source:   "docs: metadata queries; DS",
		},
		{
			ID: "gql-expecting", Of: "FS, DS", Aspect: "error",
			Match: func(c *Case) bool {
				x, _, found := strings.Cut(c.Difference.Ours, "\nWas expecting")
				y, _, also := strings.Cut(c.Difference.Theirs, "\nWas expecting")
				return isGQL(c.Step.Request) && found && also && x == y
			},
			Sentence: "lists the tokens that its parser generator would have taken in place of the wrong one",
			Source:   "none: ours names the same token at the same place, and says what it waited for",
		},
		{
			ID: "gql-other-token", Of: "FS, DS", Aspect: "error",
			Match: func(c *Case) bool {
				const prefix = "InvalidArgument: Encountered "
				x, _, _ := strings.Cut(c.Difference.Ours, "\nWas expecting")
				y, _, _ := strings.Cut(c.Difference.Theirs, "\nWas expecting")
				return isGQL(c.Step.Request) && strings.HasPrefix(x, prefix) && strings.HasPrefix(y, prefix) && x != y
			},
			Sentence: "stumbles over another token of the same wrong text",
			Source:   "none: both refuse it",
		},
		{
			ID: "gql-lexical", Of: "FS, DS", Aspect: "error",
			Match: func(c *Case) bool {
				x, _, found := strings.Cut(c.Difference.Ours, " after : ")
				y, _, also := strings.Cut(c.Difference.Theirs, " after : ")
				return isGQL(c.Step.Request) && found && also && x == y
			},
			Sentence: "repeats another part of a token that doesn't end",
			Source:   "none: ours names the same place",
		},
		{
			ID: "gql-crash", Of: "FS, DS", Aspect: "error",
			Match: func(c *Case) bool {
				return isGQL(c.Step.Request) && c.Difference.Theirs == "Unknown: " && strings.HasPrefix(c.Difference.Ours, "InvalidArgument: Encountered ")
			},
			Sentence: "fails at some texts that aren't GQL",
			Source:   "none: ours says what is wrong",
		},
		{
			ID: "gql-negative-id", Of: "FS, DS", Aspect: "error",
			Match: func(c *Case) bool {
				return isGQL(c.Step.Request) && strings.HasPrefix(c.Difference.Ours, "InvalidArgument: Key path id is invalid. Must be greater than zero in GQL: -") && c.Theirs.Code == codes.OK
			},
			Sentence: "takes negative identifiers in KEY",
			Source:   "docs: the GQL reference",
		},
		{
			ID: "fs-unindexed-entity", Of: "FS", Aspect: "results", Quirk: model.Quirks{Unindexed: true},
			Sentence: "indexes what lies within an entity that is excluded from indexes",
			Source:   "docs: excluding an embedded entity excludes all its properties; DS",
		},
		{
			ID: "fs-unindexed-entity-skipped", Of: "FS", Aspect: "skipped", Quirk: model.Quirks{Unindexed: true},
			Sentence: "indexes what lies within an entity that is excluded from indexes, so that there is more to skip",
			Source:   "docs: excluding an embedded entity excludes all its properties; DS",
		},
		{
			ID: "ds-commit-time", Of: "DS", Aspect: "commit time",
			Match:    theirs("false"),
			Sentence: "never sets `commit_time`",
			Source:   "proto: `CommitResponse.commit_time`",
		},
		{
			ID: "ds-times", Of: "DS", Aspect: "times",
			Match:    noTimes,
			Sentence: "knows no `create_time` and `update_time`",
			Source:   "proto: `EntityResult.create_time` and `update_time`",
		},
		{
			ID: "ds-read-time", Of: "DS", Aspect: "read time",
			Match:    theirs("false"),
			Sentence: "never sets `read_time`",
			Source:   "proto: `LookupResponse.read_time`, `QueryResultBatch.read_time`",
		},
		{
			ID: "ds-more-results", Of: "DS", Aspect: "more",
			Match:    theirs("MORE_RESULTS_AFTER_LIMIT"),
			Sentence: "says MORE_RESULTS_AFTER_LIMIT even where nothing is left",
			Source:   "recorded production traffic: NO_MORE_RESULTS at the end of the data",
		},
		{
			ID: "ds-skipped-cursor", Of: "DS", Aspect: "skipped cursor",
			Match: func(c *Case) bool {
				return c.Ours.skipped == 0 && c.Theirs.skipped == 0 && c.Difference.Theirs == "true"
			},
			Sentence: "sets `skipped_cursor` where a query skipped nothing",
			Source:   "proto: \"Will be set when skipped_results != 0\"",
		},
		{
			ID: "ds-exists-text", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				return strings.HasPrefix(c.Difference.Ours, "AlreadyExists: entity already exists: app: ") && c.Difference.Theirs == "AlreadyExists: entity already exists" ||
					strings.HasPrefix(c.Difference.Ours, "NotFound: no entity to update: app: ") && c.Difference.Theirs == "NotFound: no entity to update" ||
					strings.HasPrefix(c.Difference.Ours, c.Difference.Theirs+": app: ") && strings.HasPrefix(c.Difference.Theirs, "InvalidArgument: ")
			},
			Sentence: "doesn't name the entity that an error is about",
			Source:   "recorded production traffic",
		},
		{
			ID: "ds-texts", Of: "DS", Aspect: "error",
			Match:    otherWords,
			Sentence: "words the same mistake differently",
			Source:   "FS, and recorded production traffic where it has them",
		},
		{
			ID: "ds-group-by-inequality", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				return groupByInequality.MatchString(c.Difference.Theirs) && !otherMistake(c) && (c.untold() || len(c.query().GetDistinctOn()) > 0 && inequalities(c.query()) > 0)
			},
			Sentence: "demands that a query is distinct on the property of its inequality",
			Source:   "FS",
		},
		{
			ID: "ds-one-in", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				n := 0
				for _, f := range model.PropertyFilters(c.query().GetFilter()) {
					if f.GetOp() == pb.PropertyFilter_IN || f.GetOp() == pb.PropertyFilter_NOT_IN {
						n++
					}
				}
				return (c.untold() || n > 1) && c.Difference.Theirs == "InvalidArgument: Only a single 'IN' or 'NOT_IN' filter allowed per query."
			},
			Sentence: "doesn't support several IN and NOT_IN in one query",
			Source:   "proto: `PropertyFilter.IN`, up to 30 alternatives in all; FS",
		},
		{
			ID: "ds-previous-transaction", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				return c.Difference.Ours == "InvalidArgument: Invalid transaction." && c.Difference.Theirs == "Internal: Invalid transaction."
			},
			Sentence: "takes an unknown previous transaction for a fault of its own",
			Source:   "FS",
		},
		{
			ID: "ds-aggregations", Of: "DS", Aspect: "error",
			Match:    theirs("Unimplemented: Method google.datastore.v1.Datastore/RunAggregationQuery is unimplemented"),
			Sentence: "knows no aggregations", Source: "proto: `RunAggregationQuery`; FS",
		},
		{
			ID: "ds-transaction-lost", Of: "DS", Aspect: "error", Match: transactionLost, Diverges: true,
			Sentence: "refused an earlier request of the transaction",
			Source:   "see the entry about that request",
		},
		{
			ID: "ds-rollback-twice", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				_, ok := c.Step.Request.(*pb.RollbackRequest)
				return ok && c.Ours.Code == codes.OK && c.Difference.Theirs == "InvalidArgument: transaction has expired or is invalid"
			},
			Sentence: "refuses to roll back a transaction that is over",
			Source:   "FS",
		},
		{
			ID: "ds-read-only-contention", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				return (c.Ours.Code == codes.OK || made(c.Difference.Ours, c.Step.Request) != "") && c.readOnly() && c.Difference.Theirs == "Aborted: too much contention on these datastore entities. please try again."
			},
			Sentence: "aborts read-only transactions when others write",
			Source:   "docs: read-only transactions see a snapshot; FS",
		},
		{
			ID: "ds-one-inequality", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				return strings.HasPrefix(c.Difference.Theirs, "InvalidArgument: Only one inequality filter per query is supported.") && (c.untold() || inequalities(c.query()) > 1)
			},
			Sentence: "refuses inequalities on several properties",
			Source:   "docs: inequality filters on several properties are supported; FS",
		},
		{
			ID: "ds-first-sort", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				return strings.HasPrefix(c.Difference.Theirs, "InvalidArgument: The first sort property must be the same as the property to which the inequality filter is applied.") &&
					(c.untold() || inequalities(c.query()) > 0)
			},
			Sentence: "demands that a query sorts first by the property of its inequality",
			Source:   "docs: no such rule since inequality filters on several properties are supported; FS",
		},
		{
			ID: "ds-in", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				return listFilter.MatchString(c.Difference.Theirs) && (c.untold() || c.filters(pb.PropertyFilter_IN))
			},
			Sentence: "doesn't support IN with more than one value",
			Source:   "proto: `PropertyFilter.IN`; FS",
		},
		{
			ID: "ds-not-in", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				return c.Difference.Theirs == "InvalidArgument: Unrecognized PropertyFilter.op: NOT_IN" && (c.untold() || c.filters(pb.PropertyFilter_NOT_IN))
			},
			Sentence: "doesn't support NOT_IN",
			Source:   "proto: `PropertyFilter.NOT_IN`; FS",
		},
		{
			ID: "ds-not-equal", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				return c.Difference.Theirs == "Unknown: " && (c.untold() || c.filters(pb.PropertyFilter_NOT_EQUAL)) && !transactionLost(c)
			},
			Sentence: "fails at NOT_EQUAL",
			Source:   "proto: `PropertyFilter.NOT_EQUAL`; FS",
		},
		{
			ID: "ds-or", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				return c.Difference.Theirs == "InvalidArgument: unsupported composite property operator" && (c.untold() || hasOr(c.query().GetFilter()))
			},
			Sentence: "doesn't support OR",
			Source:   "proto: `CompositeFilter.OR`; FS",
		},
		{
			ID: "ds-duplicate-orders", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				return strings.HasPrefix(c.Difference.Ours, "InvalidArgument: order by clause cannot contain duplicate fields ") && c.Theirs.Code == codes.OK
			},
			Sentence: "lets a query sort by one property twice",
			Source:   "FS",
		},
		{
			ID: "ds-vectors", Of: "DS", Aspect: "error", Diverges: true,
			Match: func(c *Case) bool {
				vector := ofValues(func(v *pb.Value) bool { return v.GetMeaning() == 31 })
				return vector(c.Step.Request) && !otherMistake(c) && (c.Difference.Theirs == "InvalidArgument: A Value containing a list_value cannot specify a meaning." ||
					c.Difference.Theirs == "InvalidArgument: Unknown value meaning 31.")
			},
			Sentence: "knows no vectors",
			Source:   "proto: `Query.find_nearest`; FS",
		},
		{
			ID: "ds-reserve-nothing", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				return c.Difference.Ours == "FailedPrecondition: List of Ids to reserve cannot be empty." && c.Theirs.Code == codes.OK
			},
			Sentence: "reserves nothing when asked to",
			Source:   "FS",
		},
		{
			ID: "ds-transaction-kept", Of: "DS", Aspect: "error", Diverges: true,
			Match: func(c *Case) bool {
				return !c.inPast() && c.transaction() != 0 && c.refused[c.transaction()] && c.Theirs.Code == codes.OK && (c.Difference.Ours == "InvalidArgument: Invalid transaction." ||
					c.Difference.Ours == "InvalidArgument: Transaction is invalid or closed.")
			},
			Sentence: "took an earlier request of the transaction that we refused",
			Source:   "see the entry about that request",
		},
		{
			ID: "ds-commit-again", Of: "DS", Aspect: "error", Diverges: true,
			Match: func(c *Case) bool {
				return c.Difference.Ours == "InvalidArgument: Transaction is invalid or closed." && c.Theirs.Code == codes.OK && !c.refused[c.transaction()] &&
					c.past.commits(c.transaction(), c.Step.ID) > 0
			},
			Sentence: "keeps a transaction open whose commit it refused",
			Source:   "FS",
		},
		{
			ID: "ds-batches", Of: "DS", Aspect: "batches",
			Match: func(c *Case) bool {
				return c.query().GetOffset() >= 300 || c.query().GetLimit().GetValue() >= 300
			},
			Sentence: "ends a batch after 300 results that were skipped, too, and after the last one of a limit",
			Source:   "recorded production traffic: up to 800 skipped in one batch",
		},
		{
			ID: "ds-past", Of: "DS", Aspect: "*",
			Match: func(c *Case) bool {
				switch c.Difference.Aspect {
				case "found", "missing", "results", "skipped", "versions":
					return c.inPast() && !twice(c)
				case "error":
					return c.inPast() && c.Theirs.Code == codes.OK
				}
				return false
			},
			Sentence: "ignores `read_time`",
			Source:   "proto: `ReadOptions.read_time`; FS",
		},
		{
			ID: "ds-no-project", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				return c.Difference.Ours == "InvalidArgument: The app id is the empty string." &&
					(c.Difference.Theirs == "Unknown: " || c.Difference.Theirs == "InvalidArgument: missing project id in header")
			},
			Sentence: "fails where no project is named",
			Source:   "FS",
		},
		{
			ID: "ds-transforms-unchecked", Of: "DS", Aspect: "error", Diverges: true,
			Match: func(c *Case) bool {
				return c.Theirs.Code == codes.OK && strings.HasPrefix(c.Difference.Ours, "InvalidArgument: ") &&
					ofMutations(func(m *pb.Mutation) bool { return len(m.GetPropertyTransforms()) > 0 })(c.Step.Request)
			},
			Sentence: "doesn't know transforms, whatever they say",
			Source:   "proto: `Mutation.property_transforms`; FS",
		},
		{
			ID: "ds-group-by-unchecked", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				return c.Difference.Ours == "InvalidArgument: All group by properties must be ordered before any non group by properties." && c.Theirs.Code == codes.OK
			},
			Sentence: "forgets orders that an equality makes needless before it checks those of distinct_on",
			Source:   "FS",
		},
		{
			ID: "ds-duplicate-ancestor", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				return c.Difference.Theirs == "InvalidArgument: duplicate ancestor or parent constraint" && c.Ours.Code == codes.OK
			},
			Sentence: "refuses a query that names its ancestor twice",
			Source:   "FS",
		},
		{
			ID: "ds-turned-cursor", Of: "DS", Aspect: "results",
			Match: func(c *Case) bool {
				return c.turned() && c.anyStored(func(v *pb.Value) bool { return v.GetArrayValue() != nil })
			},
			Sentence: "has its own idea of where a cursor is in the reversed query when the property that it sorts by has several values",
			Source:   "docs: cursors don't always work with orders on properties of several values",
		},
		{
			ID: "ds-turned-cursor-skipped", Of: "DS", Aspect: "skipped",
			Match: func(c *Case) bool {
				return c.turned() && c.anyStored(func(v *pb.Value) bool { return v.GetArrayValue() != nil })
			},
			Sentence: "has its own idea of where a cursor is in the reversed query when the property that it sorts by has several values",
			Source:   "docs: cursors don't always work with orders on properties of several values",
		},
		{
			ID: "ds-statistics", Of: "DS", Aspect: "*",
			Match:    func(c *Case) bool { return strings.HasPrefix(c.kind(), "__Stat_") && statisticsMissing(c) },
			Sentence: "has no statistics entities",
			Source:   "docs: Datastore statistics",
		},
		{
			ID: "ds-foreign-keys", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				return strings.HasPrefix(c.Difference.Ours, "InvalidArgument: mismatched databases within request: ") && c.Theirs.Code == codes.OK && c.Ours.Method == "RunQuery"
			},
			Sentence: "takes keys of other databases in filters",
			Source:   "FS",
		},
		{
			ID: "ds-distinct-order", Of: "DS", Aspect: "results", Quirk: model.Quirks{ByName: true},
			Sentence: "sorts by the name of a property where nothing else decides, even before those that are distinct",
			Source:   "FS",
		},
		{
			ID: "ds-unchanged-versions", Of: "DS", Aspect: "versions", Diverges: true,
			Match: func(c *Case) bool {
				return mutationsDiffer(c, func(all []*pb.Mutation, i int) bool {
					written := cmp.Or(all[i].GetUpsert(), all[i].GetUpdate())
					stored := c.past.at[c.Step.ID][script.KeyText(written.GetKey())]
					return written != nil && stored != nil && script.PropertiesText(written.GetProperties()) == script.PropertiesText(stored.GetProperties())
				})
			},
			Sentence: "gives an entity a new version when it is written as it was",
			Source:   "proto: `MutationResult.version` of a mutation that changes nothing; FS",
		},
		{
			ID: "ds-unknown-transaction", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				return c.Difference.Ours == "InvalidArgument: Invalid transaction." && c.Difference.Theirs == "Unknown: "
			},
			Sentence: "fails at transactions that it never began",
			Source:   "FS",
		},
		{
			ID: "ds-gql-datetime", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				return isGQL(c.Step.Request) && strings.HasPrefix(c.Difference.Theirs, "InvalidArgument: Invalid datetime text (does not match pattern): ") && !otherMistake(c)
			},
			Sentence: "doesn't read nanoseconds in DATETIME",
			Source:   "docs: the GQL reference, RFC 3339; FS",
		},
		{
			ID: "ds-reserved-projection", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				return strings.HasPrefix(c.Difference.Ours, "InvalidArgument: projections are not supported for the property: __") && c.Theirs.Code == codes.OK
			},
			Sentence: "projects reserved properties",
			Source:   "FS",
		},
		{
			ID: "ds-deleted-version", Of: "DS", Aspect: "conflicts", Diverges: true,
			Match: func(c *Case) bool {
				return ofMutations(func(m *pb.Mutation) bool { return demandsOfMissing(c, m) })(c.Step.Request)
			},
			Sentence: "doesn't take the version of a deletion for one that the missing entity has",
			Source:   "proto: a missing entity has a version; FS",
		},
		{
			ID: "ds-deleted-version-failed", Of: "DS", Aspect: "error", Diverges: true,
			Match: func(c *Case) bool {
				return c.Ours.Code == codes.OK && strings.HasPrefix(c.Difference.Theirs, "FailedPrecondition: the stored version (0) does not match the required base version") &&
					ofMutations(func(m *pb.Mutation) bool { return demandsOfMissing(c, m) })(c.Step.Request)
			},
			Sentence: "doesn't take the version of a deletion for one that the missing entity has",
			Source:   "proto: a missing entity has a version; FS",
		},
		{
			ID: "ds-cursor-crash", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				return c.Difference.Theirs == "Unknown: " && c.Ours.Code == codes.OK && len(c.query().GetStartCursor())+len(c.query().GetEndCursor()) > 0 &&
					c.anyStored(func(v *pb.Value) bool { return v.GetArrayValue() != nil })
			},
			Sentence: "fails at some cursors of queries that sort by a property of several values",
			Source:   "docs: cursors don't always work with orders on properties of several values; FS",
		},
		{
			ID: "ds-later-snapshot", Of: "DS", Aspect: "*",
			Match: func(c *Case) bool {
				switch c.Difference.Aspect {
				case "found", "missing", "results", "skipped", "versions":
					return c.readOnly() && c.refused[c.transaction()]
				}
				return false
			},
			Sentence: "takes the snapshot of a transaction later, since it refused its first read",
			Source:   "see the entry about that read",
		},
		{
			ID: "ds-masks-unchecked", Of: "DS", Aspect: "error", Diverges: true,
			Match: func(c *Case) bool {
				return c.Theirs.Code == codes.OK && (strings.HasPrefix(c.Difference.Ours, "InvalidArgument: Invalid property path ") ||
					c.Difference.Ours == "InvalidArgument: Invalid empty property path string." || strings.HasPrefix(c.Difference.Ours, "InvalidArgument: property masks are not allowed "))
			},
			Sentence: "doesn't know masks, whatever they say",
			Source:   "proto: `property_mask`; FS",
		},
		{
			ID: "ds-deep-filter-crash", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				return c.Difference.Theirs == "Unknown: " && depth(c.query().GetFilter()) > 40
			},
			Sentence: "fails at filters that are nested deep",
			Source:   "FS",
		},
		{
			ID: "ds-pair-applied", Of: "DS", Aspect: "error", Diverges: true,
			Match: func(c *Case) bool {
				return pairOfMutations.MatchString(c.Difference.Ours) && c.Theirs.Code == codes.OK
			},
			Sentence: "applies pairs of mutations of one entity that are forbidden",
			Source:   "proto: the pairs that are forbidden; FS",
		},
		{
			ID: "ds-masks", Of: "DS", Aspect: "found", Diverges: true,
			Match: func(c *Case) bool {
				r, ok := c.Step.Request.(*pb.LookupRequest)
				return !twice(c) && !unindexedLast(c) && !c.inPast() && (ok && r.GetPropertyMask() != nil || c.past.wrote(c.Step.ID, func(m *pb.Mutation) bool { return m.GetPropertyMask() != nil }))
			},
			Sentence: "doesn't know masks, in lookups and mutations",
			Source:   "proto: `property_mask`; FS",
		},
		{
			ID: "ds-masks-results", Of: "DS", Aspect: "results", Diverges: true,
			Match: func(c *Case) bool {
				r, ok := c.Step.Request.(*pb.RunQueryRequest)
				return ok && r.GetPropertyMask() != nil || c.past.wrote(c.Step.ID, func(m *pb.Mutation) bool { return m.GetPropertyMask() != nil })
			},
			Sentence: "doesn't know masks, in queries and mutations",
			Source:   "proto: `property_mask`; FS",
		},
		{
			ID: "ds-masks-versions", Of: "DS", Aspect: "versions", Diverges: true,
			Match: func(c *Case) bool {
				return !metadataKind(c.kind()) && c.past.wrote(c.Step.ID, func(m *pb.Mutation) bool { return m.GetPropertyMask() != nil })
			},
			Sentence: "writes what a mask leaves as it was",
			Source:   "proto: `Mutation.property_mask`; FS",
		},
		{
			ID: "ds-transforms", Of: "DS", Aspect: "transforms", Diverges: true,
			Match: func(c *Case) bool {
				return c.Difference.Theirs == "" && ofMutations(func(m *pb.Mutation) bool { return len(m.GetPropertyTransforms()) > 0 })(c.Step.Request)
			},
			Sentence: "doesn't know transforms",
			Source:   "proto: `Mutation.property_transforms`; FS",
		},
		{
			ID: "ds-metadata-versions", Of: "DS", Aspect: "versions",
			Match:    func(c *Case) bool { return metadataKind(c.kind()) },
			Sentence: "gives the entities of metadata no versions",
			Source:   "FS",
		},
		{
			ID: "ds-key-order", Of: "DS", Aspect: "results", Quirk: model.Quirks{KeyFirst: true},
			Sentence: "ignores orders after `__key__`, and so returns entities that lack their properties",
			Source:   "FS",
		},
		{
			ID: "ds-key-order-skipped", Of: "DS", Aspect: "skipped", Quirk: model.Quirks{KeyFirst: true},
			Sentence: "ignores orders after `__key__`, and so skips entities that lack their properties",
			Source:   "FS",
		},
		{
			ID: "ds-lookup-twice", Of: "DS", Aspect: "found",
			Match: func(c *Case) bool {
				return twice(c)
			},
			Sentence: "returns an entity once for each time that a lookup names it",
			Source:   "FS",
		},
		{
			ID: "ds-missing-twice", Of: "DS", Aspect: "missing",
			Match: func(c *Case) bool {
				return twice(c)
			},
			Sentence: "returns a missing entity once for each time that a lookup names it",
			Source:   "FS",
		},
		{
			ID: "ds-empty-array", Of: "DS", Aspect: "results",
			Quirk:    model.Quirks{EmptyIsNull: true},
			Sentence: "indexes an empty array as null",
			Source:   "FS",
		},
		{
			ID: "ds-empty-array-skipped", Of: "DS", Aspect: "skipped",
			Quirk:    model.Quirks{EmptyIsNull: true},
			Sentence: "indexes an empty array as null, so that there is more to skip",
			Source:   "FS",
		},
		{
			ID: "ds-mixed-arrays", Of: "DS", Aspect: "results", Match: unindexedLast,
			Sentence: "moves the elements of an array that are excluded from indexes behind the others",
			Source:   "proto: `ArrayValue.values` has an order; FS",
		},
		{
			ID: "ds-mixed-arrays-found", Of: "DS", Aspect: "found", Match: unindexedLast,
			Sentence: "moves the elements of an array that are excluded from indexes behind the others",
			Source:   "proto: `ArrayValue.values` has an order; FS",
		},
		{
			ID: "ds-index-updates", Of: "DS", Aspect: "index updates",
			Match: func(c *Case) bool {
				_, ok := c.Step.Request.(*pb.CommitRequest)
				return ok && c.Difference.Theirs != "0"
			},
			Sentence: "counts index entries in a way of its own",
			Source:   "recorded production traffic: 2n+1 for a new entity with n indexed values",
		},
	}
}

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
	return c.Ours.Method == "RunQuery" && (t == "KEY_ONLY" || t == "PROJECTION") && c.Theirs.Aspect("type") == t
}

// laterTimes matches when the answers to all mutations have the same times but
// for those whose entity is mutated again.
func laterTimes(c *Case) bool {
	return mutationsDiffer(c, func(all []*pb.Mutation, i int) bool {
		return slices.ContainsFunc(all[i+1:], func(m *pb.Mutation) bool { return sameKey(m, all[i]) })
	})
}

// deleteVersions matches when the answers to all mutations have the same
// versions but for deletions of entities that aren't there.
func deleteVersions(c *Case) bool {
	return mutationsDiffer(c, func(all []*pb.Mutation, i int) bool {
		return all[i].GetDelete() != nil && c.past.at[c.Step.ID][script.KeyText(mutatedKey(all[i]))] == nil
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

func sameKey(a, b *pb.Mutation) bool {
	return script.KeyText(mutatedKey(a)) == script.KeyText(mutatedKey(b))
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

// pairOfMutations is the text about two mutations of one entity.
var pairOfMutations = regexp.MustCompile(`^InvalidArgument: Cannot (insert|update|upsert|delete) then (insert|update) an entity in the same request\.$`)

// query is the one that the step asks, GQL as we understood it; nil when it
// asks none.
func (c *Case) query() *pb.Query {
	if isGQL(c.Step.Request) && c.past != nil {
		_, q := c.past.query(c.Step.ID)
		return q
	}
	return queryOf(c.Step.Request)
}

func isKeyOrder(o *pb.PropertyOrder) bool { return o.GetProperty().GetName() == "__key__" }

func ancestorInOr(f *pb.Filter, in bool) bool {
	if p := f.GetPropertyFilter(); p != nil {
		return in && p.GetOp() == pb.PropertyFilter_HAS_ANCESTOR
	}
	in = in || f.GetCompositeFilter().GetOp() == pb.CompositeFilter_OR
	return slices.ContainsFunc(f.GetCompositeFilter().GetFilters(), func(sub *pb.Filter) bool { return ancestorInOr(sub, in) })
}

// listFilter is DS's text about an IN of several values.
var listFilter = regexp.MustCompile(`^InvalidArgument: Filter has [0-9]+ properties, expected 1$`)

// otherWords matches pairs of texts that mean the same.
func otherWords(c *Case) bool {
	ours, invalid := strings.CutPrefix(c.Difference.Ours, "InvalidArgument: ")
	theirs, also := strings.CutPrefix(c.Difference.Theirs, "InvalidArgument: ")
	if !invalid || !also {
		return false
	}
	for _, pair := range wordings {
		if x := pair[0].FindStringSubmatch(ours); x != nil {
			if y := pair[1].FindStringSubmatch(theirs); y != nil && (len(x) == 1 || len(y) == 1 || x[1] == y[1]) {
				return true
			}
		}
	}
	return strings.TrimSuffix(strings.ReplaceAll(ours, "'", ""), ".") == theirs
}

// wordings are our texts and DS's; what stands in parentheses is the same in
// both.
var wordings = func() (all [][2]*regexp.Regexp) {
	for _, pair := range [][2]string{
		{`Cannot use projection on a property with an equality filter\.`, `cannot use projection on a property with an equality filter`},
		{`Cannot use group by on a property with an equality filter\.`, `cannot use group by on a property with an equality filter`},
		{`All group by properties must be ordered before any non group by properties\.`, `must specify all group by orderings before any non group by orderings`},
		{`Group by is not supported for the property: (.*)`, `group by is not supported for the property: (.*)`},
		{`Transaction is invalid or closed\.`, `transaction has expired or is invalid`},
		{`kind is required for filter: .*`, `kind is required for non-__key__ filters`},
		{`Unexpected value meaning (.*)`, `Unknown value meaning (.*)`},
		{`Cannot project a property multiple times\.`, `cannot project a property multiple times`},
		{`The query namespace is '.*' but __key__ filter namespace is '.*'\.`, `__key__ filter namespace is .* but query namespace is .*`},
		{`IN requires an (?:non-empty )?ArrayValue\.`, `'IN' property filter for '.*' requires a non-empty ArrayValue`},
	} {
		all = append(all, [2]*regexp.Regexp{regexp.MustCompile("^" + pair[0] + "$"), regexp.MustCompile("^" + pair[1] + "$")})
	}
	return all
}()

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

// filters reports whether the step's query has a filter with that operator.
func (c *Case) filters(op pb.PropertyFilter_Operator) bool {
	return slices.ContainsFunc(model.PropertyFilters(c.query().GetFilter()), func(f *pb.PropertyFilter) bool { return f.GetOp() == op })
}

func hasOr(f *pb.Filter) bool {
	return f.GetCompositeFilter().GetOp() == pb.CompositeFilter_OR || slices.ContainsFunc(f.GetCompositeFilter().GetFilters(), hasOr)
}

// unindexedLast matches when our rows are theirs once the unindexed elements of
// each array stand behind the indexed ones.
func unindexedLast(c *Case) bool {
	rows := make([]*pb.EntityResult, len(c.Ours.Rows))
	for i, row := range c.Ours.Rows {
		rows[i] = proto.Clone(row).(*pb.EntityResult)
		for _, v := range rows[i].GetEntity().GetProperties() {
			slices.SortStableFunc(v.GetArrayValue().GetValues(), func(a, b *pb.Value) int {
				return cmp.Compare(excluded(a), excluded(b))
			})
		}
	}
	return rowsText(rows) == c.Difference.Theirs
}

func excluded(v *pb.Value) int {
	if v.GetExcludeFromIndexes() {
		return 1
	}
	return 0
}

// kind is the kind that the step asks for.
func (c *Case) kind() string {
	if k := c.query().GetKind(); len(k) > 0 {
		return k[0].GetName()
	}
	return ""
}

var hexadecimal = regexp.MustCompile(`id: 0x[0-9a-f]+`)

// reference is a text about an entity with decimal identifiers, and with its
// letters in eight bits.
func reference(text string) string {
	if !strings.Contains(text, " app: ") {
		return text
	}
	text = hexadecimal.ReplaceAllStringFunc(text, func(s string) string {
		n, err := strconv.ParseUint(strings.TrimPrefix(s, "id: 0x"), 16, 64)
		if err != nil {
			return s
		}
		return fmt.Sprintf("id: %d", int64(n))
	})
	return strings.ReplaceAll(text, "é", `\351`)
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
	past := func(s script.Step) bool {
		switch r := s.Request.(type) {
		case *pb.BeginTransactionRequest:
			return r.GetTransactionOptions().GetReadOnly().GetReadTime() != nil
		case interface{ GetReadOptions() *pb.ReadOptions }:
			return r.GetReadOptions().GetReadTime() != nil || r.GetReadOptions().GetNewTransaction().GetReadOnly().GetReadTime() != nil
		}
		return false
	}
	return past(c.Step) || past(c.past.steps[c.transaction()])
}

func depth(f *pb.Filter) int {
	deepest := 0
	for _, sub := range f.GetCompositeFilter().GetFilters() {
		deepest = max(deepest, depth(sub))
	}
	return deepest + 1
}

// swapped matches texts about mismatched databases with the two the other way
// round.
func swapped(c *Case) bool {
	const prefix = "InvalidArgument: mismatched databases within request: "
	x, ours := strings.CutPrefix(c.Difference.Ours, prefix)
	y, theirs := strings.CutPrefix(c.Difference.Theirs, prefix)
	a, b, _ := strings.Cut(x, " vs. ")
	return ours && theirs && y == b+" vs. "+a
}

// groupByInequality is DS's text about inequalities beside distinct_on.
var groupByInequality = regexp.MustCompile(`^InvalidArgument: Inequality filter on \S+ must also be a group by property when group by properties are set\.$`)

func metadataKind(kind string) bool { return strings.HasPrefix(kind, "__") && kind != "" }

// transaction is the step that began the transaction of this one; 0 when there
// is none.
func (c *Case) transaction() int {
	var tx []byte
	switch r := c.Step.Request.(type) {
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

// readOnly reports whether the step belongs to a read-only transaction.
func (c *Case) readOnly() bool {
	switch r := c.past.steps[c.transaction()].Request.(type) {
	case *pb.BeginTransactionRequest:
		return r.GetTransactionOptions().GetReadOnly() != nil
	case interface{ GetReadOptions() *pb.ReadOptions }:
		return r.GetReadOptions().GetNewTransaction().GetReadOnly() != nil
	}
	return false
}

// transactionLost matches when the other server has refused a request of the
// same transaction before, and so has lost it.
func transactionLost(c *Case) bool {
	earlier := c.refused[c.transaction()] && c.transaction() != 0 && c.transaction() != c.Step.ID
	switch c.Difference.Theirs {
	case "Unknown: ", "InvalidArgument: Invalid transaction.", "InvalidArgument: Transaction is invalid or closed.", "InvalidArgument: transaction has expired or is invalid":
		return earlier && c.Ours.Code == codes.OK
	}
	return false
}

// twice matches when the other server's lines are ours, some of them again.
func twice(c *Case) bool {
	_, ok := c.Step.Request.(*pb.LookupRequest)
	lines := strings.Split(c.Difference.Theirs, "\n")
	return ok && strings.Join(slices.Compact(lines), "\n") == c.Difference.Ours
}

// entityStored reports whether a property that the query names has an entity as
// a value.
func (c *Case) entityStored() bool {
	return c.anyStored(func(v *pb.Value) bool { return v.GetEntityValue() != nil })
}

// statisticsMissing matches what follows from finding nothing.
func statisticsMissing(c *Case) bool {
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

// demandsOfMissing reports whether a mutation demands a version of an entity
// that isn't there.
func demandsOfMissing(c *Case, m *pb.Mutation) bool {
	return m.GetConflictDetectionStrategy() != nil && c.past.at[c.Step.ID][script.KeyText(mutatedKey(m))] == nil
}
