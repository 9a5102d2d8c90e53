package model

import (
	"slices"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
)

// ForOneKey reports whether a filter of the query names the one key that it wants.
func ForOneKey(q *pb.Query) bool {
	return slices.ContainsFunc(PropertyFilters(q.GetFilter()), func(f *pb.PropertyFilter) bool {
		one := f.GetOp() == pb.PropertyFilter_EQUAL || f.GetOp() == pb.PropertyFilter_IN && len(f.GetValue().GetArrayValue().GetValues()) == 1
		return f.GetProperty().GetName() == keyName && one
	})
}

// IsInequality reports whether an operator decides which rows of an index match.
func IsInequality(op pb.PropertyFilter_Operator) bool {
	switch op {
	case pb.PropertyFilter_LESS_THAN, pb.PropertyFilter_LESS_THAN_OR_EQUAL, pb.PropertyFilter_GREATER_THAN,
		pb.PropertyFilter_GREATER_THAN_OR_EQUAL, pb.PropertyFilter_NOT_EQUAL, pb.PropertyFilter_NOT_IN:
		return true
	}
	return false
}

// Alternatives writes a filter as alternatives of conjunctions, IN as alternatives of
// equalities.
func Alternatives(f *pb.Filter) [][]*pb.PropertyFilter {
	if f == nil {
		return [][]*pb.PropertyFilter{nil}
	}
	if p := f.GetPropertyFilter(); p != nil {
		if p.GetOp() != pb.PropertyFilter_IN {
			return [][]*pb.PropertyFilter{{p}}
		}
		var all [][]*pb.PropertyFilter
		for _, v := range p.GetValue().GetArrayValue().GetValues() {
			all = append(all, []*pb.PropertyFilter{{Property: p.GetProperty(), Op: pb.PropertyFilter_EQUAL, Value: v}})
		}
		return all
	}
	c := f.GetCompositeFilter()
	if c.GetOp() == pb.CompositeFilter_OR {
		var all [][]*pb.PropertyFilter
		for _, sub := range c.GetFilters() {
			all = append(all, Alternatives(sub)...)
		}
		return all
	}
	all := [][]*pb.PropertyFilter{nil}
	for _, sub := range c.GetFilters() {
		var next [][]*pb.PropertyFilter
		for _, left := range all {
			for _, right := range Alternatives(sub) {
				next = append(next, slices.Concat(left, right))
			}
		}
		all = next
	}
	return all
}

// Projected are the properties that a query projects, without the key.
func Projected(q *pb.Query) []string {
	var names []string
	for _, p := range q.GetProjection() {
		if name := p.GetProperty().GetName(); name != keyName {
			names = append(names, name)
		}
	}
	return names
}

// Names are the properties that a query filters by, sorts by or projects.
func Names(q *pb.Query) []string {
	var names []string
	for _, f := range PropertyFilters(q.GetFilter()) {
		names = append(names, f.GetProperty().GetName())
	}
	for _, o := range q.GetOrder() {
		names = append(names, o.GetProperty().GetName())
	}
	for _, p := range q.GetProjection() {
		names = append(names, p.GetProperty().GetName())
	}
	for _, d := range q.GetDistinctOn() {
		names = append(names, d.GetName())
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// PropertyFilters are the leaves of a filter.
func PropertyFilters(f *pb.Filter) []*pb.PropertyFilter {
	if p := f.GetPropertyFilter(); p != nil {
		return []*pb.PropertyFilter{p}
	}
	var all []*pb.PropertyFilter
	for _, sub := range f.GetCompositeFilter().GetFilters() {
		all = append(all, PropertyFilters(sub)...)
	}
	return all
}
