package scheduler

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"cloud.google.com/go/scheduler/apiv1/schedulerpb"
	"google.golang.org/protobuf/proto"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/schedule"
	"github.com/latchwork/latchwork/emulator/internal/journal"
)

// The kinds of journal records.
const (
	opPut    byte = iota + 1 // a job as it now is
	opDelete                 // its name
)

const (
	flagFile byte = 1 << iota
	flagInFlight
)

var errRecord = errors.New("a record of the scheduler is damaged")

// appendJob encodes a job: what is known of its execution, then the message.
func appendJob(b []byte, j *job) ([]byte, error) {
	var flags byte
	if j.file {
		flags |= flagFile
	}
	if j.inFlight {
		flags |= flagInFlight
	}
	b = append(b, opPut, flags)
	b = binary.AppendVarint(b, micros(j.run.planned))
	b = binary.AppendVarint(b, micros(j.run.first))
	b = binary.AppendUvarint(b, uint64(j.run.failures))
	return proto.MarshalOptions{}.MarshalAppend(b, j.spec)
}

// micros is a time in microseconds; 0 is the zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n)
}

func decodeJob(b []byte) (*job, error) {
	if len(b) < 2 {
		return nil, errRecord
	}
	j := &job{spec: new(schedulerpb.Job), file: b[1]&flagFile != 0, inFlight: b[1]&flagInFlight != 0}
	b = b[2:]
	var numbers [3]uint64
	for i := range numbers {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			return nil, errRecord
		}
		numbers[i], b = n, b[size:]
	}
	unzigzag := func(n uint64) int64 { return int64(n>>1) ^ -int64(n&1) }
	j.run = execution{fromMicros(unzigzag(numbers[0])), fromMicros(unzigzag(numbers[1])), int(numbers[2])}
	if err := proto.Unmarshal(b, j.spec); err != nil {
		return nil, fmt.Errorf("%w: %w", errRecord, err)
	}
	return j, j.understand()
}

// understand reads the schedule and the time zone of a checked job.
func (j *job) understand() (err error) {
	if j.schedule, err = schedule.Parse(j.spec.GetSchedule()); err == nil {
		j.zone, err = schedule.Zone(j.spec.GetTimeZone())
	}
	if err != nil {
		return fmt.Errorf("job %s: %w", j.spec.GetName(), err)
	}
	return nil
}

func (s *Scheduler) replay(record []byte) error {
	if len(record) == 0 {
		return errRecord
	}
	switch record[0] {
	case opPut:
		j, err := decodeJob(record)
		if err != nil {
			return err
		}
		s.jobs.Set(j.spec.GetName(), j)
	case opDelete:
		s.jobs.Delete(string(record[1:]))
	default:
		return fmt.Errorf("%w: kind %d is not known", errRecord, record[0])
	}
	return nil
}

// put journals a job as it is to be. mu is held; the caller changes the state only
// when there is no error.
func (s *Scheduler) put(j *job) (journal.Synced, error) {
	if s.log == nil {
		return journal.Synced{}, nil
	}
	s.checkpointWhenGrown() // first: the change isn't part of the state yet
	record, err := appendJob(nil, j)
	if err != nil {
		return journal.Synced{}, err
	}
	return s.log.Append(record)
}

// remove journals that a job is deleted. mu is held.
func (s *Scheduler) remove(name string) (journal.Synced, error) {
	if s.log == nil {
		return journal.Synced{}, nil
	}
	return s.log.Append(append([]byte{opDelete}, name...))
}

// smallestLog is the log size below which no checkpoint is worth its writes.
const smallestLog = 4 << 20

// checkpoints is the state of checkpointing.
type checkpoints struct {
	writing bool
	size    int64 // of the last one
	least   int64 // smallestLog, but for tests
}

// checkpointWhenGrown starts a checkpoint once the log has outgrown the last one.
// Specs are never changed, so references are a copy of the state. mu is held.
func (s *Scheduler) checkpointWhenGrown() {
	if s.check.writing || s.closed || s.log.Size() < max(cmp.Or(s.check.least, smallestLog), 2*s.check.size) {
		return
	}
	c, err := s.log.Rotate()
	if err != nil {
		s.o.Log.Error("no checkpoint could be started; the journal goes on growing", "error", err)
		s.check.size = s.log.Size() // not at each record
		return
	}
	s.check.writing = true
	jobs := make([]job, 0, s.jobs.Len())
	s.jobs.Scan(func(_ string, j *job) bool {
		jobs = append(jobs, job{spec: j.spec, file: j.file, run: j.run, inFlight: j.inFlight})
		return true
	})
	s.tasks.Go(func() {
		size, err := writeCheckpoint(c, jobs)
		if err != nil {
			c.Abort()
			s.o.Log.Error("a checkpoint failed; the journal goes on growing", "error", err)
			size = s.log.Size()
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.check.writing, s.check.size = false, size
	})
}

func writeCheckpoint(c *journal.Checkpoint, jobs []job) (size int64, err error) {
	var record []byte
	for i := range jobs {
		if record, err = appendJob(record[:0], &jobs[i]); err != nil {
			return size, err
		}
		if err := c.Write(record); err != nil {
			return size, err
		}
		size += int64(len(record))
	}
	return size, c.Commit()
}
