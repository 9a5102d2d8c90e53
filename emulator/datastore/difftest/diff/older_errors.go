package diff

import (
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/model"
	"google.golang.org/grpc/codes"
)

// olderErrors are the ways in which the older Datastore emulator errs differently.
func olderErrors() []Entry {
	return []Entry{
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
			ID: "ds-transaction-lost", Of: "DS", Aspect: "error", Diverges: true,
			Match: func(c *Case) bool {
				return transactionLost(c) && (c.Difference.Theirs != crash || crashed(olderCrash(), "ds-transaction-lost")(c))
			},
			Sentence: "refused an earlier request of the transaction",
			Source:   "see the entry about that request",
		},
		{
			ID: "ds-rollback-twice", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				_, ok := c.Step.Request.(*pb.RollbackRequest)
				return ok && c.Ours.Code == codes.OK && c.Difference.Theirs == "InvalidArgument: transaction has expired or is invalid" && !transactionLost(c)
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
			ID: "ds-read-only-conflict", Of: "DS", Aspect: "error", Diverges: true,
			Match: func(c *Case) bool {
				r, ok := c.Step.Request.(*pb.CommitRequest)
				return ok && c.Difference.Ours == "InvalidArgument: Cannot modify entities in a read-only transaction." && c.Theirs.Code == codes.OK &&
					len(strings.Fields(c.Theirs.Aspect("conflicts"))) == len(r.GetMutations())
			},
			Sentence: "lets a read-only transaction commit mutations that it doesn't apply, since their entities have other versions than they demand",
			Source:   "FS",
		},
		{
			ID: "ds-update-zero", Of: "DS", Aspect: "error", Diverges: true,
			Match: func(c *Case) bool {
				return strings.HasPrefix(c.Difference.Ours, "InvalidArgument: Cannot update an entity with a base version set to zero: ") && c.Theirs.Code == codes.OK
			},
			Sentence: "lets an update demand the version 0 of an entity that an earlier mutation of the same commit writes",
			Source:   "FS",
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
			Match:    crashed(olderCrash(), "ds-not-equal"),
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
				return c.transaction() != 0 && c.refused[c.transaction()] && (c.Theirs.Code == codes.OK || c.Difference.Theirs == "InvalidArgument: Cannot modify entities in a read-only transaction.") && (c.Difference.Ours == "InvalidArgument: Invalid transaction." ||
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
			ID: "ds-no-project", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				return c.Difference.Ours == "InvalidArgument: The app id is the empty string." && c.Difference.Theirs == "InvalidArgument: missing project id in header" ||
					crashed(olderCrash(), "ds-no-project")(c)
			},
			Sentence: "fails where no project is named",
			Source:   "FS",
		},
		{
			ID: "ds-transforms-unchecked", Of: "DS", Aspect: "error", Diverges: true,
			Match: func(c *Case) bool {
				return c.Theirs.Code == codes.OK && strings.HasPrefix(c.Difference.Ours, "InvalidArgument: ") && !strings.Contains(c.Difference.Ours, "ransaction") &&
					ofMutations(func(m *pb.Mutation) bool { return len(m.GetPropertyTransforms()) > 0 })(c.Step.Request)
			},
			Sentence: "doesn't know transforms, whatever they say",
			Source:   "proto: `Mutation.property_transforms`; FS",
		},
		{
			ID: "ds-group-by-unchecked", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				return c.Difference.Ours == "InvalidArgument: All group by properties must be ordered before any non group by properties." && c.Theirs.Code == codes.OK ||
					made(c.Difference.Ours, c.Step.Request) != "" && !otherWords(c) &&
						c.Difference.Theirs == "InvalidArgument: must specify all group by orderings before any non group by orderings" && !otherMistake(c)
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
			ID: "ds-foreign-keys", Of: "DS", Aspect: "error",
			Match: func(c *Case) bool {
				return strings.HasPrefix(c.Difference.Ours, "InvalidArgument: mismatched databases within request: ") && c.Theirs.Code == codes.OK && c.Ours.Method == "RunQuery"
			},
			Sentence: "takes keys of other databases in filters",
			Source:   "FS",
		},
		{
			ID: "ds-unknown-transaction", Of: "DS", Aspect: "error",
			Match:    crashed(olderCrash(), "ds-unknown-transaction"),
			Sentence: "fails at transactions that it never began",
			Source:   "FS",
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
			ID: "ds-deleted-version-failed", Of: "DS", Aspect: "error", Diverges: true,
			Match: func(c *Case) bool {
				return (c.Ours.Code == codes.OK || strings.HasPrefix(c.Difference.Ours, "FailedPrecondition: the stored version (of ")) && strings.HasPrefix(c.Difference.Theirs, "FailedPrecondition: the stored version (0) does not match the required base version") &&
					ofMutations(func(m *pb.Mutation) bool { return demandsOfMissing(c, m) })(c.Step.Request) && !whichVersion(c)
			},
			Sentence: "doesn't take the version of a deletion for one that the missing entity has",
			Source:   "proto: a missing entity has a version; FS",
		},
		{
			ID: "ds-cursor-crash", Of: "DS", Aspect: "error",
			Match:    crashed(olderCrash(), "ds-cursor-crash"),
			Sentence: "fails at some cursors of queries that sort by a property of several values",
			Source:   "docs: cursors don't always work with orders on properties of several values; FS",
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
			Match:    crashed(olderCrash(), "ds-deep-filter-crash"),
			Sentence: "fails at filters that are nested deep",
			Source:   "FS",
		},
		{
			ID: "ds-pair-applied", Of: "DS", Aspect: "error", Diverges: true,
			Match: func(c *Case) bool {
				return (pairOfMutations.MatchString(c.Difference.Ours) || mustBeSame.MatchString(c.Difference.Ours)) && c.Theirs.Code == codes.OK
			},
			Sentence: "applies pairs of mutations of one entity that are forbidden",
			Source:   "proto: the pairs that are forbidden; FS",
		},
	}
}
