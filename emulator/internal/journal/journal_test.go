package journal

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// open returns a journal on dir and the records found in it.
func open(t testing.TB, dir string, o *Options) (*Journal, []string) {
	t.Helper()
	j, got, err := tryOpen(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j, got
}

func tryOpen(dir string, o *Options) (*Journal, []string, error) {
	got := []string{}
	j, err := Open(dir, o, func(r []byte) error { got = append(got, string(r)); return nil })
	return j, got, err
}

// reopened returns what a fresh Open finds.
func reopened(t testing.TB, dir string) []string {
	t.Helper()
	j, got := open(t, dir, nil)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return got
}

func add(t testing.TB, j *Journal, records ...string) {
	t.Helper()
	for _, r := range records {
		s, err := j.Append([]byte(r))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

func closeNow(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// numbered returns n records from first on.
func numbered(first, n int) []string {
	out := []string{}
	for i := range n {
		out = append(out, fmt.Sprintf("record %d", first+i))
	}
	return out
}

func TestRecordsComeBackInOrder(t *testing.T) {
	for _, policy := range []Fsync{"", FsyncNever, FsyncInterval, FsyncAlways} {
		t.Run(string(policy), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "made", "on demand")
			want := append(numbered(0, 100), "", strings.Repeat("x", 1<<20))
			j, got := open(t, dir, &Options{Fsync: policy})
			if len(got) != 0 {
				t.Fatalf("a new folder has %q", got)
			}
			add(t, j, want...)
			closeNow(t, j)
			j, got = open(t, dir, &Options{Fsync: policy})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("reopened (-want +got):\n%s", diff)
			}
			add(t, j, "one more")
			closeNow(t, j)
			if got := reopened(t, dir); len(got) != len(want)+1 || got[len(want)] != "one more" {
				t.Errorf("after a second run: %d records", len(got))
			}
		})
	}
}

func TestNilJournal(t *testing.T) {
	var j *Journal
	s, err := j.Append([]byte("x"))
	c, rerr := j.Rotate()
	if err := errors.Join(err, s.Wait(), rerr, c.Write(nil), c.Commit(), j.Close()); err != nil {
		t.Error(err)
	}
	c.Abort()
	if j.Size() != 0 {
		t.Errorf("size %d", j.Size())
	}
}

func TestBadInput(t *testing.T) {
	for _, test := range []struct {
		name string
		err  func() error
		want []string
	}{
		{"policy", func() error { _, err := ParseFsync("sometimes"); return err }, []string{`"sometimes"`, "never, interval or always"}},
		{"option", func() error { _, _, err := tryOpen(t.TempDir(), &Options{Fsync: "x"}); return err }, []string{`"x"`}},
		{"interval", func() error { _, _, err := tryOpen(t.TempDir(), &Options{Interval: -1}); return err }, []string{"-1ns"}},
		{"a file for a folder", func() error { _, _, err := tryOpen(os.Args[0], nil); return err }, []string{os.Args[0]}},
		{"record", func() error {
			j, _ := open(t, t.TempDir(), nil)
			_, err := j.Append(make([]byte, MaxRecord+1))
			return err
		}, []string{"67108865", "67108864"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.err()
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want one with %s", err, want)
				}
			}
		})
	}
}

func TestApplyErrorEndsOpen(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, nil)
	add(t, j, "a", "b")
	closeNow(t, j)
	bad := errors.New("bad record")
	if _, err := Open(dir, nil, func([]byte) error { return bad }); !errors.Is(err, bad) || !strings.Contains(err.Error(), dir) {
		t.Errorf("error %v, want apply's and the folder", err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, reopened(t, dir)); diff != "" {
		t.Errorf("the failed Open changed the folder (-want +got):\n%s", diff)
	}
}

func TestClosed(t *testing.T) {
	j, _ := open(t, t.TempDir(), nil)
	closeNow(t, j)
	closeNow(t, j)
	if _, err := j.Append(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("append: %v", err)
	}
	if _, err := j.Rotate(); !errors.Is(err, ErrClosed) {
		t.Errorf("rotate: %v", err)
	}
}

func TestOneOwner(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, nil)
	add(t, j, "mine")
	if _, _, err := tryOpen(dir, nil); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second owner: %v, want ErrInUse and the folder", err)
	}
	closeNow(t, j)
	if diff := cmp.Diff([]string{"mine"}, reopened(t, dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOtherFilesAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	names := []string{"key.pem", "1.log", "0000000000000001.log.bak", "000000000000000x.log", "0000000000000000.log", "notes.txt"}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("not a journal"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	j, _ := open(t, dir, nil)
	add(t, j, "a")
	checkpoint(t, j, "state")
	closeNow(t, j)
	for _, name := range names {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != "not a journal" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestAppendersShareTheLog(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, &Options{Fsync: FsyncAlways})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 20 {
				s, err := j.Append(fmt.Appendf(nil, "%d/%d", g, i))
				if err == nil {
					err = s.Wait()
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	closeNow(t, j)
	next := map[string]int{}
	for _, r := range reopened(t, dir) {
		g, i, _ := strings.Cut(r, "/")
		if fmt.Sprint(next[g]) != i {
			t.Fatalf("record %s came when %d was due", r, next[g])
		}
		next[g]++
	}
	if len(next) != 8 {
		t.Errorf("records of %d appenders, want 8", len(next))
	}
}

// counting counts syncs.
type counting struct {
	file
	mu    *sync.Mutex
	syncs *int
}

func (c counting) Sync() error {
	c.mu.Lock()
	*c.syncs++
	c.mu.Unlock()
	return c.file.Sync()
}

func countSyncs(o *Options) (count func() int) {
	var mu sync.Mutex
	var n int
	o.wrap = func(f file) file { return counting{f, &mu, &n} }
	return func() int { mu.Lock(); defer mu.Unlock(); return n }
}

func TestWhenSyncsHappen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &Options{Fsync: FsyncInterval}
		syncs := countSyncs(o)
		dir := t.TempDir()
		j, _ := open(t, dir, o)
		time.Sleep(time.Hour)
		if n := syncs(); n != 0 {
			t.Errorf("%d syncs with nothing appended", n)
		}
		add(t, j, numbered(0, 50)...)
		if n := syncs(); n != 0 {
			t.Errorf("%d syncs before the interval", n)
		}
		time.Sleep(100*time.Millisecond + 1)
		synctest.Wait()
		if n := syncs(); n != 1 {
			t.Errorf("%d syncs after one interval, want 1", n)
		}
		time.Sleep(time.Hour)
		if n := syncs(); n != 1 {
			t.Errorf("%d syncs after an idle hour, want 1", n)
		}
		closeNow(t, j)
		if n := syncs(); n != 1 {
			t.Errorf("%d syncs after closing what was synced, want 1", n)
		}
	})

	o := &Options{Fsync: FsyncNever}
	syncs := countSyncs(o)
	j, _ := open(t, t.TempDir(), o)
	add(t, j, "a", "b")
	closeNow(t, j)
	if n := syncs(); n != 0 {
		t.Errorf("never: %d syncs", n)
	}

	o = &Options{Fsync: FsyncAlways}
	syncs = countSyncs(o)
	j, _ = open(t, t.TempDir(), o)
	add(t, j, "a", "b", "c")
	if n := syncs(); n != 3 {
		t.Errorf("always: %d syncs for three records in turn, want 3", n)
	}
	last := Synced{}
	for range 100 {
		s, err := j.Append([]byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		last = s
	}
	if err := last.Wait(); err != nil || syncs() != 4 {
		t.Errorf("100 records and one wait: %d syncs, %v; want one more", syncs()-3, err)
	}
}

func TestSize(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, &Options{Fsync: FsyncNever})
	add(t, j, strings.Repeat("x", 1000))
	one := j.Size()
	if one < 1000 || one > 1100 {
		t.Errorf("size %d after 1,000 bytes", one)
	}
	c, err := j.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	add(t, j, "y")
	if n := j.Size(); n > 100 {
		t.Errorf("size %d after Rotate and one byte", n)
	}
	c.Abort()
	two := j.Size()
	if two < one {
		t.Errorf("size %d after Abort, want at least %d", two, one)
	}
	closeNow(t, j)
	j, _ = open(t, dir, &Options{Fsync: FsyncNever})
	if n := j.Size(); n != two {
		t.Errorf("size %d after reopening, want %d", n, two)
	}
}

// logged collects the messages of a logger.
func logged() (*slog.Logger, func() string) {
	var b strings.Builder
	return slog.New(slog.NewTextHandler(&b, nil)), b.String
}

func BenchmarkAppend(b *testing.B) {
	for _, policy := range []Fsync{FsyncNever, FsyncInterval, FsyncAlways} {
		for _, parallel := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/appenders=%d", policy, parallel), func(b *testing.B) {
				j, _ := open(b, b.TempDir(), &Options{Fsync: policy})
				record := make([]byte, 300)
				b.SetParallelism(parallel)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						s, err := j.Append(record)
						if err == nil {
							err = s.Wait()
						}
						if err != nil {
							b.Error(err)
						}
					}
				})
			})
		}
	}
}

func BenchmarkOpenEmpty(b *testing.B) {
	for b.Loop() {
		j, _ := open(b, b.TempDir(), nil)
		j.Close()
	}
}
