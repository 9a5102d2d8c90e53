package diff

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxRuns bounds how often a failing script is run to make it smaller.
const maxRuns = 600

// maxShrinking bounds how long that may take: runs in which somebody waits for
// a lock take seconds.
const maxShrinking = time.Minute

// Shrink makes the script of a failure smaller as long as it fails in the same
// way: first it takes out steps, then parts of their requests.
func (r *Runner) Shrink(ctx context.Context, f *Failure) *Failure {
	quiet := &Runner{Ours: r.Ours, Theirs: r.Theirs, Table: r.Table, AllowUnimplemented: r.AllowUnimplemented, Counts: NewCounts()}
	// Only the server that the failure is about.
	for _, s := range r.Theirs {
		if s.Name == f.Against {
			quiet.Theirs = []Server{s}
		}
	}
	quiet.projects = 1 << 30 // names of their own
	if f.Entry != "" {
		quiet.Seek = func(entry string, _ *Case) bool { return entry == f.Entry }
	}
	ctx, cancel := context.WithTimeout(ctx, maxShrinking)
	defer cancel()
	sh := &shrinker{ctx: ctx, r: quiet, want: f.Signature(), best: f, runs: maxRuns}
	if f.Entry != "" {
		sh.runs = maxRuns / 4 // an example needn't be the smallest
	}
	s := f.Script.Clone()
	for i, step := range s.Steps {
		if step.ID == f.Step.ID {
			s.Steps = s.Steps[:i+1]
			break
		}
	}
	sh.try(s)
	for sh.runs > 0 {
		before := sh.best
		sh.steps()
		sh.fields()
		if sh.best == before {
			break
		}
	}
	return sh.best
}

type shrinker struct {
	ctx  context.Context
	r    *Runner
	want string
	best *Failure
	runs int
}

// try runs a smaller script; when it fails in the same way, it is the best.
func (sh *shrinker) try(s script.Script) bool {
	if sh.runs == 0 || len(s.Steps) == 0 {
		return false
	}
	sh.runs--
	f, err := sh.r.Run(sh.ctx, s)
	if err != nil {
		sh.runs = 0
		return false
	}
	if f == nil || f.Signature() != sh.want {
		return false
	}
	sh.best = f
	return true
}

// steps takes out runs of steps, long ones first.
func (sh *shrinker) steps() {
	for n := len(sh.best.Script.Steps) / 2; n > 0; n /= 2 {
		for at := 0; at+n <= len(sh.best.Script.Steps); {
			s := sh.best.Script.Clone()
			s.Steps = append(s.Steps[:at:at], s.Steps[at+n:]...)
			if !sh.try(s) {
				at += n
			}
		}
	}
}

// fields clears fields, and elements of lists and maps, wherever the failure
// stays.
func (sh *shrinker) fields() {
	for i := range slices.Backward(sh.best.Script.Steps) {
		for at := 0; ; at++ {
			// The at-th thing that can be taken out of the request.
			s := sh.best.Script.Clone()
			if i >= len(s.Steps) || !take(s.Steps[i].Request, at) {
				break
			}
			if sh.try(s) {
				at--
			}
			if sh.runs == 0 {
				return
			}
		}
	}
}

// take takes the n-th removable part out of a message, in an order that puts
// large parts before their own; false when there is none.
func take(m proto.Message, n int) bool {
	return takeFrom(m.ProtoReflect(), &n)
}

func takeFrom(m protoreflect.Message, n *int) bool {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if !m.Has(field) {
			continue
		}
		if field.Name() == "project_id" || m.Descriptor().Name() == "PathElement" {
			continue
		}
		if *n--; *n < 0 {
			m.Clear(field)
			return true
		}
		v := m.Get(field)
		switch {
		case field.IsList():
			l := m.Mutable(field).List()
			// Runs of elements first, where there are many.
			for run := l.Len() / 2; run > 3; run /= 2 {
				for j := 0; j+run <= l.Len(); j += run {
					if *n--; *n < 0 {
						cutOut(l, j, run)
						return true
					}
				}
			}
			for j := range l.Len() {
				if l.Len() > 1 {
					if *n--; *n < 0 {
						cutOut(l, j, 1)
						return true
					}
				}
				if field.Kind() == protoreflect.MessageKind && takeFrom(l.Get(j).Message(), n) {
					return true
				}
			}
		case field.IsMap():
			keys := sortedKeys(v.Map())
			for _, k := range keys {
				if *n--; *n < 0 {
					m.Mutable(field).Map().Clear(k)
					return true
				}
				if field.MapValue().Kind() == protoreflect.MessageKind && takeFrom(v.Map().Get(k).Message(), n) {
					return true
				}
			}
		case field.Kind() == protoreflect.MessageKind:
			if takeFrom(m.Mutable(field).Message(), n) {
				return true
			}
		}
	}
	return false
}

// cutOut removes n elements of a list.
func cutOut(l protoreflect.List, at, n int) {
	for i := at; i+n < l.Len(); i++ {
		l.Set(i, l.Get(i+n))
	}
	l.Truncate(l.Len() - n)
}

func sortedKeys(m protoreflect.Map) []protoreflect.MapKey {
	var keys []protoreflect.MapKey
	m.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k)
		return true
	})
	slices.SortFunc(keys, func(a, b protoreflect.MapKey) int { return strings.Compare(a.String(), b.String()) })
	return keys
}
