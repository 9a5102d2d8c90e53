package diff

import (
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/grpc/codes"
)

// both are the ways in which both emulators differ.
func both() []Entry {
	return []Entry{
		{
			ID: "other-mistake", Of: "FS, DS", Aspect: "error", Either: true, Match: otherMistake,
			Sentence: "names another one of several mistakes that a request has",
			Source:   "no source gives an order of checks",
		},
		{
			ID: "mismatch-order", Of: "FS, DS", Aspect: "error", Either: true, Match: swapped,
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
			ID: "foreign-transaction", Of: "FS, DS", Aspect: "error",
			Match: func(c *Case) bool {
				return c.Difference.Ours == "InvalidArgument: Invalid transaction." && (c.Difference.Theirs == "InvalidArgument: Transaction is invalid or closed." || c.Difference.Theirs == "InvalidArgument: transaction has expired or is invalid") &&
					c.transaction() == 0
			},
			Sentence: "takes bytes that look like its own for a transaction that is over",
			Source:   "none: transactions are opaque",
		},
		{
			ID: "contradiction", Of: "FS, DS", Aspect: "type",
			Match: func(c *Case) bool {
				return c.Difference.Ours == "FULL" && !strings.HasPrefix(c.kind(), "__Stat_") && len(c.Ours.Rows)+len(c.Theirs.Rows) == 0 && contradicts(c)
			},
			Sentence: "looks even where the bounds on a property leave nothing, and says what results there would have been",
			Source:   "recorded production traffic: FULL, even for keys only",
		},
		{
			ID: "turned-cursor", Of: "FS, DS", Aspect: "results, skipped, more", Either: true, Wide: "where its cursor stands is its own idea",
			Match: func(c *Case) bool {
				return c.turned() && len(c.query().GetDistinctOn()) == 0 && c.Difference.Theirs != "MORE_RESULTS_AFTER_LIMIT" && c.anyStored(func(v *pb.Value) bool { return v.GetArrayValue() != nil })
			},
			Sentence: "has its own idea of where a cursor is in the reversed query when the property that it sorts by has several values",
			Source:   "docs: cursors don't always work with orders on properties of several values",
		},
		{
			ID: "which-version", Of: "FS, DS", Aspect: "error", Either: true,
			Match:    whichVersion,
			Sentence: "names another one of several mutations whose entity has another version than they demand",
			Source:   "no source gives an order of checks",
		},
		{
			ID: "ancestor-twice", Of: "FS, DS", Aspect: "error",
			Match: func(c *Case) bool {
				return c.Ours.Code == codes.OK && c.Difference.Theirs == "InvalidArgument: All disjunctions must have a common and unique ancestor constraint." &&
					ancestorTwice(c.query())
			},
			Sentence: "refuses an alternative that names the one ancestor of the query twice",
			Source:   "proto: all disjuncts may have the same HAS_ANCESTOR",
		},
		{
			ID: "lock-wait", Of: "FS, DS", Aspect: "error", Diverges: true, NoExample: "we wait a minute in it",
			Match:    waits,
			Sentence: "gives up waiting for a lock after two seconds, or has none, or none that keeps readers apart, where a transaction is open whose commit was refused",
			Source:   "docs: locks are released when their transaction ends; ours times out after 60 s without requests",
		},
		{
			ID: "long-text", Of: "FS, DS", Aspect: "error",
			Match: func(c *Case) bool {
				before, _, cut := strings.Cut(reference(c.Difference.Ours), "…")
				return cut && strings.HasPrefix(reference(c.Difference.Theirs), before)
			},
			Sentence: "repeats what a client sent at any length",
			Source:   "none: ours says how long it was",
		},
		{
			ID: "disjunction-count", Of: "FS, DS", Aspect: "error", Either: true,
			Match: func(c *Case) bool {
				const text = "InvalidArgument: Too many disjunctions after normalization"
				return strings.HasPrefix(c.Difference.Ours, text) && strings.HasPrefix(c.Difference.Theirs, text) && !otherMistake(c)
			},
			Sentence: "counts in a way of its own the disjunctions of a filter that has too many",
			Source:   "none: both refuse it",
		},
		{
			ID: "project-text", Of: "FS, DS", Aspect: "error",
			Match: func(c *Case) bool {
				return strings.HasPrefix(c.Difference.Ours, "InvalidArgument: mismatched databases within request: ") && invalidProject(c.Difference.Theirs)
			},
			Sentence: "finds identifiers of other projects invalid that have capital letters or underscores",
			Source:   "none: both refuse them",
		},
		{
			ID: "other-database-text", Of: "FS, DS", Aspect: "error",
			Match: func(c *Case) bool {
				return strings.HasPrefix(c.Difference.Ours, "InvalidArgument: mismatched databases within request: ") &&
					(strings.HasPrefix(c.Difference.Theirs, "InvalidArgument: The request was for database '") ||
						strings.HasPrefix(c.Difference.Theirs, "InvalidArgument: __key__ filter app is ") ||
						strings.HasPrefix(c.Difference.Theirs, "InvalidArgument: The query app is "))
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
			ID: "underscores", Of: "FS, DS", Aspect: "error",
			Match: func(c *Case) bool {
				return strings.HasSuffix(c.Difference.Ours, `"____" is reserved.`) && !otherMistake(c)
			},
			Sentence: "doesn't take the name ____ for a reserved one",
			Source:   "proto: names that match `__.*__` are reserved",
		},
		{
			ID: "read-time-text", Of: "FS, DS", Aspect: "error", Either: true,
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
			Match:    crashed(bothCrash(), "consistency-crash"),
			Sentence: "fails at a read consistency that isn't one of the API's",
			Source:   "FS itself, where none is given",
		},
		{
			ID: "gql-expecting", Of: "FS, DS", Aspect: "error", Either: true,
			Match:    func(c *Case) bool { return bothSyntax(c) && samePlace(c) },
			Sentence: "lists the tokens that its parser generator would have taken in place of the wrong one, or repeats another part of a token that doesn't end",
			Source:   "none: ours names the same token at the same place, and says what it waited for",
		},
		{
			ID: "gql-other-token", Of: "FS, DS", Aspect: "error", Either: true,
			Match:    func(c *Case) bool { return bothSyntax(c) && !samePlace(c) },
			Sentence: "stumbles over another token of the same wrong text",
			Source:   "none: both refuse it",
		},
		{
			ID: "gql-crash", Of: "FS, DS", Aspect: "error",
			Match:    crashed(bothCrash(), "gql-crash"),
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
	}
}
