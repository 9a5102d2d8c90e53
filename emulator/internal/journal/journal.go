package journal

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Options tunes a Journal; nil and the zero value mean the defaults stated.
type Options struct {
	Fsync    Fsync         // FsyncInterval
	Interval time.Duration // between syncs under FsyncInterval; 100 ms
	Logger   *slog.Logger  // nil discards

	wrap func(file) file   // tests inject failures here
	step func(name string) // tests look at the folder between the steps of a checkpoint
}

// ErrClosed is returned by the methods of a closed journal.
var ErrClosed = errors.New("journal: closed")

// A Journal is the open log of one data folder. A nil *Journal keeps nothing:
// every method works and does nothing, which is how a server without a folder
// runs. All methods may be called concurrently; Append and Rotate belong under
// the lock that orders the caller's state.
type Journal struct {
	dir      string
	root     *os.Root
	lock     *os.File
	fsync    Fsync
	interval time.Duration
	log      *slog.Logger
	wrap     func(file) file
	step     func(string)

	// checkpointing is held by Close and by the steps that change the folder
	// outside mu; it is taken before the other two.
	checkpointing sync.Mutex

	syncing sync.Mutex   // held during a sync; taken before mu
	synced  atomic.Int64 // the position up to which everything is on stable storage

	mu      sync.Mutex
	broken  error // why no append is possible any more
	closed  bool
	current *segment   // the log that is appended to
	older   []*segment // rotated away, not synced yet, in order
	end     int64      // position behind the last frame, counted over all logs since Open
	size    int64      // bytes since the last checkpoint
	open    *Checkpoint
	timer   *time.Timer // of the next sync under FsyncInterval; nil when nothing waits for one
	buf     []byte
}

// file is what a log needs of an *os.File.
type file interface {
	WriteAt(p []byte, off int64) (int, error)
	Sync() error
	Truncate(size int64) error
	Close() error
}

// segment is one log file.
type segment struct {
	file   file
	seq    uint64
	id     fileID
	end    int64 // its size
	listed bool  // its name in the folder is on stable storage
}

// Append adds record, of at most MaxRecord bytes, to the log. When it returns
// nil, the record has been written to the operating system. On error the log is
// as before, and the caller must not apply the change.
func (j *Journal) Append(record []byte) (Synced, error) {
	if j == nil {
		return Synced{}, nil
	}
	if len(record) > MaxRecord {
		return Synced{}, fmt.Errorf("journal: record of %d bytes: must be at most %d", len(record), MaxRecord)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.usable(); err != nil {
		return Synced{}, err
	}
	j.buf = appendFrame(j.buf[:0], kindRecord, record)
	if err := j.write(j.buf); err != nil {
		return Synced{}, err
	}
	j.size += int64(len(j.buf))
	if cap(j.buf) > 1<<20 {
		j.buf = nil // one big record shall not hold on to its memory
	}
	if j.fsync == FsyncInterval {
		j.syncLater()
	}
	return Synced{journal: j, position: j.end}, nil
}

// usable returns why nothing can be appended. mu is held.
func (j *Journal) usable() error {
	if j.closed {
		return ErrClosed
	}
	return j.broken
}

// write adds frames to the current log, or leaves it as it was. mu is held.
func (j *Journal) write(frames []byte) error {
	s := j.current
	if _, err := s.file.WriteAt(frames, s.end); err != nil {
		err = fmt.Errorf("journal %s: append: %w", j.dir, err)
		if undo := s.file.Truncate(s.end); undo != nil {
			j.broken = fmt.Errorf("journal %s: refuses appends, since a failed one could not be undone: %w", j.dir, undo)
			j.log.Error("journal is broken", "dir", j.dir, "err", j.broken)
			return errors.Join(err, j.broken)
		}
		return err
	}
	s.end += int64(len(frames))
	j.end += int64(len(frames))
	return nil
}

// Size returns the bytes appended since the last checkpoint was begun (and
// committed, or is still being written), those found by Open included.
func (j *Journal) Size() int64 {
	if j == nil {
		return 0
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.size
}

// Close drops an open checkpoint, syncs unless the policy is FsyncNever, and
// frees the folder. Closing again is harmless.
func (j *Journal) Close() error {
	if j == nil {
		return nil
	}
	j.checkpointing.Lock()
	defer j.checkpointing.Unlock()
	j.mu.Lock()
	closed, open := j.closed, j.open
	j.closed = true
	if j.timer != nil {
		j.timer.Stop()
		j.timer = nil
	}
	j.mu.Unlock()
	if closed {
		return nil
	}
	if open != nil {
		open.drop()
	}
	var err error
	if j.fsync != FsyncNever {
		err = j.sync()
	}
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range append(j.older, j.current) {
		err = errors.Join(err, s.file.Close())
	}
	j.older = nil
	return errors.Join(err, j.release())
}

// release gives up the folder.
func (j *Journal) release() error {
	return errors.Join(j.root.Close(), j.lock.Close()) // closing it unlocks
}

// create starts the log seq.
func (j *Journal) create(seq uint64) (*segment, error) {
	s := &segment{seq: seq, id: newFileID()}
	name := logName(seq)
	f, err := j.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w", j.dir, err)
	}
	s.file = j.wrapped(f)
	head := appendHeader(nil, s.id)
	if _, err := s.file.WriteAt(head, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("journal %s: %w", j.dir, err), s.file.Close(), j.root.Remove(name))
	}
	s.end = int64(len(head))
	return s, nil
}

func (j *Journal) wrapped(f *os.File) file {
	if j.wrap == nil {
		return f
	}
	return j.wrap(f)
}

func newJournal(dir string, o *Options) (*Journal, error) {
	if o == nil {
		o = &Options{}
	}
	fsync, err := ParseFsync(string(o.Fsync))
	if err != nil {
		return nil, err
	}
	if o.Interval < 0 {
		return nil, fmt.Errorf("journal: interval %v: must not be negative", o.Interval)
	}
	j := &Journal{
		dir:      dir,
		fsync:    fsync,
		interval: cmp.Or(o.Interval, 100*time.Millisecond),
		log:      o.Logger,
		wrap:     o.wrap,
		step:     o.step,
	}
	if j.log == nil {
		j.log = slog.New(slog.DiscardHandler)
	}
	if j.step == nil {
		j.step = func(string) {}
	}
	return j, nil
}
