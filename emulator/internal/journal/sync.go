package journal

import (
	"fmt"
	"os"
	"runtime"
	"time"
)

// Fsync says when appended records are forced to stable storage.
type Fsync string

// The three policies. The empty string means FsyncInterval.
const (
	FsyncNever    Fsync = "never"
	FsyncInterval Fsync = "interval"
	FsyncAlways   Fsync = "always"
)

// ParseFsync returns the policy called s; "" is FsyncInterval.
func ParseFsync(s string) (Fsync, error) {
	switch f := Fsync(s); f {
	case "":
		return FsyncInterval, nil
	case FsyncNever, FsyncInterval, FsyncAlways:
		return f, nil
	}
	return "", fmt.Errorf("fsync %q: must be never, interval or always", s)
}

// Synced is the durability of one appended record. The zero value is durable.
type Synced struct {
	journal  *Journal
	position int64
}

// Wait returns once the record is on stable storage under FsyncAlways, and at
// once under the other policies. Call it after unlocking, before answering. On
// error it is unknown whether the record would survive a power loss, and the
// journal takes no more records.
func (s Synced) Wait() error {
	j := s.journal
	if j == nil || j.fsync != FsyncAlways {
		return nil
	}
	// Whoever gets the lock next syncs for all who have appended by then: they
	// find it done. That is the whole of group commit.
	if j.synced.Load() >= s.position {
		return nil
	}
	j.syncing.Lock()
	defer j.syncing.Unlock()
	if j.synced.Load() >= s.position {
		return nil
	}
	return j.syncLocked()
}

func (j *Journal) sync() error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	return j.syncLocked()
}

// syncLocked forces everything appended so far to stable storage, older logs
// first, and marks how far that is. syncing is held.
func (j *Journal) syncLocked() error {
	j.mu.Lock()
	if j.broken != nil {
		defer j.mu.Unlock()
		return j.broken
	}
	if j.synced.Load() == j.end {
		j.mu.Unlock()
		return nil
	}
	older, current := j.older, j.current
	position, offset := j.end, current.end
	j.mu.Unlock()

	for _, s := range older {
		if err := j.syncSegment(s); err != nil {
			return err
		}
	}
	if err := j.syncSegment(current); err != nil {
		return err
	}

	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range older {
		if err := s.file.Close(); err != nil {
			j.log.Warn("closing a rotated log failed", "dir", j.dir, "err", err)
		}
	}
	j.older = j.older[len(older):]
	allSynced := j.end == position
	if j.current == current {
		// Without room for the mark there is none: the next sync brings one.
		if err := j.write(appendMark(nil, current.id, offset)); err != nil {
			j.log.Warn("sync mark not written", "dir", j.dir, "err", err)
		}
	}
	if allSynced {
		position = j.end // a mark alone is nothing to sync
	}
	j.synced.Store(position)
	return nil
}

func (j *Journal) syncSegment(s *segment) error {
	err := s.file.Sync()
	if err == nil && !s.listed {
		err = j.syncFolder()
		s.listed = err == nil
	}
	if err == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.broken = fmt.Errorf("journal %s: refuses appends, since a sync failed and can't be repeated: %w", j.dir, err)
	j.log.Error("journal is broken", "dir", j.dir, "err", j.broken)
	return j.broken
}

// syncLater arranges for a sync within the interval. mu is held.
func (j *Journal) syncLater() {
	if j.timer != nil {
		return
	}
	j.timer = time.AfterFunc(j.interval, func() {
		j.mu.Lock()
		stopped := j.closed
		j.timer = nil
		j.mu.Unlock()
		if !stopped {
			_ = j.sync() // a failure is logged, and the next append returns it
		}
	})
}

// syncFolder makes created, renamed and removed names durable.
func (j *Journal) syncFolder() error {
	if runtime.GOOS == "windows" {
		return nil // a folder can't be synced there
	}
	d, err := j.root.OpenFile(".", os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
