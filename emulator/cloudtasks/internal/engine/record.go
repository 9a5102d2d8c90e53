package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// The kinds of journal records. Each carries absolute values, never changes
// relative to earlier ones: replaying a record over a state that already
// includes it, as a checkpoint taken in mid-run needs, gives the same state.
const (
	opQueue         byte = iota + 1 // a queue as it now is
	opQueueDeletion                 // and when
	opTask                          // a task as it now is
	opTries                         // its due time and attempts
	opTaskEnd                       // and when
	opPurge                         // of a queue, and when
	opTombstones                    // of a queue's tasks or, without a name, of queues; only in checkpoints

	// Since version 2 of the format. The first two stand for opQueue and opTask
	// only where there is more to say, so that folders stay readable by the
	// version before as long as nothing new is used.
	opQueueMore // opQueue with the type and the times to live
	opTaskTag   // opTask with the tag
	opGroup     // several records that came to pass as one
	opNote
	opFact
)

var errRecord = errors.New("cut short")

func appendText[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendInt[T ~int | ~int32 | ~int64](b []byte, i T) []byte {
	return binary.AppendVarint(b, int64(i))
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendRetry(b []byte, r *Retry) []byte {
	b = appendInt(b, r.MaxAttempts)
	b = appendInt(b, r.MaxDuration)
	b = appendInt(b, r.MinBackoff)
	b = appendInt(b, r.MaxBackoff)
	return appendInt(b, r.MaxDoublings)
}

func appendQueue(b []byte, q *Queue) []byte {
	op := opQueue
	more := q.Settings.Pull || q.Settings.TaskTTL != 0 || q.Settings.TombstoneTTL != 0
	if more {
		op = opQueueMore
	}
	b = appendText(append(b, op), q.Name)
	b = binary.BigEndian.AppendUint64(b, math.Float64bits(q.Settings.Rate))
	b = appendInt(b, q.Settings.Burst)
	b = appendInt(b, q.Settings.MaxConcurrent)
	b = appendRetry(b, &q.Settings.Retry)
	b = appendText(b, q.Spec)
	b = appendBool(b, q.Paused)
	b = appendInt(b, q.Purged)
	if more {
		b = appendBool(b, q.Settings.Pull)
		b = appendInt(b, q.Settings.TaskTTL)
		b = appendInt(b, q.Settings.TombstoneTTL)
	}
	return b
}

// appendGrouped adds a record to a group.
func appendGrouped(b []byte, f func(b []byte) []byte) []byte {
	start := len(b)
	b = f(append(b, 0, 0, 0, 0))
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

func appendNote(b []byte, n Note) []byte {
	return appendText(appendText(append(b, opNote), n.Key), n.Value)
}

func appendFact(b []byte, n Note) []byte {
	return appendText(appendText(append(b, opFact), n.Key), n.Value)
}

func appendQueueDeletion(b []byte, name string, at Micros) []byte {
	return appendInt(appendText(append(b, opQueueDeletion), name), at)
}

func appendPurge(b []byte, name string, at Micros) []byte {
	return appendInt(appendText(append(b, opPurge), name), at)
}

func appendTask(b []byte, t *task, spec []byte) []byte {
	op := opTask
	if t.tag() != "" {
		op = opTaskTag
	}
	b = appendText(append(b, op), t.queue.Name)
	b = appendText(b, t.id())
	b = appendBool(b, t.named)
	b = appendInt(b, t.createdMicros())
	b = appendInt(b, t.due)
	b = appendText(b, spec)
	own := t.more != nil && t.more.retry != nil
	b = appendBool(b, own)
	if own {
		b = appendRetry(b, t.more.retry)
	}
	tries := t.tries()
	b = appendBool(b, tries != Tries{})
	if (tries != Tries{}) {
		b = appendTriesFields(b, &tries)
	}
	if t.tag() != "" {
		b = appendText(b, t.tag())
	}
	return b
}

func appendTries(b []byte, t *task, due Micros, tries *Tries) []byte {
	b = appendText(append(b, opTries), t.queue.Name)
	b = appendText(b, t.id())
	b = appendInt(b, due)
	return appendTriesFields(b, tries)
}

func appendTriesFields(b []byte, t *Tries) []byte {
	b = appendInt(b, t.Dispatches)
	b = appendInt(b, t.Responses)
	b = appendInt(b, t.Executions)
	b = appendInt(b, t.First)
	b = appendInt(b, t.LastDue)
	b = appendInt(b, t.LastDispatch)
	b = appendInt(b, t.LastResponse)
	b = appendBool(b, t.Last != nil)
	if t.Last != nil {
		b = appendBool(b, t.Last.Responded)
		b = appendBool(b, t.Last.Executed)
		b = appendInt(b, t.Last.Status)
		b = appendInt(b, t.Last.Code)
		b = appendText(b, t.Last.Message)
	}
	return b
}

func appendTaskEnd(b []byte, t *task, at Micros) []byte {
	b = appendText(append(b, opTaskEnd), t.queue.Name)
	b = appendText(b, t.id())
	b = appendBool(b, t.named)
	return appendInt(b, at)
}

func appendTombstones(b []byte, queue string, named bool, ts []tombstone) []byte {
	b = appendText(append(b, opTombstones), queue)
	b = appendBool(b, named)
	b = appendInt(b, len(ts))
	for _, t := range ts {
		b = append(b, t.mark[:]...)
		b = appendInt(b, t.buried)
	}
	return b
}

// A decoder reads the fields of a record. After the first error it returns zero
// values.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) take(n uint64) []byte {
	if d.err != nil || n > uint64(len(d.b)) {
		d.err = errRecord
		return nil
	}
	taken := d.b[:n]
	d.b = d.b[n:]
	return taken
}

// view is a part of the record, which is valid for as long as that is.
func (d *decoder) view() []byte {
	n, size := binary.Uvarint(d.b)
	if size <= 0 {
		d.err = errRecord
		return nil
	}
	d.b = d.b[size:]
	return d.take(n)
}

func (d *decoder) bytes() []byte { return append([]byte(nil), d.view()...) }
func (d *decoder) text() string  { return string(d.view()) }

func (d *decoder) int() int64 {
	n, size := binary.Varint(d.b)
	if size <= 0 {
		d.err = errRecord
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) micros() Micros          { return Micros(d.int()) }
func (d *decoder) duration() time.Duration { return time.Duration(d.int()) }

func (d *decoder) bool() bool {
	b := d.take(1)
	return b != nil && b[0] != 0
}

func (d *decoder) float() float64 {
	if b := d.take(8); b != nil {
		return math.Float64frombits(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (d *decoder) retry() Retry {
	return Retry{
		MaxAttempts: int(d.int()), MaxDuration: d.duration(),
		MinBackoff: d.duration(), MaxBackoff: d.duration(), MaxDoublings: int(d.int()),
	}
}

func (d *decoder) tries() Tries {
	t := Tries{
		Dispatches: int(d.int()), Responses: int(d.int()), Executions: int(d.int()),
		First: d.micros(), LastDue: d.micros(), LastDispatch: d.micros(), LastResponse: d.micros(),
	}
	if d.bool() {
		t.Last = &Result{
			Responded: d.bool(), Executed: d.bool(),
			Status: int(d.int()), Code: int32(d.int()), Message: d.text(),
		}
	}
	return t
}

// replay applies one record of the journal. It runs before anything else does.
// What a record speaks of may be missing: a checkpoint is written while the
// engine works, so it can be ahead of the records that follow it.
func (e *Engine) replay(record []byte) error {
	if len(record) == 0 || record[0] != opGroup {
		return e.replayOne(record)
	}
	for rest := record[1:]; len(rest) > 0; {
		if len(rest) < 4 || uint64(binary.BigEndian.Uint32(rest)) > uint64(len(rest)-4) {
			return fmt.Errorf("record of kind %d: %w", opGroup, errRecord)
		}
		n := binary.BigEndian.Uint32(rest) + 4
		if err := e.replayOne(rest[4:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

func (e *Engine) replayOne(record []byte) error {
	d := decoder{b: record}
	var op byte
	if b := d.take(1); b != nil {
		op = b[0]
	}
	name, q := e.named(d.view())
	live := q != nil
	if live && op != opTask && op != opTaskTag {
		q.settle() // the record may be of a task that was loaded
	}
	switch op {
	case opQueue, opQueueMore:
		e.replayQueue(&d, name, q, op == opQueueMore)
	case opQueueDeletion:
		at := d.micros()
		if d.err == nil && live {
			e.dropQueue(q, at)
		} else if d.err == nil {
			e.buried.bury(markOf(name), at)
		}
	case opTask, opTaskTag:
		e.replayTask(&d, q, op == opTaskTag)
	case opTries:
		id, due, tries := d.text(), d.micros(), d.tries()
		if t := q.replayed(id); t != nil && d.err == nil {
			q.reschedule(t, due)
			t.setTries(tries)
		}
	case opTaskEnd:
		id, named, at := d.text(), d.bool(), d.micros()
		if d.err == nil && len(id) > maxID {
			d.err = errRecord
		}
		if d.err != nil || !live {
			break
		}
		t := q.replayed(id)
		if t == nil {
			t = &task{queue: q, text: id, idLen: uint16(len(id)), index: nowhere, age: nowhere}
		}
		t.named = named
		e.drop(t, at)
	case opPurge:
		if at := d.micros(); d.err == nil && live {
			q.purge(at)
		}
	case opTombstones:
		named := d.bool()
		switch {
		case name == "":
			d.tombstones(&e.buried)
		case live && named:
			d.tombstones(&q.named)
		case live:
			d.tombstones(&q.anonymous)
		}
	case opNote, opFact:
		n := Note{Key: name, Value: d.bytes()}
		switch {
		case d.err != nil:
		case op == opNote:
			e.notes.put(n)
		default:
			e.facts.put(n)
		}
	default:
		return fmt.Errorf("record of unknown kind %d: written by a newer version?", op)
	}
	if d.err != nil {
		return fmt.Errorf("record of kind %d for %q: %w", op, name, d.err)
	}
	return nil
}

// named returns a queue, if there is one. Most records are of the queue that the
// one before was of.
func (e *Engine) named(name []byte) (string, *queue) {
	if q := e.replaying; q != nil && q.index != gone && q.Name == string(name) {
		return q.Name, q
	}
	q, _ := e.queues.Get(string(name))
	e.replaying = q
	return string(name), q
}

func (e *Engine) replayQueue(d *decoder, name string, q *queue, more bool) {
	desc := Queue{
		Name: name,
		Settings: Settings{
			Rate: d.float(), Burst: int(d.int()), MaxConcurrent: int(d.int()), Retry: d.retry(),
		},
		Spec: d.bytes(), Paused: d.bool(), Purged: d.micros(),
	}
	if more {
		desc.Settings.Pull = d.bool()
		desc.Settings.TaskTTL, desc.Settings.TombstoneTTL = d.duration(), d.duration()
	}
	if d.err == nil {
		d.err = desc.Settings.check()
	}
	if d.err == nil && q != nil && q.Settings.Pull != desc.Settings.Pull {
		d.err = ErrQueueType
	}
	if d.err != nil {
		return
	}
	if q == nil {
		q = e.newQueue(desc)
		e.queues.Set(name, q)
	}
	q.Queue = desc
	e.setLimits(q)
}

func (e *Engine) replayTask(d *decoder, q *queue, tagged bool) {
	id, named, created, due, spec := d.view(), d.bool(), d.micros(), d.micros(), d.view()
	var own more
	if d.bool() {
		retry := d.retry()
		own.retry = &retry
	}
	if d.bool() {
		own.tries = d.tries()
	}
	if tagged {
		own.tag = d.text()
	}
	if d.err == nil && len(id) > maxID {
		d.err = errRecord
	}
	if d.err != nil || q == nil {
		return
	}
	t := e.makeTask(q, string(id), spec)
	t.named, t.created, t.due = named, int64(created/microsPerSecond), due
	if own != (more{}) {
		t.more = &own
	}
	// A checkpoint that was ahead of a purge had this task buried by it.
	if len(q.named.since) > 0 || len(q.anonymous.since) > 0 {
		m := markOf(t.id())
		q.named.forget(m)
		q.anonymous.forget(m)
	}
	q.wait(t)
	q.aging.push((*aging)(t))
	if q.tasks.load(t) {
		q.settle()
	}
}

// settleAll ends the replay.
func (e *Engine) settleAll() {
	e.queues.Scan(func(_ string, q *queue) bool {
		q.settle()
		return true
	})
}

// settle ends the loading of tasks.
func (q *queue) settle() {
	q.tasks.settle(func(old *task) {
		q.unwait(old)
		q.aging.remove(int(old.age))
	})
}

func (d *decoder) tombstones(g *graveyard) {
	for range d.int() {
		m, at := d.take(uint64(len(mark{}))), d.micros()
		if d.err != nil {
			return
		}
		g.bury(mark(m), at)
	}
}

// replayed returns the task called id, or nil.
func (q *queue) replayed(id string) *task {
	if q == nil {
		return nil
	}
	return q.tasks.get(id)
}
