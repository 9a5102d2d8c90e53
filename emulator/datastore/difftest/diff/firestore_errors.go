package diff

import (
	"slices"
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/model"
	"google.golang.org/grpc/codes"
)

// firestoreErrors are the ways in which the Firestore emulator errs differently.
func firestoreErrors() []Entry {
	return []Entry{
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
			ID: "fs-entity-crash", Of: "FS", Aspect: "error",
			Match:    crashed(firestoreCrash(), "fs-entity-crash"),
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
			ID: "fs-distinct-cursor-crash", Of: "FS", Aspect: "error",
			Match:    crashed(firestoreCrash(), "fs-distinct-cursor-crash"),
			Sentence: "fails at some cursors of queries with distinct_on that go the other way",
			Source:   "proto: a cursor is a place in the results of its query",
		},
		{
			ID: "fs-or-ancestor-crash", Of: "FS", Aspect: "error",
			Match:    crashed(firestoreCrash(), "fs-or-ancestor-crash"),
			Sentence: "fails where HAS_ANCESTOR stands within OR",
			Source:   "proto: all disjuncts may have the same HAS_ANCESTOR",
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
			Match:    crashed(firestoreCrash(), "fs-kindless-transaction-crash"),
			Sentence: "fails at kindless queries in transactions",
			Source:   "docs: queries in transactions; DS",
		},
		{
			ID: "fs-transaction-lost", Of: "FS", Aspect: "error", Diverges: true,
			Match:    func(c *Case) bool { return transactionLost(c) && c.Difference.Theirs != crash },
			Sentence: "refused an earlier request of the transaction",
			Source:   "see the entry about that request",
		},
		{
			ID: "fs-lasting-locks", Of: "FS", Aspect: "error", Diverges: true,
			Match: func(c *Case) bool {
				return c.Difference.Theirs == "Aborted: Transaction lock timeout." && (c.past.begunByReading(c.Step.ID) || c.past.refusedCommit(c.Step.ID))
			},
			Sentence: "keeps writes waiting for transactions that a read began, read-only ones and ended ones too",
			Source:   "docs: read-only transactions don't lock, and locks end with their transaction; DS",
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
			ID: "fs-reserve-crash", Of: "FS", Aspect: "error",
			Match:    crashed(firestoreCrash(), "fs-reserve-crash"),
			Sentence: "fails where a negative identifier, or the largest one, is to be reserved",
			Source:   "DS; proto: negative identifiers are discouraged, not forbidden",
		},
		{
			ID: "fs-reference-text", Of: "FS", Aspect: "error",
			Match: func(c *Case) bool {
				return (strings.Contains(c.Difference.Theirs, "0x") || strings.Contains(c.Difference.Theirs, `\351`)) && reference(c.Difference.Ours) == reference(c.Difference.Theirs)
			},
			Sentence: "writes the small identifiers of an entity's path in hexadecimal too, and cuts letters in its names down to eight bits",
			Source:   "recorded production traffic; proto: names are UTF-8",
		},
		{
			ID: "fs-eventual", Of: "FS", Aspect: "error",
			Match:    theirs("InvalidArgument: Firestore emulator does not support eventual consistency options."),
			Sentence: "refuses eventual consistency",
			Source:   "proto: `ReadOptions.EVENTUAL`; DS",
		},
		{
			ID: "fs-six-aggregations-crash", Of: "FS", Aspect: "error",
			Match:    crashed(firestoreCrash(), "fs-six-aggregations-crash"),
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
			ID: "fs-properties-unchecked", Of: "FS", Aspect: "error",
			Match: func(c *Case) bool {
				return c.kind() == "__property__" && c.Theirs.Code == codes.OK && len(c.Theirs.Rows) == 0
			},
			Sentence: "finds nothing in `__property__`, whatever it is asked",
			Source:   "docs: metadata queries; DS",
		},
		{
			ID: "fs-missing-version-failed", Of: "FS", Aspect: "error", Diverges: true,
			Match: func(c *Case) bool {
				return c.Ours.Code == codes.OK && strings.HasPrefix(c.Difference.Theirs, "FailedPrecondition: the stored version (") &&
					ofMutations(func(m *pb.Mutation) bool {
						return m.GetConflictResolutionStrategy() == pb.Mutation_FAIL && demandsOfMissing(c, m)
					})(c.Step.Request)
			},
			Sentence: "takes no version but 0, or once an entity was deleted none but that of its deletion, for one that it has while it is missing",
			Source:   "proto: `EntityResult.version` is the version of the snapshot for missing entities; DS, of 0",
		},
		{
			ID: "fs-aggregation-project-crash", Of: "FS", Aspect: "error",
			Match:    crashed(firestoreCrash(), "fs-aggregation-project-crash"),
			Sentence: "fails where an aggregation in GQL names a project that is none",
			Source:   "FS itself, where a query does",
		},
		{
			ID: "fs-kindless-projection", Of: "FS", Aspect: "error",
			Match: func(c *Case) bool {
				return strings.HasPrefix(c.Difference.Ours, "InvalidArgument: kind is required for projection: ") && c.Theirs.Code == codes.OK
			},
			Sentence: "projects properties of all kinds",
			Source:   "docs: an index, which a projection needs, is of one kind; DS",
		},
	}
}
