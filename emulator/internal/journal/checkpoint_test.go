package journal

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// checkpoint replaces the log by the given state.
func checkpoint(t testing.TB, j *Journal, state ...string) {
	t.Helper()
	c, err := j.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range state {
		if err := c.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Commit(); err != nil {
		t.Fatal(err)
	}
}

// files returns the journal's files in dir.
func files(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != lockName {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestCheckpointReplacesTheLog(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, nil)
	add(t, j, numbered(0, 10)...)
	checkpoint(t, j, "state at 10")
	add(t, j, "record 10")
	checkpoint(t, j, "state at 11", "and more")
	add(t, j, "record 11")
	closeNow(t, j)
	if diff := cmp.Diff([]string{"state at 11", "and more", "record 11"}, reopened(t, dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{checkpointName(3), logName(3)}, files(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestEmptyCheckpoint(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, nil)
	add(t, j, "gone")
	checkpoint(t, j)
	closeNow(t, j)
	if got := reopened(t, dir); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}

func TestAbortKeepsTheLog(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, nil)
	add(t, j, "a")
	c, err := j.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Rotate(); !errors.Is(err, ErrCheckpointOpen) {
		t.Errorf("second Rotate: %v, want ErrCheckpointOpen", err)
	}
	if err := c.Write([]byte("half a state")); err != nil {
		t.Fatal(err)
	}
	add(t, j, "b")
	c.Abort()
	c.Abort()
	if err := c.Commit(); err == nil {
		t.Error("Commit after Abort succeeded")
	}
	add(t, j, "c")
	closeNow(t, j)
	if diff := cmp.Diff([]string{"a", "b", "c"}, reopened(t, dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	j, _ = open(t, dir, nil)
	checkpoint(t, j, "abc")
	closeNow(t, j)
	if diff := cmp.Diff([]string{"abc"}, reopened(t, dir)); diff != "" {
		t.Errorf("a later checkpoint (-want +got):\n%s", diff)
	}
}

func TestCloseDropsAnOpenCheckpoint(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, nil)
	add(t, j, "a")
	c, err := j.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	add(t, j, "b")
	closeNow(t, j)
	if err := c.Commit(); !errors.Is(err, ErrClosed) {
		t.Errorf("Commit after Close: %v, want ErrClosed", err)
	}
	c.Abort()
	if diff := cmp.Diff([]string{"a", "b"}, reopened(t, dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func copyFolder(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// The folder as a kill -9 between any two steps of a checkpoint leaves it holds
// the same state, and can be worked with.
func TestKilledBetweenTheStepsOfACheckpoint(t *testing.T) {
	dir := t.TempDir()
	snapshots := map[string]string{}
	o := &Options{step: func(name string) { snapshots[name] = copyFolder(t, dir) }}
	j, _ := open(t, dir, o)
	add(t, j, "a", "b")
	checkpoint(t, j, "ab")
	clear(snapshots)
	add(t, j, "c")
	c, err := j.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	o.step("rotated")
	for _, r := range []string{"d", "e"} { // the log goes on meanwhile
		add(t, j, r)
		if err := c.Write([]byte("abc")[:len(r)]); err != nil {
			t.Fatal(err)
		}
		o.step("appended " + r)
	}
	if err := c.Commit(); err != nil {
		t.Fatal(err)
	}
	// The steps between removals: any subset of the replaced files may be gone.
	partly := copyFolder(t, snapshots["renamed"])
	if err := os.Remove(filepath.Join(partly, checkpointName(2))); err != nil {
		t.Fatal(err)
	}
	snapshots["removed the older checkpoint"] = partly

	old := []string{"ab", "c"}
	want := map[string][]string{
		"rotated":                      old,
		"appended d":                   append(slices.Clone(old), "d"),
		"appended e":                   append(slices.Clone(old), "d", "e"),
		"written":                      append(slices.Clone(old), "d", "e"),
		"synced":                       append(slices.Clone(old), "d", "e"),
		"renamed":                      {"a", "a", "d", "e"},
		"removed the older checkpoint": {"a", "a", "d", "e"},
		"removed":                      {"a", "a", "d", "e"},
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(snapshots))); diff != "" {
		t.Fatalf("steps (-want +got):\n%s", diff)
	}
	for step, snapshot := range snapshots {
		t.Run(step, func(t *testing.T) {
			j, got := open(t, snapshot, nil)
			if diff := cmp.Diff(want[step], got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if left := files(t, snapshot); slices.ContainsFunc(left, func(name string) bool { return strings.HasSuffix(name, partSuffix) }) {
				t.Errorf("Open left half a checkpoint: %v", left)
			}
			add(t, j, "f")
			checkpoint(t, j, "all")
			add(t, j, "g")
			closeNow(t, j)
			if diff := cmp.Diff([]string{"all", "g"}, reopened(t, snapshot)); diff != "" {
				t.Errorf("later (-want +got):\n%s", diff)
			}
			if n := len(files(t, snapshot)); n != 2 {
				t.Errorf("%d files are left, want 2: %v", n, files(t, snapshot))
			}
		})
	}
}

func TestDamagedCheckpointIsRefused(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, nil)
	add(t, j, "a")
	checkpoint(t, j, "some state", "more state")
	closeNow(t, j)
	name := checkpointName(2)
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		flipped := slices.Clone(data)
		flipped[i] ^= 0x10
		for what, bad := range map[string][]byte{"cut": data[:i], "flipped": flipped} {
			if err := os.WriteFile(filepath.Join(dir, name), bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if j, _, err := tryOpen(dir, nil); !errors.Is(err, ErrDamaged) {
				j.Close()
				t.Fatalf("%s at %d: %v, want ErrDamaged", what, i, err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"some state", "more state"}, reopened(t, dir)); diff != "" {
		t.Errorf("repaired (-want +got):\n%s", diff)
	}
	if err := os.Remove(filepath.Join(dir, logName(2))); err != nil {
		t.Fatal(err)
	}
	if _, _, err := tryOpen(dir, nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("a missing log: %v, want ErrDamaged", err)
	}
}
