package planning

import (
	"strings"

	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
)

// source is the rows of an index that begin with a prefix.
type source struct {
	prefix    string
	property  string             // of a property's index; "" is the kind's or the namespace's
	composite *storage.Composite // nil: no composite index
}

// scan moves over the rows that begin with a prefix, in one direction.
type scan struct {
	source
	desc bool
	walk *storage.Walk

	row     storage.Row
	suffix  string // what follows the prefix in the row where the scan stands
	ok      bool   // it stands on a row
	entries int    // rows on which it stood
}

// steps is how many rows a scan goes through on foot before it looks its way up.
const steps = 8

// begin moves to the first row in [lo, hi), as far as the direction goes: the
// other bound is not looked at.
func (s *scan) begin(lo, hi string) {
	if s.desc {
		s.walk.SeekDown(s.prefix + hi)
	} else {
		s.walk.SeekUp(s.prefix + lo)
	}
	s.settle()
}

func (s *scan) step() {
	if s.desc {
		s.walk.Down()
	} else {
		s.walk.Up()
	}
	s.settle()
}

func (s *scan) settle() {
	s.row, s.ok = s.walk.Row()
	if s.ok = s.ok && strings.HasPrefix(s.row.Head, s.prefix); s.ok {
		s.suffix = s.row.Suffix(len(s.prefix))
		s.entries++
	}
}

// short reports whether the scan has rows to go to reach the target.
func (s *scan) short(target string) bool {
	if !s.ok {
		return false
	}
	if s.desc {
		return s.suffix > target
	}
	return s.suffix < target
}

// reach moves to the first row at or beyond the target.
func (s *scan) reach(target string) {
	for range steps {
		if !s.short(target) {
			return
		}
		s.step()
	}
	if !s.short(target) {
		return
	}
	if s.desc {
		s.walk.SeekDown(s.prefix + target + "\x00")
	} else {
		s.walk.SeekUp(s.prefix + target)
	}
	s.settle()
}
