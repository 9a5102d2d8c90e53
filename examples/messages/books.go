package messages

import (
	"context"
	"errors"
	"fmt"

	"cloud.google.com/go/datastore"
)

// Books are what Datastore holds about one message, counted from the entities
// themselves.
type Books struct {
	Message    string
	Recipients int // as sent
	Receipts   int // recipients that the sender's tally has as reached
	Failures   int // recipients that it has as unknown

	Delivered     int // messages in the recipients' inboxes
	Notifications int // notifications that messages.notify left

	TimedOut      bool // answers were missing when the time-out ran
	ReminderSent  bool // the sender has been told
	MutationsLeft int  // in the journal, those of other messages included
}

// Balanced says what is missing or too much; nil when all is done.
func (b Books) Balanced() error {
	var errs []error
	equal := func(what string, got int, of string, want int) {
		if got != want {
			errs = append(errs, fmt.Errorf("%d %s for %d %s", got, what, want, of))
		}
	}
	equal("receipts and failures", b.Receipts+b.Failures, "recipients", b.Recipients)
	equal("deliveries", b.Delivered, "receipts", b.Receipts)
	equal("notifications", b.Notifications, "receipts", b.Receipts)
	if b.MutationsLeft > 0 {
		errs = append(errs, fmt.Errorf("%d mutations left in the journal", b.MutationsLeft))
	}
	if !b.ReminderSent {
		errs = append(errs, errors.New("no reminder sent"))
	}
	if len(errs) > 0 {
		return fmt.Errorf("messages: the books of %q do not balance: %w", b.Message, errors.Join(errs...))
	}
	return nil
}

// Books counts what there is about a message that Send returned. While workers
// run, the counts are of slightly different instants.
func (a *App) Books(ctx context.Context, message string) (Books, error) {
	b := Books{Message: message}
	if err := checkMessageID(message); err != nil {
		return b, err
	}
	var out outMessage
	if err := a.ds.Get(ctx, messageKey(a.namespace, message), &out); err != nil {
		return b, fmt.Errorf("messages: message %q: %w", message, err)
	}
	var t tally
	if err := a.ds.Get(ctx, tallyKey(a.namespace, message), &t); err != nil {
		return b, fmt.Errorf("messages: tally of %q: %w", message, err)
	}
	b.Recipients, b.Receipts, b.Failures = len(out.Recipients), t.count(received), t.count(failed)
	b.TimedOut, b.ReminderSent = t.TimedOut, t.ReminderSent

	of := func(kind string) *datastore.Query {
		return datastore.NewQuery(kind).Namespace(a.namespace).FilterField("Message", "=", message)
	}
	var err error
	if b.Delivered, err = a.count(ctx, of(inMessageKind)); err != nil {
		return b, err
	}
	if b.Notifications, err = a.count(ctx, of(notificationKind)); err != nil {
		return b, err
	}
	b.MutationsLeft, err = a.count(ctx, a.journal())
	return b, err
}

func (a *App) count(ctx context.Context, q *datastore.Query) (int, error) {
	keys, err := a.ds.GetAll(ctx, q.KeysOnly(), nil)
	if err != nil {
		return 0, fmt.Errorf("messages: count for the books: %w", err)
	}
	return len(keys), nil
}
