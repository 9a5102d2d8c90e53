package diff

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/latchwork/latchwork/emulator/datastore/difftest/model"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
)

// Entry justifies one way in which one of Google's emulators differs from us.
type Entry struct {
	ID     string
	Of     string // FS, DS, or both: "FS, DS"
	Aspect string // of the answer, or several: "results, skipped"; "*" is any
	// Match reports whether the difference is this one. It is as narrow as it
	// can be: it looks at the request, at both answers and at what is stored.
	Match func(*Case) bool
	// Quirk, in place of Match or beside it, is a mistake that the model of queries knows.
	// The entry matches when the model's answer is ours, and with the mistake
	// theirs. Where one isn't enough, the smallest set of them counts.
	Quirk model.Quirks
	// Diverges says that the servers hold different data from here on; the rest
	// of the script isn't compared.
	Diverges bool
	Source   string // the higher source that says that we are right
	Sentence string // what they do

	// Either says that nobody is right: the entry matches the other way round,
	// too.
	Either bool
	// Wide says why the entry doesn't look at what exactly theirs is.
	Wide string
	// NoExample says why there is no recorded example of the entry.
	NoExample string
}

func (e *Entry) covers(of, aspect string) bool {
	return slices.Contains(strings.Split(e.Of, ", "), of) &&
		(slices.Contains(strings.Split(e.Aspect, ", "), aspect) || e.Aspect == "*" && aspect != "history")
}

// Case is one difference, with everything that a predicate may look at.
type Case struct {
	Step         script.Step
	Ours, Theirs *Answer
	Difference   Difference

	of      string // the server's name
	past    *history
	history []answered   // of interleaved transactions; nil elsewhere
	refused map[int]bool // steps that one server took and the other refused, and their transactions
}

// justify returns the one entry of the table that matches (several mistakes
// that the model knows may come together), or says why there is none. An entry
// that doesn't look at all of theirs counts where no other one matches.
func (r *Runner) justify(of string, c *Case) ([]*Entry, string) {
	var found []*Entry
	if unworthy(c.Ours) != "" && !waits(c) {
		return nil, "No request deserves such an answer."
	}
	for i := range r.Table {
		e := &r.Table[i]
		if e.covers(of, c.Difference.Aspect) && e.Match != nil && e.Match(c) {
			found = append(found, e)
		}
	}
	exact := slices.DeleteFunc(slices.Clone(found), func(e *Entry) bool { return e.Wide != "" })
	switch {
	case len(found) == 0:
		return r.quirks(of, c), ""
	case len(exact) == 0:
		return found[:1], ""
	case len(exact) == 1:
		return exact, ""
	}
	var ids []string
	for _, e := range exact {
		ids = append(ids, e.ID)
	}
	return nil, fmt.Sprintf("More than one entry of the table matches: %s.", strings.Join(ids, ", "))
}

// quirks returns the smallest set of the model's mistakes that explains the
// difference.
func (r *Runner) quirks(of string, c *Case) []*Entry {
	var known []*Entry
	for i := range r.Table {
		if e := &r.Table[i]; e.covers(of, c.Difference.Aspect) && e.Quirk != (model.Quirks{}) {
			known = append(known, e)
		}
	}
	if len(known) == 0 || c.modelled(model.Quirks{}) != c.Difference.Ours {
		return nil
	}
	for size := 1; size <= len(known); size++ {
		for set := range 1 << len(known) {
			if bits.OnesCount(uint(set)) != size {
				continue
			}
			var chosen []*Entry
			var quirks model.Quirks
			for i, e := range known {
				if set&(1<<i) != 0 {
					chosen = append(chosen, e)
					quirks = quirks.Or(e.Quirk)
				}
			}
			if c.modelled(quirks) == c.Difference.Theirs {
				return chosen
			}
		}
	}
	return nil
}
