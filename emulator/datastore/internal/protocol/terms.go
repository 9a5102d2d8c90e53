package protocol

import (
	"iter"
	"slices"
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/planning"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"github.com/latchwork/latchwork/emulator/datastore/internal/transactions"
	"google.golang.org/protobuf/proto"
)

// term is a property that is summed up.
type term struct {
	name string

	// A property with an equality filter can't be projected. Its value is then
	// the first of those that the filter names which the entity has, or else
	// (the filter is one side of an OR) its first value.
	filtered bool
	prefix   string   // of its rows
	equal    []string // index values of the filter, in order
}

// window is what a query shows of its results; limit -1 is no limit.
type window struct{ offset, limit int }

// take makes it the window of q, which has none from now on.
func (w *window) take(q *pb.Query) {
	w.offset = int(q.GetOffset())
	if q.GetLimit() != nil {
		w.limit = int(q.GetLimit().GetValue())
	}
	q.Offset, q.Limit = 0, nil
}

// shows reports whether the next result is in the window.
func (w *window) shows() bool {
	switch {
	case w.offset > 0:
		w.offset--
	case w.limit != 0:
		w.limit--
		return true
	}
	return false
}

// project adds the properties that are summed up to what the query projects.
// Where they are of all kinds, there is no projection; where one is on one side
// of an OR only, results may lack it. Offset and limit are then left for later.
func (a *aggregation) project(project string, base *pb.Query) (*pb.Query, error) {
	for _, g := range a.aggregates {
		known := slices.ContainsFunc(a.terms, func(t term) bool { return t.name == g.property })
		if g.property != "" && !known {
			a.terms = append(a.terms, term{name: g.property})
		}
	}
	if len(a.terms) == 0 {
		return base, nil
	}
	if len(base.GetProjection()) > 0 {
		return base, a.checkProjected(base.GetProjection())
	}
	base = proto.CloneOf(base)
	bounded := base.GetLimit().GetValue() >= 0 && base.GetOffset() >= 0
	if len(base.GetKind()) == 0 && bounded {
		a.allKinds, a.byKey = true, sortsByKey(base)
		a.window.take(base)
		slices.SortFunc(a.terms, func(a, b term) int { return strings.Compare(a.name, b.name) }) // as an index would
		return base, nil
	}
	filtered := false
	for i := range a.terms {
		t := &a.terms[i]
		if t.equal, t.filtered = equalities(base.GetFilter(), t.name, project); !t.filtered {
			base.Projection = append(base.Projection, &pb.Projection{Property: &pb.PropertyReference{Name: t.name}})
		}
		filtered = filtered || t.filtered
	}
	if filtered && bounded && hasOr(base.GetFilter()) {
		a.window.take(base)
	}
	return base, nil
}

// sortsByKey reports whether a query without a kind, which can sort by nothing
// else, sorts by key: it says so, or has an inequality on keys.
func sortsByKey(q *pb.Query) bool {
	unequal := false
	_ = eachFilter(q.GetFilter(), func(f *pb.Filter) error {
		switch f.GetPropertyFilter().GetOp() {
		case pb.PropertyFilter_LESS_THAN, pb.PropertyFilter_LESS_THAN_OR_EQUAL, pb.PropertyFilter_GREATER_THAN,
			pb.PropertyFilter_GREATER_THAN_OR_EQUAL, pb.PropertyFilter_NOT_EQUAL, pb.PropertyFilter_NOT_IN:
			unequal = true
		}
		return nil
	})
	return unequal || len(q.GetOrder()) > 0
}

// hasOr reports whether a filter has alternatives.
func hasOr(f *pb.Filter) bool {
	or := false
	_ = eachFilter(f, func(f *pb.Filter) error {
		or = or || f.GetCompositeFilter().GetOp() == pb.CompositeFilter_OR
		return nil
	})
	return or
}

// checkProjected refuses terms that a query's own projection hasn't got.
func (a *aggregation) checkProjected(projection []*pb.Projection) error {
	var projected []string
	for _, p := range projection {
		if name := p.GetProperty().GetName(); name != "__key__" {
			projected = append(projected, name)
		}
	}
	if len(projected) == 0 {
		return invalid("Aggregation over non-key properties is not supported for base query that only returns keys.")
	}
	for _, t := range a.terms {
		if !slices.Contains(projected, t.name) {
			return invalid("The aggregation property %s is not present in the base query's projection.", t.name)
		}
	}
	return nil
}

// equalities collects the values that a filter compares the property with for
// equality, in index form and order.
func equalities(f *pb.Filter, property, project string) (values []string, found bool) {
	add := func(v *pb.Value) {
		if b, ok := encoding.AppendValue(nil, v, project); ok {
			values = append(values, string(b))
		}
	}
	_ = eachFilter(f, func(f *pb.Filter) error {
		p := f.GetPropertyFilter()
		if p.GetProperty().GetName() != property {
			return nil
		}
		switch p.GetOp() {
		case pb.PropertyFilter_EQUAL:
			found = true
			add(p.GetValue())
		case pb.PropertyFilter_IN:
			found = true
			for _, v := range p.GetValue().GetArrayValue().GetValues() {
				add(v)
			}
		}
		return nil
	})
	slices.Sort(values)
	return slices.Compact(values), found
}

// rows calls f with the values, in index form, that each result has for the
// terms. Results that lack one are no results.
func (a *aggregation) rows(view storage.View, f func(values []string)) (planning.Scan, transactions.Footprint) {
	if a.allKinds {
		return a.rowsOfAllKinds(view, f)
	}
	window := a.window
	values := make([]string, len(a.terms))
	var looked []string // entities whose values the scanned ranges may not cover
	scan, fp := a.base.each(view, func(h planning.Hit) {
		for i := range a.terms {
			if a.terms[i].filtered {
				looked = append(looked, h.Entity.Key())
			}
			var ok bool
			if values[i], ok = a.value(&a.terms[i], h); !ok {
				return
			}
		}
		if window.shows() {
			f(values)
		}
	})
	fp.Keys = append(fp.Keys, looked...)
	return scan, fp
}

// value is what a hit has for the term; ok is false if it has nothing.
func (a *aggregation) value(t *term, h planning.Hit) (value string, ok bool) {
	if !t.filtered {
		return a.base.Value(h, t.name), true
	}
	for _, v := range t.equal {
		at := t.prefix + v
		if _, ok := h.Entity.First(at, encoding.PrefixEnd(at)); ok {
			return v, true
		}
	}
	for value := range valuesOf(h.Entity, t.prefix) {
		return value, true
	}
	return "", false
}

// rowsOfAllKinds is rows for a query without a kind, which no index serves: the
// combinations of values are put in the order that one would give them, if it
// matters.
func (a *aggregation) rowsOfAllKinds(view storage.View, f func(values []string)) (planning.Scan, transactions.Footprint) {
	w := a.window
	inOrder := w.offset > 0 || w.limit >= 0
	sort := func(all [][]string) {
		if !a.byKey {
			slices.SortStableFunc(all, slices.Compare[[]string])
		}
	}
	var all [][]string
	var fp transactions.Footprint
	scan, own := a.base.each(view, func(h planning.Hit) {
		fp.Keys = append(fp.Keys, h.Entity.Key())
		for _, values := range a.combinations(h.Entity) {
			if inOrder {
				all = append(all, values)
			} else {
				f(values)
			}
		}
		if w.limit >= 0 && len(all) > 2*(w.offset+w.limit)+encoding.MaxIndexEntries {
			sort(all)
			all = slices.Delete(all, w.offset+w.limit, len(all))
		}
	})
	fp.Keys, fp.Ranges = append(fp.Keys, own.Keys...), own.Ranges
	sort(all)
	all = all[min(w.offset, len(all)):]
	if w.limit >= 0 {
		all = all[:min(w.limit, len(all))]
	}
	for _, values := range all {
		f(values)
	}
	return scan, fp
}

// combinations is the values of all terms, in all combinations, of an entity of
// any kind: as many as a projection would show.
func (a *aggregation) combinations(e *storage.Entity) [][]string {
	namespace, path, err := encoding.CutEntityRow(e.Key())
	if err != nil {
		return nil
	}
	rows := [][]string{nil}
	for _, t := range a.terms {
		var longer [][]string
		for _, row := range rows {
			for v := range valuesOf(e, encoding.PropertyPrefix(namespace, path[len(path)-1].GetKind(), t.name)) {
				if len(longer) < encoding.MaxIndexEntries {
					longer = append(longer, append(slices.Clip(row), v))
				}
			}
		}
		rows = longer
	}
	return rows
}

// valuesOf yields the values, in index form, of the entity's property whose rows
// have the prefix.
func valuesOf(e *storage.Entity, prefix string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for head := range e.HeadsBetween(prefix, encoding.PrefixEnd(prefix)) {
			if !yield(head[len(prefix):]) {
				return
			}
		}
	}
}
