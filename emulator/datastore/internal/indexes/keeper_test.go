package indexes

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// record is a log.
type record struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

// take returns what was logged since the last time.
func (r *record) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.text.Reset()
	return r.text.String()
}

// kept is a Keeper with its file and its log.
type kept struct {
	*Keeper
	t    *testing.T
	path string
	log  *record
}

// keep opens a Keeper over a file with the given text; "" makes no file.
func keep(t *testing.T, mode Mode, text string) *kept {
	t.Helper()
	k := &kept{t: t, path: filepath.Join(t.TempDir(), "index.yaml"), log: new(record)}
	if text != "" {
		k.write(text)
	}
	var err error
	k.Keeper, err = Open(&Options{Mode: mode, Path: k.path, Logger: slog.New(slog.NewTextHandler(k.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

// write replaces the file as editors do: a new one takes its name.
func (k *kept) write(text string) {
	k.t.Helper()
	if err := os.WriteFile(k.path+"~", []byte(text), 0o600); err != nil {
		k.t.Fatal(err)
	}
	if err := os.Rename(k.path+"~", k.path); err != nil {
		k.t.Fatal(err)
	}
}

func (k *kept) text() string {
	k.t.Helper()
	text, err := os.ReadFile(k.path)
	if err != nil {
		k.t.Fatal(err)
	}
	return string(text)
}

// pass lets the Keeper look at its file.
func (k *kept) pass() {
	time.Sleep(interval)
	synctest.Wait()
}

// misses tells whether the query, in short, is refused.
func (k *kept) misses(query string) bool {
	k.t.Helper()
	err := k.Missing(asks(k.t, query))
	if _, ok := errors.AsType[*MissingError](err); err != nil && !ok {
		k.t.Errorf("%q: %v", query, err)
	}
	return err != nil
}

func entryOf(text string) string { return defines(text).Text() }

func TestModesInMemory(t *testing.T) {
	for _, c := range []struct {
		mode    Mode
		refuses bool
		adds    int
	}{{"", false, 1}, {Autogen, false, 1}, {Require, true, 0}, {Off, false, 0}} {
		k, err := Open(&Options{Mode: c.mode})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			err = k.Missing(asks(t, "=a +b"))
			if e, ok := errors.AsType[*MissingError](err); ok != c.refuses || ok && short(e.Recommended) != "a b" {
				t.Errorf("%q: %v", c.mode, err)
			}
			if k.Missing(asks(t, "=a =b")) != nil || k.Missing(asks(t, "-a")) != nil {
				t.Errorf("%q asks for an index where the built-in ones do", c.mode)
			}
		}
		if n := k.Set().Len(); n != c.adds {
			t.Errorf("%q: %d indexes, want %d", c.mode, n, c.adds)
		}
		if err := errors.Join(k.Close(), k.Close()); err != nil {
			t.Error(err)
		}
	}
	var none *Keeper
	if none.Missing(asks(t, "=a +b")) != nil || none.Set().Len() != 0 || none.Close() != nil || !errors.Is(none.Create(defines("a b")), ErrNone) {
		t.Error("nil misses or takes something")
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.yaml")
	if err := os.WriteFile(broken, []byte("indexes:\n- kind: K\n  colour: red\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Mode: "lax"}, `index mode "lax": must be autogen, require or off`},
		{Options{Path: broken}, broken + `: line 3: an index has an unknown field "colour": there is kind, ancestor, properties`},
		{Options{Path: dir}, dir + " is not a file"},
		{Options{Mode: Require, Path: filepath.Join(dir, "none.yaml")}, "no such file"},
		{Options{Mode: Off, Path: filepath.Join(dir, "none.yaml")}, "no such file"},
		{Options{Path: filepath.Join(dir, "none", "index.yaml")}, "can't be created"},
		{Options{Path: filepath.Join(broken, "index.yaml")}, "broken.yaml"},
	} {
		if k, err := Open(&c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, %v, want an error with %q", c.o, k, err, c.want)
		}
	}
}

// What is generated is in the file a second later, at most once a second; and
// the mode require then accepts it.
func TestAutogenWritesWhatRequireAccepts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keep(t, Autogen, "")
		k.pass()
		if _, err := os.Stat(k.path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a file without need: %v", err)
		}
		queries := []string{"=b +z", "^ -a", "=b -z", "*a *b", "-k", "=a >b -b", "=k >a"}
		for _, q := range queries {
			if k.misses(q) {
				t.Errorf("%q is refused", q)
			}
		}
		if k.Set().Len() != len(queries) {
			t.Errorf("%d indexes for %d queries", k.Set().Len(), len(queries))
		}
		k.pass()
		want := header + entryOf("k a") + entryOf("-k") + entryOf("a b") + entryOf("a -b") + entryOf("^ -a") + entryOf("b z") + entryOf("b -z")
		if got := k.text(); got != want {
			t.Errorf("the file is\n%s\nwant\n%s", got, want)
		}

		strict, err := Open(&Options{Mode: Require, Path: k.path})
		if err != nil {
			t.Fatal(err)
		}
		defer strict.Close()
		for _, q := range queries {
			if err := strict.Missing(asks(t, q)); err != nil {
				t.Errorf("%q: %v", q, err)
			}
		}
		if strict.Missing(asks(t, "=c +z")) == nil {
			t.Error("another query is not refused")
		}
	})
}

func TestWithoutMarkerNothingIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := "indexes:\n" + entryOf("a z")
		k := keep(t, Autogen, text)
		if k.misses("=a +z") || !k.misses("=a -z") {
			t.Error("a file without the marker must mean require")
		}
		if err := k.Create(defines("a -z")); err != nil || k.misses("=a -z") {
			t.Errorf("created: %v", err)
		}
		k.pass()
		if got := k.text(); got != text {
			t.Errorf("it was written:\n%s", got)
		}
		k.write(text + marker + "\n")
		k.pass()
		if k.Set().Len() != 1 {
			t.Errorf("a changed file replaces what was created: %v", k.Set().All())
		}
		if k.misses("=a -z") {
			t.Error("with the marker, it must be generated")
		}
		k.pass()
		if want := text + marker + "\n" + entryOf("a -z"); k.text() != want {
			t.Errorf("the file is\n%s\nwant\n%s", k.text(), want)
		}
		k.write(text)
		k.pass()
		if !k.misses("=a -z") {
			t.Error("without the marker again, it must be refused")
		}
	})
}

func TestFileIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keep(t, Require, "indexes:\n"+entryOf("a z"))
		var sets []int
		k.Subscribe(func(s *Set) { sets = append(sets, s.Len()) })
		k.pass()
		k.write("indexes:\n" + entryOf("a z") + entryOf("b z"))
		if !k.misses("=b +z") {
			t.Error("it was read before its time")
		}
		k.pass()
		if k.misses("=a =b +z") {
			t.Error("the change was not read")
		}
		for _, trouble := range []func(){
			func() { k.write("indexes:\n- kind: K\n") },
			func() { k.write("indexes: {") },
			func() { _ = os.Remove(k.path) },
		} {
			k.log.take()
			trouble()
			k.pass()
			k.pass()
			if k.misses("=a =b +z") {
				t.Error("trouble with the file has changed the indexes")
			}
			if log := k.log.take(); strings.Count(log, "level=ERROR") != 1 {
				t.Errorf("the log must have one error: %s", log)
			}
		}
		k.write("indexes:\n" + entryOf("b z"))
		k.pass()
		if log := k.log.take(); !strings.Contains(log, "in order again") || !k.misses("=a +z") || k.misses("=b +z") {
			t.Errorf("the file that is in order again was not read: %s", log)
		}
		if got := fmt.Sprint(sets); got != "[1 2 1]" {
			t.Errorf("the subscriber saw sets of %s", got)
		}
	})
}

// A file that can't be read is not written either.
func TestBrokenFileIsNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keep(t, Autogen, header)
		broken := header + "- kind: K\n"
		k.write(broken)
		if k.misses("=a +z") {
			t.Error("refused")
		}
		k.pass()
		k.pass()
		if k.text() != broken {
			t.Errorf("it was written:\n%s", k.text())
		}
		k.write(mine)
		k.pass()
		if want := mine + entryOf("a z"); k.text() != want {
			t.Errorf("the file is\n%s\nwant\n%s", k.text(), want)
		}
		_ = os.Remove(k.path)
		k.pass()
		if k.Set().Len() != 2 || k.misses("=a -z") {
			t.Error("the file was deleted, not the indexes")
		}
		k.pass()
		if !strings.HasPrefix(k.text(), header) || strings.Count(k.text(), "- kind") != 3 {
			t.Errorf("the file that was deleted is now\n%s", k.text())
		}
	})
}

func TestNothingIsWrittenOverOthersChanges(t *testing.T) {
	k := keep(t, Off, header)
	k.write(mine)
	if err := k.file.write(k.Keeper, header); !errors.Is(err, errChanged) || k.text() != mine {
		t.Errorf("%v:\n%s", err, k.text())
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(k.path), ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestLinksAndPermissionsStay(t *testing.T) {
	k := keep(t, Autogen, header)
	link := filepath.Join(t.TempDir(), "link.yaml")
	if err := os.Symlink(k.path, link); err != nil {
		t.Skip(err)
	}
	linked, err := Open(&Options{Path: link})
	if err != nil {
		t.Fatal(err)
	}
	if err := linked.Missing(asks(t, "=a +z")); err != nil {
		t.Error(err)
	}
	if err := linked.Close(); err != nil {
		t.Error(err)
	}
	if want := header + entryOf("a z"); k.text() != want {
		t.Errorf("the file is\n%s", k.text())
	}
	if info, err := os.Stat(k.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link became %v, %v", info.Mode(), err)
	}
}

func TestCloseWritesTheRestOrSaysWhy(t *testing.T) {
	k := keep(t, Autogen, "")
	if k.misses("=a +z") {
		t.Error("refused")
	}
	if err := errors.Join(k.Close(), k.Close()); err != nil || k.text() != header+entryOf("a z") {
		t.Errorf("%v:\n%s", err, k.text())
	}

	k = keep(t, Autogen, "")
	_ = k.misses("=a +z")
	if err := os.RemoveAll(filepath.Dir(k.path)); err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is gone: %v", err)
	}
}

func TestCreateAndDelete(t *testing.T) {
	k := keep(t, Autogen, mine+entryOf("a z"))
	if err := k.Create(defines("a z")); !errors.Is(err, ErrExists) {
		t.Errorf("twice: %v", err)
	}
	if err := k.Create(Definition{Kind: "K"}); err == nil || !strings.Contains(err.Error(), "0 properties") {
		t.Errorf("without properties: %v", err)
	}
	if err := k.Create(defines("b z")); err != nil {
		t.Error(err)
	}
	for _, d := range []string{"a z", "b z", "never there"} {
		if err := k.Delete(defines(d)); err != nil || k.Set().Has(defines(d)) {
			t.Errorf("%s: %v", d, err)
		}
	}
	if k.text() != mine {
		t.Errorf("the file is\n%s", k.text())
	}
	note := k.Set().All()[0]
	if _, ok := errors.AsType[*AboveError](k.Delete(note)); !ok || !k.Set().Has(note) {
		t.Error("what is above the marker could be deleted")
	}
	if err := k.Close(); err != nil || k.text() != mine {
		t.Errorf("%v: the file is\n%s", err, k.text())
	}
}

func TestGeneratedIndexesAreBounded(t *testing.T) {
	k, err := Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxGenerated + 10 {
		if err := k.Missing(asks(t, fmt.Sprintf("=a +p%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	if n := k.Set().Len(); n != maxGenerated {
		t.Errorf("%d indexes, want %d", n, maxGenerated)
	}
	if err := k.Missing(Query{Kind: strings.Repeat("K", 1501), Orders: []Property{{"a", false}, {"b", false}}}); err != nil {
		t.Error(err)
	}
	for i := k.Set().Len(); i < maxIndexes; i++ {
		if err := k.Create(defines(fmt.Sprintf("b p%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Create(defines("c d")); !errors.Is(err, ErrFull) {
		t.Errorf("over the limit: %v", err)
	}
}

func TestConcurrentQueries(t *testing.T) {
	k := keep(t, Autogen, "")
	seen := 0
	k.Subscribe(func(s *Set) { seen = s.Len() })
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 20 {
				_ = k.Missing(asks(t, fmt.Sprintf("=a +p%d", (i+j)%20)))
			}
		})
	}
	all.Wait()
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(k.text(), "- kind"); n != 20 || seen != 20 {
		t.Errorf("%d entries, %d seen, want 20", n, seen)
	}
}

func BenchmarkMissing(b *testing.B) {
	for _, c := range []struct {
		name string
		q    Query
	}{
		{"simple", Query{Kind: "K", Equal: []string{"a", "b"}}},
		{"one order", Query{Kind: "K", Orders: []Property{{"a", true}}}},
		{"composite", Query{Kind: "K", Ancestor: true, Equal: []string{"a", "b"}, Unequal: []string{"z"}, Orders: []Property{{"z", true}}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			k, err := Open(nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := k.Missing(c.q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
