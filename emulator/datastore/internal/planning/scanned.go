package planning

// Scan is what a run went through.
type Scan struct {
	Ranges []Range // every row whose appearance or change could change the result

	IndexEntries int // rows gone through
	Entities     int // entities looked at
	Indexes      []UsedIndex
}

// Range is the half-open interval of rows [Lo, Hi), which isn't empty.
type Range struct{ Lo, Hi string }

// UsedIndex names an index as Datastore's explain does.
type UsedIndex struct {
	QueryScope string
	Properties string // (foo ASC, __name__ ASC)
}

// scanned is what the streams have gone through so far.
func (q *Query) scanned(streams []*stream) Scan {
	var sum Scan
	for _, s := range streams {
		sum.Ranges = append(sum.Ranges, s.join.through()...)
		sum.IndexEntries += s.join.entries()
		sum.Entities += s.looked
	}
	return sum
}
