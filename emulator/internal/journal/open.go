package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Open opens the folder dir, creating it if need be, and passes every record to
// apply, in order: the newest checkpoint's, then those appended after it. A
// record is valid only during the call. An error from apply ends Open. A folder
// that another journal has open is an error that wraps ErrInUse; damage to what
// was on stable storage is one that wraps ErrDamaged. Files with other names are
// left alone.
func Open(dir string, o *Options, apply func(record []byte) error) (*Journal, error) {
	j, err := newJournal(dir, o)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if j.root, err = os.OpenRoot(dir); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if j.lock, err = lockFolder(j.root, dir); err != nil {
		return nil, errors.Join(err, j.root.Close())
	}
	if err := j.load(apply); err != nil {
		if j.current != nil {
			err = errors.Join(err, j.current.file.Close())
		}
		return nil, errors.Join(err, j.release())
	}
	return j, nil
}

// load replays the folder and makes it ready to be appended to.
func (j *Journal) load(apply func([]byte) error) error {
	checkpoints, logs, err := j.list()
	if err != nil {
		return fmt.Errorf("journal %s: %w", j.dir, err)
	}
	first := uint64(1)
	if len(checkpoints) > 0 {
		first = slices.Max(checkpoints)
		if err := j.replayCheckpoint(first, apply); err != nil {
			return err
		}
	}
	logs = slices.DeleteFunc(logs, func(seq uint64) bool { return seq < first })
	for i, seq := range logs {
		if seq != first+uint64(i) {
			return j.missing(first + uint64(i))
		}
	}
	if len(logs) == 0 && len(checkpoints) > 0 {
		return j.missing(first)
	}
	for i, seq := range logs {
		torn, err := j.replayLog(seq, logs[i+1:], apply)
		if err != nil {
			return err
		}
		if torn {
			logs = logs[:i+1]
			break
		}
	}
	if err := j.removeBefore(first); err != nil {
		return fmt.Errorf("journal %s: %w", j.dir, err)
	}
	return j.resume(first, logs)
}

func (j *Journal) missing(seq uint64) error {
	return fmt.Errorf("%w: %s: %s is missing; restore the folder from a copy, or remove it to start empty", ErrDamaged, j.dir, logName(seq))
}

// resume opens the last log for appending, or creates the first.
func (j *Journal) resume(first uint64, logs []uint64) (err error) {
	if len(logs) == 0 {
		if j.current, err = j.create(first); err == nil {
			j.end = j.current.end
			j.synced.Store(j.end) // an empty log is not worth a sync
		}
		return err
	}
	last := logs[len(logs)-1]
	f, err := j.root.OpenFile(logName(last), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("journal %s: %w", j.dir, err)
	}
	s := &segment{file: j.wrapped(f), seq: last}
	j.current = s
	head := make([]byte, headSize)
	if _, err := f.ReadAt(head, 0); err != nil {
		return fmt.Errorf("journal %s: %w", j.dir, err)
	}
	if s.id, err = parseHeader(head); err != nil {
		return fmt.Errorf("journal %s: %s: %w", j.dir, logName(last), err)
	}
	if s.end, err = f.Seek(0, io.SeekEnd); err != nil {
		return fmt.Errorf("journal %s: %w", j.dir, err)
	}
	j.end = s.end
	// The process that wrote this may have been killed before it synced.
	switch j.fsync {
	case FsyncAlways:
		if err := j.syncOlder(logs[:len(logs)-1]); err != nil {
			return err
		}
		return j.sync()
	case FsyncInterval:
		if err := j.syncOlder(logs[:len(logs)-1]); err != nil {
			return err
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		j.syncLater()
	}
	return nil
}

// syncOlder syncs logs that a checkpoint was to replace and did not.
func (j *Journal) syncOlder(logs []uint64) error {
	for _, seq := range logs {
		f, err := j.root.OpenFile(logName(seq), os.O_RDWR, 0)
		if err != nil {
			return fmt.Errorf("journal %s: %w", j.dir, err)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("journal %s: %w", j.dir, err)
		}
	}
	return nil
}

func (j *Journal) replayCheckpoint(seq uint64, apply func([]byte) error) error {
	name := checkpointName(seq)
	f, size, err := j.openFile(name)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := newFrames(f, size)
	for count := uint64(0); err == nil; count++ {
		var kind uint32
		var payload []byte
		kind, payload, err = r.next()
		switch {
		case err != nil:
		case kind == kindRecord:
			if err := apply(payload); err != nil {
				return fmt.Errorf("journal %s: %s: record %d: %w", j.dir, name, count+1, err)
			}
		case kind == kindEnd && binary.LittleEndian.Uint64(payload) == count && r.offset == size:
			return nil
		default:
			err = errTorn
		}
	}
	if errors.Is(err, errTorn) || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %s: %s has no valid frame at offset %d, and checkpoints are complete when they get their name; restore the folder from a copy, or remove it to start empty",
			ErrDamaged, j.dir, name, r.offset)
	}
	return fmt.Errorf("journal %s: %s: %w", j.dir, name, err)
}

// replayLog passes the records of one log to apply. It reports torn after it cut
// off damage at the end, which includes the later logs.
func (j *Journal) replayLog(seq uint64, later []uint64, apply func([]byte) error) (torn bool, err error) {
	name := logName(seq)
	f, size, err := j.openFile(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	r, err := newFrames(f, size)
	known := err == nil
	for err == nil {
		var kind uint32
		var payload []byte
		kind, payload, err = r.next()
		if err != nil {
			break
		}
		start := r.offset - frameHead - int64(len(payload))
		if kind == kindMark && !markFits(payload, r.id, start) {
			r.offset, err = start, errTorn // something before it is missing
			break
		}
		j.size += r.offset - start
		if kind == kindRecord {
			if err := apply(payload); err != nil {
				return false, fmt.Errorf("journal %s: %s: record that ends at offset %d: %w", j.dir, name, r.offset, err)
			}
		}
	}
	switch {
	case errors.Is(err, io.EOF):
		return false, nil
	case !errors.Is(err, errTorn):
		return false, fmt.Errorf("journal %s: %s: %w", j.dir, name, err)
	}
	id := &r.id // of the marks that count
	if !known {
		id = nil
	}
	if err := j.refuseIfMarked(seq, f, size, r.offset, id, later); err != nil {
		return false, err
	}
	return true, j.cut(seq, size, r.offset, later)
}

// refuseIfMarked returns an error when a sync mark vouches for what is damaged.
func (j *Journal) refuseIfMarked(seq uint64, f *os.File, size, offset int64, id *fileID, later []uint64) error {
	refuse := func(markIn string, synced int64) error {
		return fmt.Errorf("%w: %s: %s has no valid frame at offset %d, but %s says that it was synced (up to offset %d there): it has changed on disk; restore the folder from a copy, or remove it to start empty",
			ErrDamaged, j.dir, logName(seq), offset, markIn, synced)
	}
	synced, found, err := findMark(f, size, offset, id)
	if err != nil {
		return fmt.Errorf("journal %s: %w", j.dir, err)
	}
	if found {
		return refuse(logName(seq), synced)
	}
	for _, seq := range later {
		f, size, err := j.openFile(logName(seq))
		if err != nil {
			return err
		}
		synced, found, err := findMark(f, size, 0, nil)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("journal %s: %w", j.dir, err)
		}
		if found {
			return refuse(logName(seq), synced)
		}
	}
	return nil
}

// cut removes the damage: the rest of the log and all later ones.
func (j *Journal) cut(seq uint64, size, offset int64, later []uint64) error {
	j.log.Warn("journal ended in damage that no sync mark that is left covers: cut off",
		"dir", j.dir, "file", logName(seq), "offset", offset, "bytes", size-offset, "laterFiles", len(later))
	for _, seq := range slices.Backward(later) {
		if err := j.root.Remove(logName(seq)); err != nil {
			return fmt.Errorf("journal %s: %w", j.dir, err)
		}
	}
	f, err := j.root.OpenFile(logName(seq), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("journal %s: %w", j.dir, err)
	}
	err = f.Truncate(offset)
	if err == nil && offset == 0 { // not even a header
		_, err = f.WriteAt(appendHeader(nil, newFileID()), 0)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("journal %s: %w", j.dir, err)
	}
	return nil
}

func (j *Journal) openFile(name string) (*os.File, int64, error) {
	f, err := j.root.Open(name)
	if err != nil {
		return nil, 0, fmt.Errorf("journal %s: %w", j.dir, err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("journal %s: %w", j.dir, err), f.Close())
	}
	return f, info.Size(), nil
}

const (
	logSuffix        = ".log"
	checkpointSuffix = ".checkpoint"
	partSuffix       = ".checkpoint.part" // not complete
)

func logName(seq uint64) string        { return fmt.Sprintf("%016d%s", seq, logSuffix) }
func checkpointName(seq uint64) string { return fmt.Sprintf("%016d%s", seq, checkpointSuffix) }
func partName(seq uint64) string       { return fmt.Sprintf("%016d%s", seq, partSuffix) }

// list returns the numbers of the checkpoints and of the logs, ascending.
func (j *Journal) list() (checkpoints, logs []uint64, err error) {
	err = j.each(func(_ string, seq uint64, suffix string) error {
		switch suffix {
		case checkpointSuffix:
			checkpoints = append(checkpoints, seq)
		case logSuffix:
			logs = append(logs, seq)
		}
		return nil
	})
	slices.Sort(logs)
	return checkpoints, logs, err
}

// removeBefore removes the files that the checkpoint first replaces, oldest
// first, and what incomplete checkpoints left.
func (j *Journal) removeBefore(first uint64) error {
	var names []string
	err := j.each(func(name string, seq uint64, suffix string) error {
		if seq < first || suffix == partSuffix {
			names = append(names, name)
		}
		return nil
	})
	slices.Sort(names)
	for _, name := range names {
		err = errors.Join(err, j.root.Remove(name))
	}
	return err
}

// each calls f for every file of the journal's own.
func (j *Journal) each(f func(name string, seq uint64, suffix string) error) error {
	d, err := j.root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		digits, suffix, _ := strings.Cut(name, ".")
		seq, err := strconv.ParseUint(digits, 10, 64)
		if suffix = "." + suffix; err != nil || seq == 0 || len(digits) != 16 ||
			suffix != logSuffix && suffix != checkpointSuffix && suffix != partSuffix {
			continue
		}
		if err := f(name, seq, suffix); err != nil {
			return err
		}
	}
	return nil
}
