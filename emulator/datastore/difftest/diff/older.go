package diff

import (
	"cmp"
	"slices"
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/model"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
	"google.golang.org/grpc/codes"
)

// older are the ways in which the older Datastore emulator answers differently.
func older() []Entry {
	return []Entry{
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
			ID: "ds-batches", Of: "DS", Aspect: "batches", Either: true, NoExample: "it needs hundreds of results",
			Match: func(c *Case) bool {
				return c.query().GetOffset() >= 300 || c.query().GetLimit().GetValue() >= 300
			},
			Sentence: "ends a batch after 300 results that were skipped, too, and after the last one of a limit",
			Source:   "recorded production traffic: up to 800 skipped in one batch",
		},
		{
			ID: "ds-past", Of: "DS", Aspect: "*", Either: true, Wide: "the present may be anything",
			Match: func(c *Case) bool {
				switch c.Difference.Aspect {
				case "found", "missing", "missing versions", "results", "skipped", "versions":
					return c.inPast() && !twice(c)
				case "error":
					return c.inPast() && c.Theirs.Code == codes.OK && (strings.Contains(c.Difference.Ours, "read_time") || strings.Contains(c.Difference.Ours, "timestamps past epoch"))
				}
				return false
			},
			Sentence: "ignores `read_time`",
			Source:   "proto: `ReadOptions.read_time`; FS",
		},
		{
			ID: "ds-statistics", Of: "DS", Aspect: "*", Either: true,
			Match:    func(c *Case) bool { return strings.HasPrefix(c.kind(), "__Stat_") && nothingFound(c) },
			Sentence: "has no statistics entities",
			Source:   "docs: Datastore statistics",
		},
		{
			ID: "ds-distinct-order", Of: "DS", Aspect: "results, skipped", Quirk: model.Quirks{ByName: true},
			Sentence: "sorts by the name of a property where nothing else decides, even before those that are distinct",
			Source:   "FS",
		},
		{
			ID: "ds-conflicts-follow", Of: "DS", Aspect: "conflicts", Diverges: true,
			Match: func(c *Case) bool {
				return c.Difference.Ours != "" && moreConflicts(c, func(all []*pb.Mutation, i int) bool {
					return all[i].GetConflictDetectionStrategy() == nil && slices.ContainsFunc(all[:i], func(before *pb.Mutation) bool {
						return sameKey(before, all[i]) && before.GetConflictDetectionStrategy() != nil
					})
				})
			},
			Sentence: "demands of all mutations of an entity the version that the first one demands",
			Source:   "proto: `Mutation.conflict_detection_strategy` is one mutation's; FS",
		},
		{
			ID: "ds-distinct-nan", Of: "DS", Aspect: "results",
			Match: func(c *Case) bool {
				numbers := func(rows []*pb.EntityResult) string {
					return rowsText(slices.DeleteFunc(slices.Clone(rows), func(row *pb.EntityResult) bool { return strings.Contains(RowText(row), "NaN") }))
				}
				return len(c.query().GetDistinctOn()) > 0 && len(c.Theirs.Rows) > len(c.Ours.Rows) && within(c.Ours.Rows, c.Difference.Theirs) && numbers(c.Ours.Rows) == numbers(c.Theirs.Rows)
			},
			Sentence: "takes every NaN for another value",
			Source:   "docs: NaN equals NaN in queries; FS",
		},
		{
			ID: "ds-unchanged-versions", Of: "DS", Aspect: "versions", Diverges: true, Either: true,
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
			ID: "ds-deleted-version", Of: "DS", Aspect: "conflicts", Diverges: true,
			Match: func(c *Case) bool {
				return moreConflicts(c, func(all []*pb.Mutation, i int) bool { return demandsOfMissing(c, all[i]) })
			},
			Sentence: "doesn't take the version of a deletion for one that the missing entity has",
			Source:   "proto: a missing entity has a version; FS",
		},
		{
			ID: "ds-later-snapshot", Of: "DS", Aspect: "*", Either: true, Wide: "a later state may be anything",
			Match: func(c *Case) bool {
				switch c.Difference.Aspect {
				case "found", "missing", "missing versions", "results", "skipped", "versions":
					return laterSnapshot(c) && !twice(c) && !unindexedLast(c) && !c.inPast()
				}
				return false
			},
			Sentence: "takes the snapshot of an entity group when a read-only transaction first reads from it, and refuses some of the reads",
			Source:   "docs: a read-only transaction sees one snapshot; FS",
		},
		{
			ID: "ds-masks", Of: "DS", Aspect: "found", Diverges: true, Either: true, Wide: "what a mask left out is anywhere in what is stored since",
			Match: func(c *Case) bool {
				r, ok := c.Step.Request.(*pb.LookupRequest)
				return !twice(c) && !unindexedLast(c) && !c.inPast() && !laterSnapshot(c) && (ok && r.GetPropertyMask() != nil || c.past.wrote(c.Step.ID, func(m *pb.Mutation) bool { return m.GetPropertyMask() != nil }))
			},
			Sentence: "doesn't know masks, in lookups and mutations",
			Source:   "proto: `property_mask`; FS",
		},
		{
			ID: "ds-masks-results", Of: "DS", Aspect: "results, skipped", Diverges: true, Either: true, Wide: "what a mask left out is anywhere in what is stored since",
			Match:    func(c *Case) bool { return maskedQuery(c) && !unindexedLast(c) && !laterSnapshot(c) },
			Sentence: "doesn't know masks, in queries and mutations",
			Source:   "proto: `property_mask`; FS",
		},
		{
			ID: "ds-masks-versions", Of: "DS", Aspect: "versions", Diverges: true, Either: true, Wide: "what a mask left as it was is anywhere in what is stored since",
			Match: func(c *Case) bool {
				return !metadataKind(c.kind()) && c.past.wrote(c.Step.ID, func(m *pb.Mutation) bool { return m.GetPropertyMask() != nil })
			},
			Sentence: "writes what a mask leaves as it was",
			Source:   "proto: `Mutation.property_mask`; FS",
		},
		{
			ID: "ds-missing-version", Of: "DS", Aspect: "versions",
			Match: func(c *Case) bool {
				return c.Ours.Aspect("conflicts") != "" && mutationsDiffer(c, func(all []*pb.Mutation, i int) bool { return demandsOfMissing(c, all[i]) }) &&
					strings.Contains(c.Difference.Theirs, "none")
			},
			Sentence: "says nothing of the version of a missing entity that isn't the one demanded",
			Source:   "proto: `MutationResult.version` is that of the entity on the server; FS",
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
			ID: "ds-phantoms", Of: "DS", Aspect: "history", NoExample: "no single answer shows it: a history does",
			Sentence: "doesn't notice what others insert into the results of a transaction's query",
			Source:   "docs: transactions are serializable; FS",
		},
		{
			ID: "ds-metadata-versions", Of: "DS", Aspect: "versions",
			Match:    func(c *Case) bool { return metadataKind(c.kind()) && !strings.Contains(c.Difference.Theirs, " of ") },
			Sentence: "gives the entities of metadata no versions",
			Source:   "FS",
		},
		{
			ID: "ds-projection-ties", Of: "DS", Aspect: "results, skipped",
			Quirk:    model.Quirks{Ascending: true},
			Sentence: "sorts what a projection adds to the orders in ascending order, whatever the direction of the last order",
			Source:   "FS",
		},
		{
			ID: "ds-turned-ties", Of: "DS", Aspect: "results, skipped", Either: true,
			Match: func(c *Case) bool {
				return c.turned() && len(c.query().GetDistinctOn()) == 0 && !c.anyStored(func(v *pb.Value) bool { return v.GetArrayValue() != nil }) &&
					(within(c.Theirs.Rows, c.Difference.Ours) || within(c.Ours.Rows, c.Difference.Theirs) && c.stored(c.Theirs.Rows))
			},
			Sentence: "loses or repeats results that tie with a cursor's place in the reversed query, since ties are in ascending order there, too",
			Source:   "proto: a cursor is a place in the results of its query; FS",
		},
		{
			ID: "ds-properties", Of: "DS", Aspect: "results, skipped",
			Match:    moreProperties,
			Sentence: "lists under `__property__` what it indexes besides: the keys of entity values, empty arrays as null",
			Source:   "FS",
		},
		{
			ID: "ds-distinct-cursor", Of: "DS", Aspect: "results, skipped", Either: true, Wide: "its order isn't ours there: see ds-distinct-order",
			Match: func(c *Case) bool {
				q := c.query()
				return len(q.GetDistinctOn()) > 0 && len(q.GetStartCursor())+len(q.GetEndCursor()) > 0 && !c.inPast()
			},
			Sentence: "has cursors of its own order in queries with distinct_on",
			Source:   "proto: a cursor is a place in the results of its query; FS",
		},
		{
			ID: "ds-array-cursor", Of: "DS", Aspect: "results, skipped", Either: true, Wide: "where its cursor stands is its own idea",
			Match: func(c *Case) bool {
				q := c.query()
				return c.Ours.Code == codes.OK && c.Theirs.Code == codes.OK && len(q.GetDistinctOn()) == 0 && len(q.GetStartCursor())+len(q.GetEndCursor()) > 0 &&
					!c.turned() && !c.inPast() && !laterSnapshot(c) && !unindexedLast(c) && !maskedQuery(c) && c.severalOrdered()
			},
			Sentence: "has its own idea of where a cursor is when the property that decides the order has several values",
			Source:   "docs: cursors don't always work with orders on properties of several values; FS",
		},
		{
			ID: "ds-distinct-arrays", Of: "DS", Aspect: "results, skipped", Either: true, Wide: "which entities are distinct there is its own idea",
			Match: func(c *Case) bool {
				q := c.query()
				return len(q.GetDistinctOn()) > 0 && len(q.GetProjection()) == 0 && len(q.GetStartCursor())+len(q.GetEndCursor()) == 0 && !unindexedLast(c) && !c.inPast() && c.anyStored(func(v *pb.Value) bool { return v.GetArrayValue() != nil })
			},
			Sentence: "has its own idea of which entities are distinct in a property with several values",
			Source:   "proto: `Query.distinct_on`, the first result for each combination of values; FS",
		},
		{
			ID: "ds-key-order-projection", Of: "DS", Aspect: "results, skipped, error",
			Match: func(c *Case) bool {
				q := c.query()
				ignored := ordersAfterKey(q) || model.ForOneKey(q) && len(q.GetOrder()) > 0
				return !c.inPast() && ignored && len(q.GetProjection()) > 0 && c.Ours.Code == codes.OK &&
					(c.Theirs.Code == codes.OK && (c.Theirs.skipped > c.Ours.skipped || len(c.Theirs.Rows) > len(c.Ours.Rows) || slices.ContainsFunc(c.Theirs.Rows, func(row *pb.EntityResult) bool {
						return len(row.GetEntity().GetProperties()) < len(model.Projected(q))
					})) || c.Difference.Theirs == "Internal: LocalDatastoreServer produced invalid results.")
			},
			Sentence: "ignores orders after `__key__`, or beside a filter for one key, and so finds entities that lack what is projected, or fails",
			Source:   "FS",
		},
		{
			ID: "ds-key-order", Of: "DS", Aspect: "results, skipped", Quirk: model.Quirks{KeyFirst: true},
			Wide: "behind a cursor it may find any of them",
			Match: func(c *Case) bool {
				q := c.query()
				return ordersAfterKey(q) && len(q.GetStartCursor())+len(q.GetEndCursor()) > 0 && c.stored(c.Theirs.Rows)
			},
			Sentence: "ignores orders after `__key__`, or beside a filter for one key, and so finds entities that lack their properties",
			Source:   "FS",
		},
		{
			ID: "ds-lookup-twice", Of: "DS", Aspect: "found, missing",
			Match: func(c *Case) bool {
				return twice(c)
			},
			Sentence: "returns an entity once for each time that a lookup names it",
			Source:   "FS",
		},
		{
			ID: "ds-empty-array", Of: "DS", Aspect: "results, skipped",
			Quirk:    model.Quirks{EmptyIsNull: true},
			Sentence: "indexes an empty array as null",
			Source:   "FS",
		},
		{
			ID: "ds-mixed-arrays", Of: "DS", Aspect: "results, found", Match: unindexedLast, Quirk: model.Quirks{Moved: true},
			Sentence: "moves the elements of an array that are excluded from indexes behind the others",
			Source:   "proto: `ArrayValue.values` has an order; FS",
		},
		{
			ID: "ds-any-equal", Of: "DS", Aspect: "results, skipped, type", Quirk: model.Quirks{AnyEqual: true},
			Match: func(c *Case) bool {
				return c.Difference.Aspect == "type" && c.Difference.Ours == "FULL" && contradicts(c) && equalAndUnequal(c.query()) && len(c.Ours.Rows) == 0 && len(c.Theirs.Rows) > 0
			},
			Sentence: "finds entities of which one value of a property meets the equality, and another one the inequality",
			Source:   "FS",
		},
		{
			ID: "ds-index-updates", Of: "DS", Aspect: "index updates", Either: true,
			Match: func(c *Case) bool {
				_, ok := c.Step.Request.(*pb.CommitRequest)
				return ok
			},
			Sentence: "counts index entries in a way of its own",
			Source:   "recorded production traffic: 2n+1 for a new entity with n indexed values",
		},
	}
}
