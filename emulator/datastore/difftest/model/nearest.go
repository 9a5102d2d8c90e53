package model

import (
	"cmp"
	"math"
	"slices"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/protobuf/proto"
)

// nearest keeps the rows whose vectors are nearest to the one that is asked
// for, nearest first, with their distances.
func nearest(rows []Row, f *pb.FindNearest) []Row {
	type found struct {
		row      Row
		distance float64
	}
	var all []found
	name := f.GetVectorProperty().GetName()
	want := vector(f.GetQueryVector())
	for _, row := range rows {
		v := row.Entity.GetProperties()[name]
		if v.GetMeaning() != 31 || len(v.GetArrayValue().GetValues()) != len(want) {
			continue
		}
		d := distance(f.GetDistanceMeasure(), vector(v), want)
		if t := f.GetDistanceThreshold(); math.IsNaN(d) || t != nil && !within(f.GetDistanceMeasure(), d, t.GetValue()) {
			continue
		}
		if as := f.GetDistanceResultProperty(); as != "" {
			row.Entity = proto.Clone(row.Entity).(*pb.Entity)
			row.Entity.Properties[as] = &pb.Value{ValueType: &pb.Value_DoubleValue{DoubleValue: d}}
		}
		all = append(all, found{row, d})
	}
	slices.SortStableFunc(all, func(a, b found) int {
		order := cmp.Compare(a.distance, b.distance)
		if f.GetDistanceMeasure() == pb.FindNearest_DOT_PRODUCT {
			order = -order
		}
		return cmp.Or(order, CompareKeys(a.row.Entity.GetKey(), b.row.Entity.GetKey()))
	})
	var kept []Row
	for _, one := range all[:min(len(all), int(f.GetLimit().GetValue()))] {
		kept = append(kept, one.row)
	}
	return kept
}

func within(measure pb.FindNearest_DistanceMeasure, d, threshold float64) bool {
	if measure == pb.FindNearest_DOT_PRODUCT {
		return d >= threshold
	}
	return d <= threshold
}

func vector(v *pb.Value) []float64 {
	var all []float64
	for _, e := range v.GetArrayValue().GetValues() {
		all = append(all, e.GetDoubleValue())
	}
	return all
}

func distance(measure pb.FindNearest_DistanceMeasure, a, b []float64) float64 {
	var dot, squares, na, nb float64
	for i := range a {
		dot += a[i] * b[i]
		squares += (a[i] - b[i]) * (a[i] - b[i])
		na += a[i] * a[i]
		nb += b[i] * b[i]
	}
	switch measure {
	case pb.FindNearest_EUCLIDEAN:
		return math.Sqrt(squares)
	case pb.FindNearest_COSINE:
		return 1 - dot/(math.Sqrt(na)*math.Sqrt(nb))
	}
	return dot
}
