package planning

import "github.com/latchwork/latchwork/emulator/datastore/internal/storage"

// join is the rows that several scans have in common: each result has a row in
// every one of them, with the same suffix. The scans take turns in leading: who
// is behind leaps to where the others are (a zig-zag merge join).
type join struct {
	scans  []*scan
	ranges []bounds // of suffixes, in ascending order and apart
	desc   bool

	begun int  // ranges that it has gone to
	done  bool // all of them
}

// at is the range that the join is in.
func (j *join) at() bounds {
	if j.desc {
		return j.ranges[len(j.ranges)-j.begun]
	}
	return j.ranges[j.begun-1]
}

// next moves to the next common row.
func (j *join) next() (row storage.Row, suffix string, ok bool) {
	if j.done {
		return row, "", false
	}
	lead := j.scans[0]
	if j.begun > 0 {
		lead.step()
	} else {
		j.enter()
	}
	for !j.done {
		if !lead.ok {
			break
		}
		if j.beyond(lead.suffix) {
			j.enter()
			continue
		}
		if j.agree(lead) {
			return lead.row, lead.suffix, true
		}
	}
	j.done = true
	return row, "", false
}

// agree moves all scans to the lead's row, or the lead beyond it.
func (j *join) agree(lead *scan) bool {
	for _, s := range j.scans[1:] {
		if s.ok && s.row.Entity == lead.row.Entity && s.suffix == lead.suffix {
			continue
		}
		s.reach(lead.suffix)
		if !s.ok {
			j.done = true
			return false
		}
		if s.suffix != lead.suffix {
			lead.reach(s.suffix)
			return false
		}
	}
	return true
}

// beyond reports whether the suffix lies behind the present range.
func (j *join) beyond(suffix string) bool {
	if j.desc {
		return suffix < j.at().lo
	}
	return suffix >= j.at().hi
}

// enter goes to the next range.
func (j *join) enter() {
	if j.begun == len(j.ranges) {
		j.done = true
		return
	}
	first := j.begun == 0
	j.begun++
	r := j.at()
	for i, s := range j.scans {
		switch {
		case first:
			s.begin(r.lo, r.hi)
		case i > 0:
		case !j.desc && s.suffix < r.lo, j.desc && s.suffix >= r.hi:
			s.begin(r.lo, r.hi)
		}
	}
}

// through is the intervals of the lead's rows that the join has gone through.
// Every result has one row among them, so whatever adds, changes or removes a
// result touches them.
func (j *join) through() []Range {
	if len(j.scans) == 0 {
		return nil
	}
	var all []Range
	lead := j.scans[0]
	n := j.begun
	if j.done {
		n = len(j.ranges)
	}
	for i := range n {
		r := j.ranges[i]
		if j.desc {
			r = j.ranges[len(j.ranges)-1-i]
		}
		if i == n-1 && !j.done && lead.ok {
			if j.desc {
				r.lo = max(r.lo, lead.suffix)
			} else {
				r.hi = min(r.hi, lead.suffix+"\x00")
			}
		}
		if r.lo < r.hi {
			all = append(all, Range{lead.prefix + r.lo, lead.prefix + r.hi})
		}
	}
	return all
}

func (j *join) entries() (n int) {
	for _, s := range j.scans {
		n += s.entries
	}
	return n
}
