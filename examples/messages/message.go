package messages

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/datastore"

	"github.com/latchwork/latchwork/tasks"
)

// user is a root: what one user's transactions change lies under it.
type user struct {
	Unread int `datastore:",noindex"` // notifications
}

// outMessage is a message as sent, under its sender. It never changes.
type outMessage struct {
	Text       string    `datastore:",noindex"`
	Recipients []string  `datastore:",noindex"`
	Sent       time.Time `datastore:",noindex"`
}

// tally is what became of an outMessage, under it.
type tally struct {
	Answers      []byte `datastore:",noindex"` // one byte for each recipient
	TimedOut     bool   `datastore:",noindex"` // answers were missing when Timeout ran
	ReminderSent bool   `datastore:",noindex"`
}

const (
	unanswered = '.'
	received   = 'r'
	failed     = 'f'
)

func (t *tally) count(answer byte) (n int) {
	for _, a := range t.Answers {
		if a == answer {
			n++
		}
	}
	return n
}

// inMessage is a message as delivered, under its recipient.
type inMessage struct {
	Message string
	Text    string `datastore:",noindex"`
}

const (
	userKind         = "User"
	outMessageKind   = "OutMessage"
	tallyKind        = "Tally"
	inMessageKind    = "InMessage"
	notificationKind = "Notification"
)

func childKey(parent *datastore.Key, kind, name string) *datastore.Key {
	key := datastore.NameKey(kind, name, parent)
	key.Namespace = parent.Namespace
	return key
}

func userKey(namespace, name string) *datastore.Key {
	key := datastore.NameKey(userKind, name, nil)
	key.Namespace = namespace
	return key
}

// A message's ID begins with its sender; one that doesn't has the sender "",
// which Datastore refuses as a key.
func senderOf(message string) string { return message[:max(0, strings.LastIndexByte(message, '/'))] }

func messageKey(namespace, message string) *datastore.Key {
	return childKey(userKey(namespace, senderOf(message)), outMessageKind, message)
}

func tallyKey(namespace, message string) *datastore.Key {
	return childKey(messageKey(namespace, message), tallyKind, "tally")
}

var errUnknownSender = errors.New("messages: unknown sender")

// writeMessage writes a message down and fans it out. Send runs it at once.
type writeMessage struct {
	Message    string
	Recipients []string
	Text       string
	Timeout    time.Duration
	Reminder   time.Duration
}

func (w *writeMessage) Type() string { return "WriteMessage" }

func (w *writeMessage) Target(namespace string) *datastore.Key {
	return userKey(namespace, senderOf(w.Message))
}

func (w *writeMessage) Run(_ context.Context, r *Root) error {
	now := time.Now()
	if err := r.Get(r.Key, new(user)); errors.Is(err, datastore.ErrNoSuchEntity) {
		return fmt.Errorf("%w: %q", errUnknownSender, r.Key.Name)
	} else if err != nil {
		return err
	}
	err := errors.Join(
		r.Put(messageKey(r.Key.Namespace, w.Message), &outMessage{w.Text, w.Recipients, now}),
		r.Put(tallyKey(r.Key.Namespace, w.Message), &tally{Answers: slices.Repeat([]byte{unanswered}, len(w.Recipients))}),
		r.EmitNamed("timeout "+w.Message, now.Add(w.Timeout), &timeout{w.Message}),
	)
	for i, recipient := range w.Recipients {
		err = errors.Join(err, r.Emit(&sendMessage{w.Message, i, recipient, w.Text, w.Reminder}))
	}
	return err
}

// sendMessage delivers a message to one recipient and answers with a receipt.
type sendMessage struct {
	Message   string
	Index     int // among the recipients
	Recipient string
	Text      string
	Reminder  time.Duration
}

func (s *sendMessage) Type() string { return "SendMessage" }

func (s *sendMessage) Target(namespace string) *datastore.Key {
	return userKey(namespace, s.Recipient)
}

func (s *sendMessage) Run(_ context.Context, r *Root) error {
	receipt := &writeReceipt{s.Message, s.Index, false, s.Reminder}
	if err := r.Get(r.Key, new(user)); errors.Is(err, datastore.ErrNoSuchEntity) {
		return r.Emit(receipt) // an unknown recipient
	} else if err != nil {
		return err
	}
	inbox := childKey(r.Key, inMessageKind, s.Message)
	if err := r.Get(inbox, new(inMessage)); !errors.Is(err, datastore.ErrNoSuchEntity) {
		return err // nil: delivered before, receipt and notification included
	}
	receipt.Success = true
	r.Enqueue(func(tx *tasks.Tx) error {
		_, err := r.app.notify.EnqueueTx(tx, notification{s.Recipient, s.Message}, nil)
		return err
	})
	return errors.Join(
		r.Put(inbox, &inMessage{s.Message, s.Text}),
		r.Emit(receipt),
	)
}

// writeReceipt tells the sender about one recipient. The last one cancels the
// time-out and leaves a reminder for later.
type writeReceipt struct {
	Message  string
	Index    int
	Success  bool
	Reminder time.Duration
}

func (w *writeReceipt) Type() string { return "WriteReceipt" }

func (w *writeReceipt) Target(namespace string) *datastore.Key {
	return userKey(namespace, senderOf(w.Message))
}

func (w *writeReceipt) Run(_ context.Context, r *Root) error {
	key, t := tallyKey(r.Key.Namespace, w.Message), new(tally)
	if err := r.Get(key, t); err != nil {
		return err
	}
	if w.Index < 0 || w.Index >= len(t.Answers) {
		return fmt.Errorf("messages: a receipt for recipient %d of %d", w.Index, len(t.Answers))
	}
	if t.Answers[w.Index] != unanswered {
		return nil // a repetition
	}
	t.Answers[w.Index] = failed
	if w.Success {
		t.Answers[w.Index] = received
	}
	if err := r.Put(key, t); err != nil || t.count(unanswered) > 0 {
		return err
	}
	r.Cancel("timeout " + w.Message)
	return r.EmitNamed("reminder "+w.Message, time.Now().Add(w.Reminder), &reminder{w.Message})
}

// timeout notes that answers are missing. They still count when they come.
type timeout struct{ Message string }

func (m *timeout) Type() string { return "Timeout" }

func (m *timeout) Target(namespace string) *datastore.Key {
	return userKey(namespace, senderOf(m.Message))
}

func (m *timeout) Run(_ context.Context, r *Root) error {
	return updateTally(r, m.Message, func(t *tally) { t.TimedOut = t.count(unanswered) > 0 })
}

// reminder tells the sender that all answers are there.
type reminder struct{ Message string }

func (m *reminder) Type() string { return "Reminder" }

func (m *reminder) Target(namespace string) *datastore.Key {
	return userKey(namespace, senderOf(m.Message))
}

func (m *reminder) Run(_ context.Context, r *Root) error {
	return updateTally(r, m.Message, func(t *tally) { t.ReminderSent = true })
}

func updateTally(r *Root, message string, change func(*tally)) error {
	key, t := tallyKey(r.Key.Namespace, message), new(tally)
	if err := r.Get(key, t); err != nil {
		return err
	}
	change(t)
	return r.Put(key, t)
}

// messageTypes are the mutations of this application that go through the
// journal.
func messageTypes() mutationTypes {
	return mutationTypes{
		"SendMessage":  func() Mutation { return new(sendMessage) },
		"WriteReceipt": func() Mutation { return new(writeReceipt) },
		"Timeout":      func() Mutation { return new(timeout) },
		"Reminder":     func() Mutation { return new(reminder) },
	}
}
