package handlers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/datastore"
	"github.com/latchwork/latchwork/tasks"
	"google.golang.org/api/iterator"
)

// DeadKind is the kind of dead letters, named `id.hop`: inserted once, never
// overwritten.
const DeadKind = "_latchwork_dead"

const (
	errorBytes     = 1 << 10  // of an error in a ledger row
	deadErrorBytes = 48 << 10 // of an error in a dead letter: with the headers 64 KiB,
	headerBytes    = 16 << 10 // which fit into an entity beside the largest envelope
	summaryBytes   = 1 << 10  // of a malformed body in its dead letter
)

// DeadLetter is a task that is not tried any more.
type DeadLetter struct {
	Key       string // what Get, Redrive and Drop take
	Class     string
	ID        string // of the execution; empty for a malformed task
	Hop       int
	Queue     string
	TaskName  string
	Reason    string // failed, dead, expired, payload, crash-loop, outcome-unknown, unknown-class, newer-version, malformed
	Error     string // the last one, cut to 48 KiB
	Failures  int
	At        time.Time
	Headers   map[string]string // of the last delivery, without credentials, cut to 16 KiB in all
	Payload   json.RawMessage   // nil for a malformed task
	Unknown   bool              // the execution may have committed: redriving it needs MayRepeat
	Malformed bool              // cannot be redriven; Error has a summary
}

// deadEntity is how Datastore keeps a dead letter. Nothing in it is indexed.
type deadEntity struct {
	Class    string    `datastore:",noindex"`
	Queue    string    `datastore:",noindex"`
	TaskName string    `datastore:",noindex"`
	Reason   string    `datastore:",noindex"`
	Error    string    `datastore:",noindex"`
	Failures int       `datastore:",noindex"`
	At       time.Time `datastore:",noindex"`
	Headers  []byte    `datastore:",noindex"` // JSON object
	Envelope []byte    `datastore:",noindex"` // empty for a malformed task
	Spec     []byte    `datastore:",noindex"` // JSON tasks.Spec: how to make the next hop
	Ledger   bool      `datastore:",noindex"` // whether the hop has a ledger row

	key string
}

// deadOf describes a delivery that is its hop's last.
func deadOf(d *delivery, r row, reason string, why error) *deadEntity {
	spec, _ := json.Marshal(d.spec) // plain fields
	body, _ := d.envelope.Encode()  // it was decoded
	return &deadEntity{
		key: d.envelope.Key(), Class: d.envelope.Class, Queue: d.queue, TaskName: d.taskName,
		Reason: reason, Error: clip(why.Error(), deadErrorBytes), Failures: r.Failures, At: time.Now(),
		Headers: d.headers(), Envelope: body, Spec: spec, Ledger: d.spec.Ledgered(),
	}
}

// insertDead stages a dead letter unless there is one.
func insertDead(tx *tasks.Tx, c *tasks.Client, e *deadEntity) error {
	key := c.Key(DeadKind, e.key)
	switch err := tx.Get(key, &deadEntity{}); {
	case err == nil:
		return nil
	case !errors.Is(err, datastore.ErrNoSuchEntity):
		return err
	}
	_, err := tx.Put(key, e)
	return err
}

// bury acknowledges a body that can never be understood, after a dead letter of
// its summary.
func (s *Server) bury(ctx context.Context, p *push, why error) (Outcome, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	sum := sha256.Sum256(append([]byte(p.queue+"\x00"+p.taskName+"\x00"), p.body...))
	e := &deadEntity{
		key: hex.EncodeToString(sum[:16]) + ".malformed", Class: clip(p.path, 200), Queue: p.queue, TaskName: p.taskName, At: time.Now(), Reason: "malformed", Headers: p.headers(),
		Error: clip(fmt.Sprintf("%v\nThe body has %d bytes (of at most %d read); it begins: %q", why, len(p.body), maxBody+1, p.body[:min(len(p.body), summaryBytes)]), deadErrorBytes),
	}
	err := s.client.Transact(ctx, nil, func(tx *tasks.Tx) error { return insertDead(tx, s.client, e) })
	if err != nil {
		return OutcomeUnavailable, errors.Join(why, err)
	}
	return OutcomeMalformed, why
}

// headers are the delivery's, as JSON, without what proves who pushes.
func (p *push) headers() []byte {
	kept := make(map[string]string)
	size := 0
	encoded := func(s string) int { b, _ := json.Marshal(s); return len(b) + 1 }
	for _, name := range slices.Sorted(maps.Keys(p.header)) {
		switch strings.ToLower(name) {
		case "authorization", "proxy-authorization", "x-serverless-authorization", "cookie", "x-goog-iap-jwt-assertion":
			continue
		}
		value := strings.ToValidUTF8(strings.Join(p.header[name], ", "), "\uFFFD")
		if size += encoded(name) + encoded(value); size > headerBytes-2 {
			break
		}
		kept[name] = value
	}
	b, _ := json.Marshal(kept) // strings only
	return b
}

// unknownSpec is the best guess at a class that this process does not know.
func unknownSpec(p *push) tasks.Spec {
	o := &tasks.ClassOptions[json.RawMessage]{Queue: p.queue, Version: p.envelope.Version, Timeout: p.envelope.Timeout}
	return tasks.NewClass(p.envelope.Class, o).Spec()
}

// DeadLetters reads and settles the dead letters of a client's namespace.
type DeadLetters struct {
	client *tasks.Client
	ledger ledger
}

// NewDeadLetters needs a client with Datastore; Redrive uses its queue, too.
func NewDeadLetters(c *tasks.Client) *DeadLetters { return &DeadLetters{c, ledger{c}} }

// List yields the dead letters of class ("" for all), in no particular order.
func (d *DeadLetters) List(ctx context.Context, class string) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		it := d.client.Datastore().Run(ctx, datastore.NewQuery(DeadKind).Namespace(d.client.Namespace()))
		for {
			var e deadEntity
			key, err := it.Next(&e)
			if errors.Is(err, iterator.Done) {
				return
			}
			if err != nil {
				yield(DeadLetter{}, fmt.Errorf("handlers: list dead letters: %w", err))
				return
			}
			if class != "" && e.Class != class {
				continue
			}
			if !yield(e.letter(key.Name), nil) {
				return
			}
		}
	}
}

// Get returns one dead letter; datastore.ErrNoSuchEntity (errors.Is) when there
// is none.
func (d *DeadLetters) Get(ctx context.Context, key string) (DeadLetter, error) {
	var e deadEntity
	if err := d.client.Datastore().Get(ctx, d.key(key), &e); err != nil {
		return DeadLetter{}, fmt.Errorf("handlers: dead letter %q: %w", key, err)
	}
	return e.letter(key), nil
}

func (d *DeadLetters) key(name string) *datastore.Key { return d.client.Key(DeadKind, name) }

func (e *deadEntity) letter(key string) DeadLetter {
	l := DeadLetter{
		Key: key, Class: e.Class, Queue: e.Queue, TaskName: e.TaskName, Reason: e.Reason, Error: e.Error,
		Failures: e.Failures, At: e.At, Unknown: e.Reason == "outcome-unknown", Malformed: len(e.Envelope) == 0,
	}
	_ = json.Unmarshal(e.Headers, &l.Headers) // for people only
	if env, err := tasks.DecodeEnvelope(e.Envelope); err == nil {
		l.ID, l.Hop, l.Payload = env.ID, env.Hop, env.Payload
	}
	return l
}

// Drop deletes a dead letter; its execution stays dead. It is an error for
// which errors.Is(err, datastore.ErrNoSuchEntity) holds when there is none.
func (d *DeadLetters) Drop(ctx context.Context, key string) error {
	err := d.client.RunInTransaction(ctx, func(tx *tasks.Tx) error {
		if err := tx.Get(d.key(key), &deadEntity{}); err != nil {
			return err
		}
		return tx.Delete(d.key(key))
	})
	if err != nil {
		return fmt.Errorf("handlers: drop dead letter %q: %w", key, err)
	}
	return nil
}
