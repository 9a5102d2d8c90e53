package export

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
)

func writeLog(t testing.TB, records ...[]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	log := newLogWriter(&out)
	for _, r := range records {
		if err := log.write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.flush(); err != nil {
		t.Fatal(err)
	}
	if int64(out.Len()) != log.bytes {
		t.Fatalf("%d bytes where the writer counted %d", out.Len(), log.bytes)
	}
	return out.Bytes()
}

func readLog(file []byte) (records [][]byte, err error) {
	log := newLogReader(bytes.NewReader(file))
	for {
		r, err := log.next()
		if errors.Is(err, io.EOF) {
			return records, nil
		}
		if err != nil {
			return records, err
		}
		records = append(records, bytes.Clone(r))
	}
}

// TestLogFormat: the bytes of a log, as LevelDB's documentation has them.
func TestLogFormat(t *testing.T) {
	got := writeLog(t, []byte("3"))
	if want := "\xb8\x6d\x44\x4e\x01\x00\x013"; string(got) != want {
		t.Errorf("got %x; want %x", got, want)
	}
	// Six bytes are left of the first block: too few for a header.
	filled := writeLog(t, make([]byte, blockSize-headerSize-6), []byte("x"))
	if tail := filled[blockSize-6 : blockSize]; !bytes.Equal(tail, make([]byte, 6)) || filled[blockSize+6] != chunkFull {
		t.Errorf("the block ends in %x, the next begins with %x", tail, filled[blockSize:])
	}
	// Seven are enough for one, and no data.
	filled = writeLog(t, make([]byte, blockSize-2*headerSize), []byte("x"))
	if kind := filled[blockSize-1]; kind != chunkFirst {
		t.Errorf("a block with room for a header ends in %d", kind)
	}
}

func TestLogsOfAllSizes(t *testing.T) {
	var records [][]byte
	for _, size := range []int{0, 1, blockSize - 2*headerSize - 1, 0, 100, blockSize - headerSize, blockSize, 3*blockSize + 17, 5} {
		records = append(records, bytes.Repeat([]byte{byte(size + 1)}, size))
	}
	for i := range records {
		rest := slices.Concat(records[i:], records[:i])
		got, err := readLog(writeLog(t, rest...))
		if err != nil || !slices.EqualFunc(got, rest, bytes.Equal) {
			t.Errorf("from %d on: %d records, %v", i, len(got), err)
		}
	}
	if err := newLogWriter(io.Discard).write(make([]byte, MaxRecord+1)); err == nil {
		t.Error("a record that can't be read back was written")
	}
}

// TestLogDamage: whatever byte is wrong, what is read is what was written up to
// there, and the rest an error.
func TestLogDamage(t *testing.T) {
	records := [][]byte{[]byte("one"), bytes.Repeat([]byte("two"), blockSize), []byte("three")}
	file := writeLog(t, records...)
	check := func(what string, offset int, damaged []byte) {
		t.Helper()
		got, err := readLog(damaged)
		if len(got) > len(records) || !slices.EqualFunc(got, records[:len(got)], bytes.Equal) {
			t.Errorf("%s at %d: read what was never written", what, offset)
		}
		if len(got) < len(records) && err == nil {
			t.Errorf("%s at %d: %d records and no error", what, offset, len(got))
		}
	}
	for _, offset := range []int{0, 4, 5, 6, 7, 10, 11, 14, 16, blockSize - 1, blockSize, blockSize + 4, blockSize + 6, 2 * blockSize, len(file) - 6, len(file) - 1} {
		damaged := bytes.Clone(file)
		damaged[offset] ^= 0x10
		check("a wrong byte", offset, damaged)
	}
	for _, length := range []int{1, 6, 7, 9, 11, 20, blockSize - 1, blockSize, blockSize + 3, blockSize + 7, len(file) - 1} {
		got, err := readLog(file[:length])
		whole := length == 10
		if len(got) < len(records) && err == nil && !whole {
			t.Errorf("the file cut at %d: %d records and no error", length, len(got))
		}
	}
	log := newLogReader(bytes.NewReader(slices.Concat(file[:10], []byte("\x00\x00\x00\x00\x00\x00\x09"))))
	for range 2 {
		_, _ = log.next()
	}
	if log.start != 10 {
		t.Errorf("the damage is said to begin at %d", log.start)
	}
}

// FuzzLog: what can be read is what writing it again gives.
func FuzzLog(f *testing.F) {
	f.Add(writeLog(f, []byte("3"), nil, []byte("abc")))
	f.Add(writeLog(f, make([]byte, blockSize), []byte("x")))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, file []byte) {
		records, err := readLog(file)
		if err != nil {
			return
		}
		again, err := readLog(writeLog(t, records...))
		if err != nil || !slices.EqualFunc(again, records, bytes.Equal) {
			t.Fatalf("%d records became %d, %v", len(records), len(again), err)
		}
	})
}
