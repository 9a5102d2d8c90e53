package planning

import (
	"slices"
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
)

// cut is a place between index forms: before or after everything that begins
// with at.
type cut struct {
	at    string
	after bool
}

// above sorts behind every continuation of an encoding: none begins with FF,
// complemented or not.
const above = "\xff"

var (
	bottom = cut{}
	top    = cut{at: above}
)

// String is the cut as a bound for encodings.
func (c cut) String() string {
	if c.after {
		return c.at + above
	}
	return c.at
}

// complement is the cut at the same place among complemented encodings.
func (c cut) complement() cut {
	b := []byte(c.at)
	encoding.Complement(b)
	return cut{at: string(b), after: !c.after}
}

// passed reports whether an encoding lies behind the cut.
func (c cut) passed(encoded string) bool {
	return encoded >= c.at && !(c.after && strings.HasPrefix(encoded, c.at))
}

func compareCuts(a, b cut) int { return strings.Compare(a.String(), b.String()) }

// interval is what lies between two cuts.
type interval struct{ lo, hi cut }

// intervals are in order, apart and not empty. None of them: nothing is in.
type intervals []interval

func everything() intervals { return intervals{{bottom, top}} }

func (s intervals) free() bool { return len(s) == 1 && s[0] == interval{bottom, top} }

func (s intervals) contains(encoded string) bool {
	for _, i := range s {
		if !i.lo.passed(encoded) {
			return false
		}
		if !i.hi.passed(encoded) {
			return true
		}
	}
	return false
}

func (s intervals) and(o intervals) intervals {
	var both intervals
	for _, a := range s {
		for _, b := range o {
			i := a
			if compareCuts(b.lo, i.lo) > 0 {
				i.lo = b.lo
			}
			if compareCuts(b.hi, i.hi) < 0 {
				i.hi = b.hi
			}
			if compareCuts(i.lo, i.hi) < 0 {
				both = append(both, i)
			}
		}
	}
	return both
}

// complement is the same intervals among complemented encodings.
func (s intervals) complement() intervals {
	out := make(intervals, 0, len(s))
	for _, i := range slices.Backward(s) {
		out = append(out, interval{i.hi.complement(), i.lo.complement()})
	}
	return out
}

// relation is what stands in the relation op to the values, which are sorted if
// there are several.
func relation(op pb.PropertyFilter_Operator, values []string) intervals {
	before, after := cut{at: values[0]}, cut{at: values[0], after: true}
	switch op {
	case pb.PropertyFilter_LESS_THAN:
		return intervals{{bottom, before}}
	case pb.PropertyFilter_LESS_THAN_OR_EQUAL:
		return intervals{{bottom, after}}
	case pb.PropertyFilter_GREATER_THAN:
		return intervals{{after, top}}
	case pb.PropertyFilter_GREATER_THAN_OR_EQUAL:
		return intervals{{before, top}}
	case pb.PropertyFilter_EQUAL, pb.PropertyFilter_HAS_ANCESTOR:
		return intervals{{before, after}}
	}
	// NOT_EQUAL, NOT_IN: what lies between.
	var gaps intervals
	lo := bottom
	for _, v := range values {
		if v == "" {
			continue // an entity: nothing is equal to it
		}
		gaps = append(gaps, interval{lo, cut{at: v}})
		lo = cut{at: v, after: true}
	}
	return append(gaps, interval{lo, top})
}
