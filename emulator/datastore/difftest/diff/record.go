package diff

import (
	"context"

	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
)

// Record runs the script of a failure once more on the server that it is about,
// and returns it with what that server answered.
func (r *Runner) Record(ctx context.Context, f *Failure) (script.Script, error) {
	s := f.Script.Clone()
	s.Recorded = f.Against
	for _, server := range r.Theirs {
		if server.Name != f.Against {
			continue
		}
		theirs := newSession(server, r.project())
		for i := range s.Steps {
			s.Steps[i].Replies = theirs.do(ctx, s.Steps[i]).Replies
		}
	}
	return s, ctx.Err()
}
