package journal

import (
	"errors"
	"fmt"
	"log/slog"
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

// Options tunes a Journal; nil and the zero value mean the defaults stated.
type Options struct {
	Fsync    Fsync         // FsyncInterval
	Interval time.Duration // between syncs under FsyncInterval; 100 ms
	Logger   *slog.Logger  // nil discards
}

// MaxRecord bounds one record, in bytes.
const MaxRecord = 64 << 20

// A Journal is the open log of one data folder. A nil *Journal keeps nothing:
// every method works and does nothing, which is how a server without a folder
// runs. All methods may be called concurrently; Append and Rotate belong under
// the lock that orders the caller's state.
type Journal struct{}

// Open opens the folder dir, creating it if need be, and passes every record to
// apply, in order. The record is valid only during the call. An error from
// apply ends Open.
func Open(dir string, o *Options, apply func(record []byte) error) (*Journal, error) {
	return nil, errors.New("journal: not written yet")
}

// Append adds record to the log. When it returns nil, the record has been
// written to the operating system. On error the log is as before and the caller
// must not apply the change.
func (j *Journal) Append(record []byte) (Synced, error) { return Synced{}, nil }

// Size returns the bytes appended since the last checkpoint.
func (j *Journal) Size() int64 { return 0 }

// Rotate starts a new log file and a checkpoint that replaces everything
// before it. Call it under the lock that orders appends, together with a cheap
// copy of the state; then write that copy into the checkpoint outside the lock.
// At most one checkpoint is open at a time.
func (j *Journal) Rotate() (*Checkpoint, error) { return nil, nil }

// Close syncs and closes the journal. Closing twice is harmless.
func (j *Journal) Close() error { return nil }

// Synced is the durability of one appended record. The zero value is durable.
type Synced struct{}

// Wait returns once the record is on stable storage under FsyncAlways, and at
// once under the other policies. Call it after unlocking, before answering.
func (s Synced) Wait() error { return nil }

// A Checkpoint is a state being written to replace the log before Rotate. A nil
// *Checkpoint works and does nothing.
type Checkpoint struct{}

// Write adds one record of the state; Open replays them in this order.
func (c *Checkpoint) Write(record []byte) error { return nil }

// Commit makes the checkpoint durable and removes what it replaces.
func (c *Checkpoint) Commit() error { return nil }

// Abort drops the checkpoint; the older files keep the state. After Commit it
// does nothing.
func (c *Checkpoint) Abort() {}
