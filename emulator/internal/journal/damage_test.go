package journal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// writeLog makes a folder with one log of three records, of which the first two
// are covered by a sync mark if marked, and returns the log's bytes and the
// offset behind each record.
func writeLog(t *testing.T, marked bool) (dir string, data []byte, ends []int) {
	t.Helper()
	dir = t.TempDir()
	j, _ := open(t, dir, &Options{Fsync: FsyncNever})
	for i, r := range []string{"first", "second", "third"} {
		add(t, j, r)
		ends = append(ends, int(j.current.end))
		if marked && i == 1 {
			if err := j.sync(); err != nil {
				t.Fatal(err)
			}
		}
	}
	closeNow(t, j)
	data, err := os.ReadFile(filepath.Join(dir, logName(1)))
	if err != nil {
		t.Fatal(err)
	}
	return dir, data, ends
}

func overwrite(t testing.TB, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A crash may leave the unsynced end of a log cut at any byte, or zeroed, or
// scrambled from any byte on. What was whole before that byte comes back, the
// rest is reported, and the log goes on.
func TestTornTails(t *testing.T) {
	dir, data, ends := writeLog(t, false)
	records := []string{"first", "second", "third"}
	for at := range data {
		whole := 0
		for whole < 3 && ends[whole] <= at {
			whole++
		}
		zeroed, scrambled := slices.Clone(data), slices.Clone(data)
		for i := at; i < len(data); i++ {
			zeroed[i] = 0
			scrambled[i] ^= byte(1 + i%255)
		}
		for what, torn := range map[string][]byte{"cut": data[:at], "zeroed": zeroed, "scrambled": scrambled} {
			overwrite(t, dir, logName(1), torn)
			logger, messages := logged()
			j, got, err := tryOpen(dir, &Options{Logger: logger, Fsync: FsyncNever})
			if err != nil {
				t.Fatalf("%s at %d: %v", what, at, err)
			}
			if diff := cmp.Diff(append([]string{}, records[:whole]...), got); diff != "" {
				t.Fatalf("%s at %d (-want +got):\n%s", what, at, diff)
			}
			clean := what == "cut" && (slices.Contains(ends, at) || at == headSize)
			if reported := strings.Contains(messages(), "cut off"); reported == clean {
				t.Fatalf("%s at %d: the log says %q", what, at, messages())
			}
			add(t, j, "after")
			closeNow(t, j)
			if diff := cmp.Diff(append(slices.Clone(got), "after"), reopened(t, dir)); diff != "" {
				t.Fatalf("%s at %d, appended to (-want +got):\n%s", what, at, diff)
			}
		}
	}
}

// What a sync mark covers must not change: any flipped bit in it is refused. The
// mark itself and what follows is not covered.
func TestDamageBeforeTheLastSyncMarkIsRefused(t *testing.T) {
	dir, data, ends := writeLog(t, true)
	for at := range data {
		damaged := slices.Clone(data)
		damaged[at] ^= 0x04
		overwrite(t, dir, logName(1), damaged)
		j, got, err := tryOpen(dir, &Options{Fsync: FsyncNever})
		if at < ends[1] {
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), logName(1)) {
				t.Fatalf("flipped at %d: %v, want ErrDamaged with folder and file", at, err)
			}
			if after, _ := os.ReadFile(filepath.Join(dir, logName(1))); !slices.Equal(after, damaged) {
				t.Fatalf("flipped at %d: the refused file was changed", at)
			}
			continue
		}
		if err != nil {
			t.Fatalf("flipped at %d: %v", at, err)
		}
		closeNow(t, j)
		if diff := cmp.Diff([]string{"first", "second"}, got); diff != "" {
			t.Fatalf("flipped at %d (-want +got):\n%s", at, diff)
		}
	}
}

// A record may hold the bytes of a mark, of another log or made up: they vouch
// for nothing.
func TestMarksInsideRecordsDontCount(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, &Options{Fsync: FsyncNever})
	add(t, j, "first")
	at := j.current.end
	add(t, j, "second", string(appendMark(nil, newFileID(), 1<<40)))
	closeNow(t, j)
	data, err := os.ReadFile(filepath.Join(dir, logName(1)))
	if err != nil {
		t.Fatal(err)
	}
	data[at] ^= 1
	overwrite(t, dir, logName(1), data)
	if diff := cmp.Diff([]string{"first"}, reopened(t, dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A mark covers what had been appended when its sync began, not what came while
// the sync ran.
func TestMarkCoversOnlyWhatItSays(t *testing.T) {
	dir, data, ends := writeLog(t, false)
	data[ends[1]-1] ^= 1 // in the second record
	mark := appendMark(nil, fileID(data[len(magic):len(magic)+idSize]), int64(ends[0]))
	overwrite(t, dir, logName(1), slices.Concat(data[:ends[1]], mark))
	if diff := cmp.Diff([]string{"first"}, reopened(t, dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMarkFarBehindTheDamage(t *testing.T) { // and at the edge of what findMark reads at once
	dir := t.TempDir()
	j, _ := open(t, dir, &Options{Fsync: FsyncNever})
	add(t, j, "first", strings.Repeat("x", 1<<20-3*frameHead-len("first")))
	if err := j.sync(); err != nil {
		t.Fatal(err)
	}
	closeNow(t, j)
	data, err := os.ReadFile(filepath.Join(dir, logName(1)))
	if err != nil {
		t.Fatal(err)
	}
	for cut := 1; cut < 2*(frameHead+markSize); cut++ {
		overwrite(t, dir, logName(1), slices.Concat(data[:headSize], data[headSize+cut:]))
		if _, _, err := tryOpen(dir, nil); !errors.Is(err, ErrDamaged) {
			t.Fatalf("%d bytes missing: %v, want ErrDamaged", cut, err)
		}
	}
}

// Damage in a log that a later log follows: the later one is cut off too, unless
// it holds a mark, which vouches for every older log.
func TestDamageInAnOlderLog(t *testing.T) {
	for _, marked := range []bool{false, true} {
		dir := t.TempDir()
		j, _ := open(t, dir, &Options{Fsync: FsyncNever})
		add(t, j, "first", "second")
		end := j.current.end
		c, err := j.Rotate()
		if err != nil {
			t.Fatal(err)
		}
		add(t, j, "third")
		if marked {
			if err := j.sync(); err != nil {
				t.Fatal(err)
			}
		}
		c.Abort()
		closeNow(t, j)
		if err := os.Truncate(filepath.Join(dir, logName(1)), end-1); err != nil {
			t.Fatal(err)
		}
		j, got, err := tryOpen(dir, nil)
		if marked {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("with a mark: %v, want ErrDamaged", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		add(t, j, "after")
		closeNow(t, j)
		if diff := cmp.Diff([]string{"first"}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"first", "after"}, reopened(t, dir)); diff != "" {
			t.Errorf("afterwards (-want +got):\n%s", diff)
		}
	}
}

func TestOtherFormatVersionIsRefused(t *testing.T) {
	dir, data, _ := writeLog(t, false)
	head := slices.Concat([]byte(strings.Replace(magic, "v1", "v2", 1)), data[len(magic):headSize-4])
	head = binary.LittleEndian.AppendUint32(head, crc32.Checksum(head, castagnoli))
	overwrite(t, dir, logName(1), slices.Concat(head, data[headSize:]))
	if _, _, err := tryOpen(dir, nil); err == nil || !strings.Contains(err.Error(), "v2") {
		t.Errorf("error %v, want one that names the version", err)
	}
}

// A log that lost its marks together with what they covered looks like one that
// was never synced: it is cut off, and the report doesn't say that nothing was.
func TestLostMarksVouchForNothing(t *testing.T) {
	dir, data, ends := writeLog(t, true)
	for at := range ends[1] {
		overwrite(t, dir, logName(1), data[:at])
		logger, messages := logged()
		j, got, err := tryOpen(dir, &Options{Logger: logger, Fsync: FsyncNever})
		if err != nil {
			t.Fatalf("cut at %d: %v", at, err)
		}
		closeNow(t, j)
		if want := at >= ends[0]; (len(got) == 1) != want || len(got) > 1 {
			t.Fatalf("cut at %d: %q", at, got)
		}
		if at == ends[0] || at == headSize {
			continue // nothing is left of the loss, and nothing reported
		}
		if !strings.Contains(messages(), "no sync mark that is left covers") {
			t.Fatalf("cut at %d: the log says %q", at, messages())
		}
	}
}

// FuzzOpen opens a folder whose log is arbitrary: it is refused, or what was
// found is what every later Open finds, and appending works.
func FuzzOpen(f *testing.F) {
	id := fileID{1, 2, 3}
	head := appendHeader(nil, id)
	record := appendFrame(nil, kindRecord, []byte("a record"))
	f.Add([]byte{})
	f.Add(head)
	f.Add(slices.Concat(head, record, record))
	f.Add(slices.Concat(head, record, record[:len(record)-3]))
	f.Add(slices.Concat(head, record, appendMark(nil, id, int64(headSize+len(record))), record))
	f.Add(slices.Concat(head, record[1:], appendMark(nil, id, int64(headSize+len(record))), record))
	f.Add(slices.Concat(head, []byte{0xff, 0xff, 0xff, 0x3f}, record))
	f.Add(slices.Concat(head, appendFrame(nil, kindEnd, make([]byte, 8)), appendFrame(nil, kindMask, nil)))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		overwrite(t, dir, logName(1), data)
		o := &Options{Fsync: FsyncNever}
		j, found, err := tryOpen(dir, o)
		if err != nil {
			return
		}
		add(t, j, "more")
		closeNow(t, j)
		j, got := open(t, dir, o)
		closeNow(t, j)
		if diff := cmp.Diff(append(found, "more"), got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// unsynced is a file on a fast disk.
type unsynced struct{ file }

func (unsynced) Sync() error { return nil }

// Any sequence of appends, checkpoints, aborts and reopenings keeps the records.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		policy := rapid.SampledFrom([]Fsync{FsyncNever, FsyncInterval}).Draw(rt, "policy")
		want := []string{}
		var c *Checkpoint
		var state []string
		o := &Options{Fsync: policy, wrap: func(f file) file { return unsynced{f} }}
		j, _ := open(t, dir, o)
		defer func() { j.Close() }()
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				r := rapid.StringN(0, 20, -1).Draw(rt, "record")
				add(t, j, r)
				want = append(want, r)
			},
			"rotate": func(rt *rapid.T) {
				if c != nil {
					rt.Skip("open already")
				}
				var err error
				if c, err = j.Rotate(); err != nil {
					rt.Fatal(err)
				}
				state = slices.Clone(want)
			},
			"commit": func(rt *rapid.T) {
				if c == nil {
					rt.Skip("none is open")
				}
				for _, r := range state {
					if err := c.Write([]byte(r)); err != nil {
						rt.Fatal(err)
					}
				}
				if err := c.Commit(); err != nil {
					rt.Fatal(err)
				}
				c = nil
			},
			"abort": func(rt *rapid.T) {
				c.Abort()
				c = nil
			},
			"sync": func(rt *rapid.T) {
				if err := j.sync(); err != nil {
					rt.Fatal(err)
				}
			},
			"reopen": func(rt *rapid.T) {
				closeNow(t, j)
				c = nil
				var got []string
				j, got = open(t, dir, o)
				if diff := cmp.Diff(want, got); diff != "" {
					rt.Fatalf("(-want +got):\n%s", diff)
				}
			},
		})
	})
}
