package journal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// disk is a disk with failures to order, shared by the files on it.
type disk struct {
	room     atomic.Int64 // bytes that can still be written
	syncs    atomic.Bool  // fail
	truncate atomic.Bool  // fail
}

func newDisk() *disk {
	d := &disk{}
	d.room.Store(1 << 40)
	return d
}

func (d *disk) wrap(f file) file { return onDisk{f, d} }

type onDisk struct {
	file
	d *disk
}

func (f onDisk) WriteAt(p []byte, off int64) (int, error) {
	if room := f.d.room.Add(-int64(len(p))); room < 0 {
		n, _ := f.file.WriteAt(p[:max(0, int64(len(p))+room)], off) // as write(2) does: what fits
		f.d.room.Store(0)
		return n, syscall.ENOSPC
	}
	return f.file.WriteAt(p, off)
}

func (f onDisk) Sync() error {
	if f.d.syncs.Load() {
		return syscall.EIO
	}
	return f.file.Sync()
}

func (f onDisk) Truncate(size int64) error {
	if f.d.truncate.Load() {
		return syscall.EIO
	}
	return f.file.Truncate(size)
}

// However many bytes of a record still fit on the disk: the append fails, the
// record never comes back, and appends work again once there is room.
func TestFullDisk(t *testing.T) {
	const record = "does not fit"
	for room := range frameHead + len(record) {
		d := newDisk()
		dir := t.TempDir()
		j, _ := open(t, dir, &Options{Fsync: FsyncNever, wrap: d.wrap})
		add(t, j, "a")
		size := j.Size()
		d.room.Store(int64(room))
		for range 2 {
			if _, err := j.Append([]byte(record)); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), dir) {
				t.Fatalf("room for %d: %v, want ENOSPC and the folder", room, err)
			}
		}
		if info, err := os.Stat(filepath.Join(dir, logName(1))); err != nil || info.Size() != j.current.end {
			t.Errorf("room for %d: the failed append left something in the file (%v)", room, err)
		}
		if j.Size() != size {
			t.Errorf("room for %d: the failed append counts in Size", room)
		}
		crashed := copyFolder(t, dir) // kill -9 right now
		d.room.Store(1 << 20)
		add(t, j, "b")
		closeNow(t, j)
		if diff := cmp.Diff([]string{"a", "b"}, reopened(t, dir)); diff != "" {
			t.Fatalf("room for %d (-want +got):\n%s", room, diff)
		}
		if diff := cmp.Diff([]string{"a"}, reopened(t, crashed)); diff != "" {
			t.Fatalf("room for %d, killed (-want +got):\n%s", room, diff)
		}
	}
}

func TestFailedUndoStopsTheJournal(t *testing.T) {
	d := newDisk()
	dir := t.TempDir()
	j, _ := open(t, dir, &Options{Fsync: FsyncNever, wrap: d.wrap})
	add(t, j, "a")
	d.room.Store(10)
	d.truncate.Store(true)
	if _, err := j.Append([]byte("half of this")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("append: %v, want ENOSPC", err)
	}
	d.room.Store(1 << 20)
	if _, err := j.Append([]byte("b")); err == nil || !strings.Contains(err.Error(), "refuses appends") {
		t.Errorf("the next append: %v, want a refusal", err)
	}
	if _, err := j.Rotate(); err == nil {
		t.Error("Rotate of a broken journal succeeded")
	}
	j.Close()
	if diff := cmp.Diff([]string{"a"}, reopened(t, dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFailedSyncStopsTheJournal(t *testing.T) {
	d := newDisk()
	dir := t.TempDir()
	j, _ := open(t, dir, &Options{Fsync: FsyncAlways, wrap: d.wrap})
	add(t, j, "a")
	d.syncs.Store(true)
	s, err := j.Append([]byte("b"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Wait: %v, want EIO", err)
	}
	d.syncs.Store(false)
	if err := s.Wait(); err == nil {
		t.Error("a second Wait took the lost sync for done")
	}
	if _, err := j.Append([]byte("c")); err == nil || !strings.Contains(err.Error(), "refuses appends") {
		t.Errorf("the next append: %v, want a refusal", err)
	}
	if err := j.Close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Close: %v, want it to say that the end was not synced", err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, reopened(t, dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A sync mark that finds no room is left out; the records are not harmed.
func TestNoRoomForAMark(t *testing.T) {
	d := newDisk()
	dir := t.TempDir()
	j, _ := open(t, dir, &Options{Fsync: FsyncAlways, wrap: d.wrap})
	d.room.Store(frameHead + 1 + 10)
	add(t, j, "a") // waits
	d.room.Store(1 << 20)
	add(t, j, "b")
	closeNow(t, j)
	if diff := cmp.Diff([]string{"a", "b"}, reopened(t, dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A checkpoint that meets a full disk at any byte, or fails to sync, is dropped.
func TestFailedCheckpoint(t *testing.T) {
	state := bytes.Repeat([]byte("state"), 100<<10) // more than is buffered
	for _, room := range []int64{0, int64(headSize) - 1, int64(headSize), 2 * int64(headSize), 300 << 10, int64(len(state)) + 60} {
		d := newDisk()
		dir := t.TempDir()
		j, _ := open(t, dir, &Options{Fsync: FsyncNever, wrap: d.wrap})
		add(t, j, "a")
		size := j.Size()
		d.room.Store(room)
		c, err := j.Rotate()
		if err == nil {
			if err = c.Write(state); err == nil {
				err = c.Commit()
			}
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("room for %d: %v, want ENOSPC", room, err)
		}
		c.Abort()
		d.room.Store(1 << 30)
		add(t, j, "b")
		if j.Size() <= size {
			t.Errorf("room for %d: Size %d forgot what the failed checkpoint was to replace", room, j.Size())
		}
		if diff := cmp.Diff([]string{"a", "b"}, reopened(t, copyFolder(t, dir))); diff != "" {
			t.Fatalf("room for %d (-want +got):\n%s", room, diff)
		}
		checkpoint(t, j, "ab")
		closeNow(t, j)
		if diff := cmp.Diff([]string{"ab"}, reopened(t, dir)); diff != "" {
			t.Fatalf("room for %d, later (-want +got):\n%s", room, diff)
		}
	}

	d := newDisk()
	dir := t.TempDir()
	j, _ := open(t, dir, &Options{Fsync: FsyncNever, wrap: d.wrap})
	add(t, j, "a")
	c, err := j.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	d.syncs.Store(true)
	if err := c.Commit(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Commit: %v, want EIO", err)
	}
	closeNow(t, j)
	if diff := cmp.Diff([]string{"a"}, reopened(t, dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
