package journal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// ErrCheckpointOpen is returned by Rotate while a checkpoint is being written.
var ErrCheckpointOpen = errors.New("journal: a checkpoint is being written already")

// A Checkpoint is a state being written to replace the log before Rotate. It
// belongs to one goroutine. A nil *Checkpoint works and does nothing.
type Checkpoint struct {
	journal  *Journal
	seq      uint64 // the first log that it does not replace
	replaces int64  // bytes of log
	file     file
	out      *bufio.Writer
	buf      []byte
	count    uint64
	done     bool // guarded by journal.checkpointing
}

// Rotate starts a new log and a checkpoint that replaces everything before it.
// Call it under the lock that orders appends, together with a cheap copy of the
// state; then write that copy into the checkpoint outside the lock, and Commit or
// Abort it. On error nothing has changed.
func (j *Journal) Rotate() (*Checkpoint, error) {
	if j == nil {
		return nil, nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.usable(); err != nil {
		return nil, err
	}
	if j.open != nil {
		return nil, ErrCheckpointOpen
	}
	next, err := j.create(j.current.seq + 1)
	if err != nil {
		return nil, err
	}
	f, err := j.root.OpenFile(partName(next.seq), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("journal %s: %w", j.dir, err), next.file.Close(), j.root.Remove(logName(next.seq)))
	}
	c := &Checkpoint{journal: j, seq: next.seq, replaces: j.size, file: j.wrapped(f)}
	c.out = bufio.NewWriterSize(&appender{file: c.file}, 256<<10)
	_, _ = c.out.Write(appendHeader(nil, next.id)) // fits into the buffer

	if j.fsync == FsyncNever {
		if err := j.current.file.Close(); err != nil {
			j.log.Warn("closing a rotated log failed", "dir", j.dir, "err", err)
		}
	} else {
		j.older = append(j.older, j.current)
	}
	j.current, j.open, j.size = next, c, 0
	j.end += next.end // so that the new log counts as not synced
	return c, nil
}

// Write adds one record of the state, of at most MaxRecord bytes; Open replays
// them in this order. After an error only Abort is of use.
func (c *Checkpoint) Write(record []byte) error {
	if c == nil {
		return nil
	}
	if len(record) > MaxRecord {
		return fmt.Errorf("journal: record of %d bytes: must be at most %d", len(record), MaxRecord)
	}
	c.buf = appendFrame(c.buf[:0], kindRecord, record)
	c.count++
	if _, err := c.out.Write(c.buf); err != nil {
		return fmt.Errorf("journal %s: checkpoint: %w", c.journal.dir, err)
	}
	return nil
}

// Commit makes the checkpoint durable, under every policy, and removes what it
// replaces. On error the checkpoint is dropped and the older files keep the state.
func (c *Checkpoint) Commit() error {
	if c == nil {
		return nil
	}
	j := c.journal
	j.checkpointing.Lock()
	defer j.checkpointing.Unlock()
	if c.done {
		return fmt.Errorf("journal %s: the checkpoint has ended: %w", j.dir, ErrClosed)
	}
	if err := c.install(); err != nil {
		c.drop()
		return fmt.Errorf("journal %s: checkpoint: %w", j.dir, err)
	}
	c.end()
	// From here on the checkpoint is the state. What remains is refuse, which the
	// next Open removes if this does not.
	if err := j.removeBefore(c.seq); err != nil {
		j.log.Warn("files that a checkpoint replaced were not removed", "dir", j.dir, "err", err)
	}
	j.step("removed")
	return nil
}

// install gives the complete checkpoint its final name.
func (c *Checkpoint) install() error {
	j := c.journal
	c.buf = appendFrame(c.buf[:0], kindEnd, binary.LittleEndian.AppendUint64(nil, c.count))
	if _, err := c.out.Write(c.buf); err != nil {
		return err
	}
	if err := c.out.Flush(); err != nil {
		return err
	}
	j.step("written")
	if err := c.file.Sync(); err != nil {
		return err
	}
	j.step("synced")
	if err := j.syncFolder(); err != nil { // the new log must be there before the checkpoint
		return err
	}
	if err := j.root.Rename(partName(c.seq), checkpointName(c.seq)); err != nil {
		return err
	}
	j.step("renamed")
	return j.syncFolder()
}

// Abort drops the checkpoint; the older files keep the state. After Commit or
// Journal.Close it does nothing.
func (c *Checkpoint) Abort() {
	if c == nil {
		return
	}
	c.journal.checkpointing.Lock()
	defer c.journal.checkpointing.Unlock()
	c.drop()
}

// drop ends the checkpoint without effect. checkpointing is held.
func (c *Checkpoint) drop() {
	if c.done {
		return
	}
	c.end()
	j := c.journal
	j.mu.Lock()
	j.size += c.replaces
	j.mu.Unlock()
	// The final name exists when only the last sync of the folder failed: then
	// either name is right, and the logs are all still there.
	if err := j.root.Remove(partName(c.seq)); err != nil && !errors.Is(err, os.ErrNotExist) {
		j.log.Warn("a dropped checkpoint was not removed", "dir", j.dir, "err", err)
	}
}

// end closes the file and lets the next checkpoint begin. checkpointing is held.
func (c *Checkpoint) end() {
	c.done = true
	if err := c.file.Close(); err != nil {
		c.journal.log.Warn("closing a checkpoint failed", "dir", c.journal.dir, "err", err)
	}
	c.journal.mu.Lock()
	c.journal.open = nil
	c.journal.mu.Unlock()
}

// appender writes behind what it has written.
type appender struct {
	file file
	end  int64
}

func (a *appender) Write(p []byte) (int, error) {
	n, err := a.file.WriteAt(p, a.end)
	a.end += int64(n)
	return n, err
}
