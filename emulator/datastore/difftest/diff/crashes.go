package diff

import (
	"math"
	"slices"
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/grpc/codes"
)

// crash is what both of Google's emulators answer when something breaks within
// them: no text says what.
const crash = "Unknown: "

// A cause is why one of them breaks at a request.
type cause struct {
	id      string // of the entry
	because func(*Case) bool
}

// crashed matches crashes with that cause. Where a request has several causes,
// the first of the list counts.
func crashed(list []cause, id string) func(*Case) bool {
	return func(c *Case) bool {
		i := slices.IndexFunc(list, func(one cause) bool { return one.because(c) })
		return c.Difference.Theirs == crash && i >= 0 && list[i].id == id
	}
}

// bothCrash are the causes that both emulators have.
func bothCrash() []cause {
	return []cause{
		{"consistency-crash", func(c *Case) bool { return c.Difference.Ours == "InvalidArgument: ReadConsistency must be specified." }},
		{"gql-crash", func(c *Case) bool {
			return isGQL(c.Step.Request) && (strings.HasPrefix(c.Difference.Ours, "InvalidArgument: Encountered ") ||
				strings.HasPrefix(c.Difference.Ours, "InvalidArgument: Unexpected aggregation function: "))
		}},
	}
}

func firestoreCrash() []cause {
	return append(bothCrash(), []cause{
		{"fs-aggregation-project-crash", func(c *Case) bool {
			return c.Ours.Method == "RunAggregationQuery" && isGQL(c.Step.Request) && (invalidProject(c.Difference.Ours) ||
				strings.HasPrefix(c.Difference.Ours, "InvalidArgument: mismatched databases within request: "))
		}},
		{"fs-six-aggregations-crash", func(c *Case) bool {
			text := "InvalidArgument: The maximum number of aggregations allowed in an aggregation query is 5."
			return strings.HasPrefix(c.Difference.Ours, text) || made(c.Difference.Ours, c.Step.Request) != "" && aggregations(c.Step.Request) > 5
		}},
		{"fs-reserve-crash", func(c *Case) bool {
			r, ok := c.Step.Request.(*pb.ReserveIdsRequest)
			return ok && slices.ContainsFunc(r.GetKeys(), func(k *pb.Key) bool {
				return slices.ContainsFunc(k.GetPath(), func(e *pb.Key_PathElement) bool { return e.GetId() < 0 || e.GetId() == math.MaxInt64 })
			})
		}},
		{"fs-entity-crash", func(c *Case) bool { return c.rightOrMade() && c.entityStored() }},
		{"fs-or-ancestor-crash", func(c *Case) bool { return c.rightOrMade() && ancestorInOr(c.query().GetFilter(), false) }},
		{"fs-distinct-cursor-crash", func(c *Case) bool {
			return c.Ours.Code == codes.OK && len(c.query().GetStartCursor())+len(c.query().GetEndCursor()) > 0 && len(c.query().GetDistinctOn()) > 0
		}},
		{"fs-kindless-transaction-crash", func(c *Case) bool {
			o, ok := c.Step.Request.(interface{ GetReadOptions() *pb.ReadOptions })
			return ok && (len(o.GetReadOptions().GetTransaction()) > 0 || o.GetReadOptions().GetNewTransaction() != nil) &&
				c.query() != nil && len(c.query().GetKind()) == 0 && c.Ours.Code == codes.OK
		}},
	}...)
}

func olderCrash() []cause {
	return append(bothCrash(), []cause{
		{"ds-no-project", func(c *Case) bool { return c.Difference.Ours == "InvalidArgument: The app id is the empty string." }},
		{"ds-transaction-lost", transactionLost},
		{"ds-unknown-transaction", func(c *Case) bool { return c.Difference.Ours == "InvalidArgument: Invalid transaction." }},
		{"ds-not-equal", func(c *Case) bool { return c.untold() || c.filters(pb.PropertyFilter_NOT_EQUAL) }},
		{"ds-deep-filter-crash", func(c *Case) bool { return depth(c.query().GetFilter()) > 40 }},
		{"ds-cursor-crash", func(c *Case) bool {
			return c.Ours.Code == codes.OK && len(c.query().GetStartCursor())+len(c.query().GetEndCursor()) > 0 &&
				c.anyStored(func(v *pb.Value) bool { return v.GetArrayValue() != nil })
		}},
	}...)
}

// rightOrMade reports whether we answered, or named a mistake that the request
// has.
func (c *Case) rightOrMade() bool {
	return c.Ours.Code == codes.OK || made(c.Difference.Ours, c.Step.Request) != ""
}
