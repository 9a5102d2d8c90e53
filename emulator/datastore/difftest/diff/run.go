package diff

import (
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// Runner sends scripts to all servers and compares their answers.
type Runner struct {
	Ours   Server
	Theirs []Server
	Table  []Entry
	// AllowUnimplemented counts what our side answers with UNIMPLEMENTED, and
	// ends the script there, instead of taking it for a difference.
	AllowUnimplemented bool
	Show               io.Writer // nil, or where every answer is written
	// Seek, when it isn't nil, is told what each entry justifies. Where it says
	// yes, that is returned as if it were a failure.
	Seek   func(entry string, c *Case) bool
	Counts *Counts

	mu       sync.Mutex
	projects int
}

// stepTimeout bounds every request. No server needs nearly as long, so whoever
// reaches it hangs.
const stepTimeout = time.Minute

// Failure is a difference that nothing justifies.
type Failure struct {
	Script  script.Script
	Step    script.Step
	Against string // the other server
	Differs Difference
	Why     string // what the table said to it
	Ours    *Answer
	Theirs  *Answer
	Entry   string // the one that was sought and found; "" of a failure
}

// Signature is what stays while a failure is made smaller.
func (f *Failure) Signature() string {
	s := f.Against + " " + f.Step.Method() + " " + f.Differs.Aspect + " " + f.Entry
	if f.Differs.Aspect == "error" {
		s += " " + shape(f.Differs.Ours) + " " + shape(f.Differs.Theirs)
	}
	return s
}

// shape is an error's text without what depends on the script's values.
func shape(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	return particular.ReplaceAllString(text, "_")
}

var particular = regexp.MustCompile(`"[^"]*"|'[^']*'|\[[^\]]*\]|[0-9]+|path=.*`)

// String is the transcript: the script with the answers that differ as
// comments, so that script.Parse reads it.
func (f *Failure) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# An unjustified difference to %s in step %d: %s.\n", f.Against, f.Step.ID, f.Differs.Aspect)
	if f.Why != "" {
		b.WriteString(comment(f.Why))
	}
	b.WriteString(f.Script.String())
	if f.Ours != nil {
		b.WriteString("#\n# ours:\n" + comment(f.Ours.String()))
		fmt.Fprintf(&b, "# %s:\n%s", f.Against, comment(f.Theirs.String()))
	}
	return b.String()
}

// Brief says in a few lines what failed: each step in one, cut to a size that
// a terminal shows, and only the aspect that differs.
func (f *Failure) Brief() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, to %s in step %d: %s %s\n", f.Script.Origin, f.Against, f.Step.ID, f.Differs.Aspect, f.Why)
	for _, step := range f.Script.Steps {
		fmt.Fprintf(&b, "  %d %s %s\n", step.ID, step.Method(), cut(oneLine(step.Request), 900))
	}
	indent := func(s string) string { return strings.ReplaceAll(cut(s, 900), "\n", "\n          ") }
	fmt.Fprintf(&b, "    ours: %s\n    %4s: %s\n", indent(f.Differs.Ours), f.Against, indent(f.Differs.Theirs))
	return b.String()
}

func oneLine(m proto.Message) string {
	s := strings.ReplaceAll(prototext.MarshalOptions{}.Format(m), "  ", " ")
	return strings.ReplaceAll(s, `project_id:"`+script.Project+`" `, "")
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n/2] + " … " + s[len(s)-n/2:]
}

func comment(text string) string {
	return "#   " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n#   ") + "\n"
}

// project returns a name that no script had before.
func (r *Runner) project() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.projects++
	return fmt.Sprintf("p%d-%d", r.projects, time.Now().UnixNano()%1_000_000)
}

// All runs scripts, several at once, until there are no more or enough failures.
// Of failures in the same way it returns one.
func (r *Runner) All(ctx context.Context, scripts iter.Seq[script.Script], workers, enough int) ([]*Failure, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		mu    sync.Mutex
		found = map[string]*Failure{}
		left  = enough
		wg    sync.WaitGroup
	)
	jobs := make(chan script.Script)
	for range workers {
		wg.Go(func() {
			for s := range jobs {
				f, err := r.Run(ctx, s)
				if err != nil {
					cancel(err)
					return
				}
				if f == nil {
					continue
				}
				mu.Lock()
				if found[f.Signature()] == nil {
					found[f.Signature()] = f
					if f.Entry == "" {
						left--
					}
				}
				mu.Unlock()
			}
		})
	}
feed:
	for s := range scripts {
		mu.Lock()
		done := left <= 0
		mu.Unlock()
		if done {
			break
		}
		select {
		case jobs <- s:
		case <-ctx.Done():
			break feed
		}
	}
	close(jobs)
	wg.Wait()
	all := slices.SortedFunc(maps.Values(found), func(a, b *Failure) int { return strings.Compare(a.Script.Origin, b.Script.Origin) })
	return all, context.Cause(ctx)
}

// Run runs a script and returns the first difference that nothing justifies;
// nil when there is none. The error says that ctx ended.
func (r *Runner) Run(ctx context.Context, s script.Script) (*Failure, error) {
	if s.Interleaved {
		return r.interleaved(ctx, s)
	}
	project := r.project()
	ours := newSession(r.Ours, project)
	theirs := make([]*session, len(r.Theirs))
	for i, server := range r.Theirs {
		theirs[i] = newSession(server, project)
	}
	refused := make([]map[int]bool, len(theirs))
	for i := range refused {
		refused[i] = map[int]bool{}
	}
	past := newHistory()
	for _, step := range s.Steps {
		r.Counts.step(step)
		past.enter(step)
		mine, others := r.step(ctx, step, ours, theirs)
		r.show(step, mine, others)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if mine.Code == codes.Unimplemented && r.AllowUnimplemented {
			r.Counts.unimplemented(mine.Message)
			if changes(step) {
				return nil, nil
			}
			continue
		}
		if mine.Code == codes.OK {
			past.leave(ctx, step, mine, ours)
		}
		for i, other := range others {
			switch {
			case other == nil:
				continue
			case other.Code == codes.DeadlineExceeded && mine.Code != codes.DeadlineExceeded:
				r.Counts.unanswered(r.Theirs[i].Name)
				theirs[i] = nil
				continue
			case other.Unresolved != mine.Unresolved:
				if (mine.Code == codes.OK) != (other.Code == codes.OK) {
					refused[i][step.ID] = true
				}
				continue
			}
			c := &Case{Step: step, Ours: mine, Theirs: other, of: r.Theirs[i].Name, past: past, refused: refused[i]}
			differences := compare(mine, other)
			r.Counts.compared(r.Theirs[i].Name, len(differences) == 0)
			for _, d := range differences {
				c.Difference = d
				entries, why := r.justify(r.Theirs[i].Name, c)
				if len(entries) == 0 {
					if r.Show != nil {
						continue
					}
					return &Failure{Script: s, Step: step, Against: r.Theirs[i].Name, Differs: d, Why: why, Ours: mine, Theirs: other}, ctx.Err()
				}
				if (mine.Code == codes.OK) != (other.Code == codes.OK) || d.Aspect == "transaction" {
					refused[i][step.ID], refused[i][c.transaction()] = true, true
				}
				for _, entry := range entries {
					r.Counts.justified(entry.ID)
					if r.Seek != nil && r.Seek(entry.ID, c) {
						return &Failure{Script: s, Step: step, Against: r.Theirs[i].Name, Differs: d, Ours: mine, Theirs: other, Entry: entry.ID}, ctx.Err()
					}
					if entry.Diverges {
						theirs[i] = nil
					}
				}
			}
		}
	}
	return nil, nil
}

func (r *Runner) show(step script.Step, mine *Answer, others []*Answer) {
	if r.Show == nil {
		return
	}
	fmt.Fprintf(r.Show, "# step %d %s %s\n# ours:\n%s", step.ID, step.Method(), oneLine(step.Request), comment(mine.String()))
	for i, a := range others {
		if a != nil {
			fmt.Fprintf(r.Show, "# %s:\n%s", r.Theirs[i].Name, comment(a.String()))
		}
	}
}

// step sends one step to all servers at once.
func (r *Runner) step(ctx context.Context, step script.Step, ours *session, theirs []*session) (mine *Answer, others []*Answer) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	var wg sync.WaitGroup
	others = make([]*Answer, len(theirs))
	for i, s := range theirs {
		if s != nil {
			wg.Go(func() { others[i] = s.do(ctx, step) })
		}
	}
	mine = ours.do(ctx, step)
	wg.Wait()
	return mine, others
}

// changes reports whether a step can change what is stored.
func changes(step script.Step) bool {
	return step.Method() == "Commit"
}
