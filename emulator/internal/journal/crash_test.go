package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// ledger notes how much of each file is on stable storage.
type ledger struct {
	mu     sync.Mutex
	synced map[string]int64
}

func (l *ledger) wrap(f file) file {
	name := filepath.Base(f.(*os.File).Name())
	return &onLedger{file: f, ledger: l, name: name}
}

type onLedger struct {
	file
	ledger *ledger
	name   string
	end    atomic.Int64
}

func (f *onLedger) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.file.WriteAt(p, off)
	f.end.Store(off + int64(n)) // writes only ever append here
	return n, err
}

func (f *onLedger) Sync() error {
	end := f.end.Load()
	f.ledger.mu.Lock()
	defer f.ledger.mu.Unlock()
	f.ledger.synced[f.name] = max(end, f.ledger.synced[f.name])
	return nil
}

// powerLoss returns the folder without what was not synced, or with half of it,
// as if that had been written back by chance.
func (l *ledger) powerLoss(t *testing.T, dir string, keepHalf bool) string {
	t.Helper()
	crashed := copyFolder(t, dir)
	for _, name := range files(t, crashed) {
		info, err := os.Stat(filepath.Join(crashed, name))
		if err != nil {
			t.Fatal(err)
		}
		size := max(l.synced[name], l.synced[name+".part"]) // a checkpoint is synced under that name
		if keepHalf {
			size += (info.Size() - size) / 2
		}
		if err := os.Truncate(filepath.Join(crashed, name), size); err != nil {
			t.Fatal(err)
		}
	}
	return crashed
}

// A committed checkpoint survives under every policy, for what it replaced is gone.
func TestPowerLossAfterACheckpoint(t *testing.T) {
	for _, policy := range []Fsync{FsyncNever, FsyncAlways} {
		l := &ledger{synced: map[string]int64{}}
		dir := t.TempDir()
		j, _ := open(t, dir, &Options{Fsync: policy, wrap: l.wrap})
		add(t, j, "a")
		checkpoint(t, j, "state")
		add(t, j, "b")
		want := []string{"state"}
		if policy == FsyncAlways {
			want = append(want, "b")
		}
		if diff := cmp.Diff(want, reopened(t, l.powerLoss(t, dir, false))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", policy, diff)
		}
	}
}

// A power loss takes whatever was not synced, of any file. What a Wait vouched
// for is there nevertheless, and the folder is never taken for damaged.
func TestPowerLoss(t *testing.T) {
	for _, keepHalf := range []bool{false, true} {
		l := &ledger{synced: map[string]int64{}}
		dir := t.TempDir()
		j, _ := open(t, dir, &Options{Fsync: FsyncAlways, wrap: l.wrap})
		var mu sync.Mutex
		safe := map[string]bool{}
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := range 50 {
					r := fmt.Sprintf("%d/%d", g, i)
					s, err := j.Append([]byte(r))
					if err == nil && i%5 > 0 { // some are in a hurry
						err = s.Wait()
						mu.Lock()
						safe[r] = err == nil
						mu.Unlock()
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		for range 5 {
			c, err := j.Rotate()
			if err != nil {
				t.Error(err)
			}
			c.Abort()
		}
		wg.Wait()
		for _, r := range reopened(t, l.powerLoss(t, dir, keepHalf)) {
			delete(safe, r)
		}
		if len(safe) > 0 {
			t.Errorf("%d records are lost that a Wait had vouched for: %v", len(safe), safe)
		}
	}
}

// Appends, syncs, checkpoints and Close at the same time: what an Append
// acknowledged before the end is there.
func TestConcurrentUse(t *testing.T) {
	for _, policy := range []Fsync{FsyncNever, FsyncInterval, FsyncAlways} {
		dir := t.TempDir()
		j, _ := open(t, dir, &Options{Fsync: policy, Interval: time.Microsecond})
		var state sync.Mutex // orders appends, as the servers' does
		var want []string
		var wg sync.WaitGroup
		for g := range 3 {
			wg.Go(func() {
				for i := 0; ; i++ {
					r := fmt.Sprintf("%d/%d", g, i)
					state.Lock()
					s, err := j.Append([]byte(r))
					if err == nil {
						want = append(want, r)
					}
					state.Unlock()
					if err == nil {
						err = s.Wait()
					}
					if errors.Is(err, ErrClosed) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for range 5 {
			state.Lock()
			c, err := j.Rotate()
			copied := slices.Clone(want)
			state.Unlock()
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range copied {
				if err := c.Write([]byte(r)); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.Commit(); err != nil {
				t.Fatal(err)
			}
		}
		closeNow(t, j)
		wg.Wait()
		if diff := cmp.Diff(want, reopened(t, dir), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", policy, diff)
		}
	}
}
