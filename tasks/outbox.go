package tasks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/datastore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// OutboxKind is the kind of the entities that hold a transaction's tasks from
// its commit to their creation.
const OutboxKind = "_latchwork_outbox"

const (
	outboxBytes = 1000 << 10       // of one entity's tasks; Datastore allows 1 MiB in all
	outboxFresh = 25 * time.Second // beyond SubmitWait: how long the sweeper leaves an entity to its writer
)

// outboxEntity is one transaction's tasks, or a part of them. Nothing in it is
// indexed: the key says all that the sweeper must know.
type outboxEntity struct {
	Tasks     []byte    `datastore:",noindex"` // JSON array of messages
	CreatedAt time.Time `datastore:",noindex"`
	Attempts  int       `datastore:",noindex"` // of submissions that were refused
	NextTry   time.Time `datastore:",noindex"`
	Error     string    `datastore:",noindex"`
}

type outboxEntry struct {
	key      *datastore.Key
	entity   outboxEntity
	messages []message
}

// outboxKey is `<random>_<freshUntil>`: spread over the key space, and telling
// a keys-only query which entities to leave alone.
func (c *Client) outboxKey(now time.Time) *datastore.Key {
	name := fmt.Sprintf("%s_%d", newID(), now.Add(c.o.SubmitWait+outboxFresh).UnixMilli())
	return c.Key(OutboxKind, name)
}

// Key is a root key in the client's namespace.
func (c *Client) Key(kind, name string) *datastore.Key {
	k := datastore.NameKey(kind, name, nil)
	k.Namespace = c.o.Namespace
	return k
}

func freshUntil(keyName string) (time.Time, bool) {
	_, ms, ok := strings.Cut(keyName, "_")
	n, err := strconv.ParseInt(ms, 10, 64)
	return time.UnixMilli(n), ok && err == nil
}

// pack puts messages into as few entities as hold them.
func (c *Client) pack(messages []message) (entries []*outboxEntry, err error) {
	now := time.Now()
	var e *outboxEntry // the one being filled
	for _, m := range messages {
		b, err := encodeJSON(m)
		if err != nil {
			return nil, err
		}
		if e == nil || len(e.entity.Tasks)+len(b)+2 > outboxBytes {
			e = &outboxEntry{key: c.outboxKey(now), entity: outboxEntity{CreatedAt: now}}
			entries = append(entries, e)
		}
		e.entity.Tasks = append(append(e.entity.Tasks, ','), b...)
		e.messages = append(e.messages, m)
	}
	for _, e := range entries {
		e.entity.Tasks[0] = '['
		e.entity.Tasks = append(e.entity.Tasks, ']')
	}
	return entries, nil
}

// submitCommitted creates the tasks of a transaction that has committed. It
// waits at most SubmitWait, however the caller's context fares: what it does
// not settle is the sweeper's.
func (c *Client) submitCommitted(ctx context.Context, entries []*outboxEntry) {
	if len(entries) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.o.SubmitWait)
	defer cancel()
	var wg sync.WaitGroup
	for _, e := range entries {
		wg.Go(func() {
			if _, err := c.submitEntry(ctx, e); err != nil {
				c.log.WarnContext(ctx, "tasks wait in the outbox for the sweeper", "outbox", e.key.Name, "tasks", len(e.messages), "error", err)
			}
		})
	}
	wg.Wait()
}

// submitEntry creates an entity's tasks and deletes it when the queue has
// proved all of them. A refusal is recorded in the entity, and backs off; after
// trouble of the queue the next sweep tries again.
func (c *Client) submitEntry(ctx context.Context, e *outboxEntry) (deleted bool, err error) {
	c.reslot(ctx, e)
	var left []message
	backOff := false
	for i, why := range c.createAll(ctx, e.messages) {
		if why != nil {
			left, err = append(left, e.messages[i]), cmp.Or(err, why)
		}
		backOff = backOff || refused(why)
	}
	if len(left) == 0 {
		if err := c.ds.Delete(ctx, e.key); err != nil {
			return false, fmt.Errorf("tasks: delete outbox entity %s, whose tasks all exist: %w", e.key.Name, err)
		}
		return true, nil
	}
	err = fmt.Errorf("%d of %d tasks are not in the queue, the first because of: %w", len(left), len(e.messages), err)
	if backOff {
		err = errors.Join(err, c.recordRefusal(ctx, e.key, left, err))
	}
	return false, err
}

// reslot moves coalescing tasks whose slot has passed since they were staged: the
// commit took long, or the sweeper came late.
func (c *Client) reslot(ctx context.Context, e *outboxEntry) {
	now := time.Now()
	for i := range e.messages {
		m := &e.messages[i]
		if !m.slotPassed(now) {
			continue
		}
		c.slot(m, now)
		if err := m.date(now); err != nil {
			c.log.ErrorContext(ctx, "task in the outbox cannot be dated", "outbox", e.key.Name, "error", err)
		}
	}
}

// refused tells an answer that will not change by itself from trouble.
func refused(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.NotFound, codes.FailedPrecondition, codes.PermissionDenied, codes.Unauthenticated, codes.OutOfRange, codes.Unimplemented:
		return true
	}
	return false
}

// recordRefusal keeps what is left, for later and for people to see. It never
// brings back an entity that another submitter has deleted.
func (c *Client) recordRefusal(ctx context.Context, key *datastore.Key, left []message, why error) error {
	return c.Transact(ctx, nil, func(tx *Tx) error {
		var e outboxEntity
		if err := tx.Get(key, &e); errors.Is(err, datastore.ErrNoSuchEntity) {
			return nil
		} else if err != nil {
			return err
		}
		packed, err := encodeJSON(left)
		if err != nil {
			return err
		}
		e.Tasks = packed
		e.Attempts++
		e.NextTry = time.Now().Add(nextTryIn(e.Attempts))
		e.Error = clipTo(why.Error(), 4<<10)
		_, err = tx.Put(key, &e)
		return err
	})
}

// nextTryIn is the pause after the n-th refusal: 1 s, doubled up to an hour.
func nextTryIn(n int) time.Duration { return min(time.Second<<min(n-1, 12), time.Hour) }

func clipTo(s string, most int) string {
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
