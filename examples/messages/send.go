package messages

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/latchwork/latchwork/tasks"
)

// Bounds on what Send takes. A message is fanned out in one commit, which
// Datastore bounds at 10 MiB.
const (
	maxRecipients = 5000
	maxText       = 1024 // bytes
	maxName       = 100  // bytes
)

// letter is a message to be sent: the payload of a messages.send task.
type letter struct {
	From string   `json:"from"`
	To   []string `json:"to"`
	Text string   `json:"text"`
}

// check names each recipient once, and applies the rules of Datastore, so that
// bad input is refused here and not in the middle of a fan-out.
func (l *letter) check() error {
	l.To = slices.Compact(slices.Sorted(slices.Values(l.To)))
	if len(l.To) == 0 || len(l.To) > maxRecipients {
		return fmt.Errorf("messages: %d recipients; 1 to %d are accepted", len(l.To), maxRecipients)
	}
	if len(l.Text) > maxText || !utf8.ValidString(l.Text) {
		return fmt.Errorf("messages: a text is at most %d bytes of UTF-8; this one has %d", maxText, len(l.Text))
	}
	return checkNames(append([]string{l.From}, l.To...))
}

func (a *App) writeMessage(l letter, unique string) *writeMessage {
	return &writeMessage{
		Message:    l.From + "/" + unique,
		Recipients: l.To,
		Text:       l.Text,
		Timeout:    a.o.Timeout,
		Reminder:   a.o.Reminder,
	}
}

// Send sends text to every recipient, once each however often it is named. It
// returns the message's ID when the message is written down, and with it all
// that must follow; deliveries go on in the background.
func (a *App) Send(ctx context.Context, from string, to []string, text string) (message string, err error) {
	l := letter{from, to, text}
	if err := l.check(); err != nil {
		return "", err
	}
	write := a.writeMessage(l, rand.Text())
	err = a.transaction(ctx, write.Target(a.namespace), func(r *Root) error { return write.Run(ctx, r) })
	if err != nil {
		return "", fmt.Errorf("messages: send: %w", err)
	}
	return write.Message, nil
}

// newSendClass declares the task that sends a message, for those who would
// rather enqueue than wait.
func (a *App) newSendClass() tasks.Class[letter] {
	return tasks.NewClass("messages.send", &tasks.ClassOptions[letter]{Queue: a.o.Queue})
}

// runSend is Send inside a task's own transaction, which the ledger lets commit
// once: the message is sent once, however often the queue delivers.
func (a *App) runSend(ctx context.Context, tx *tasks.Tx, l letter) error {
	if err := l.check(); err != nil {
		return tasks.Dead(err) // trying again would not help
	}
	delivery, _ := tasks.DeliveryFrom(ctx)
	write := a.writeMessage(l, delivery.ID)
	r := a.newRoot(write.Target(a.namespace), tx)
	if err := write.Run(ctx, r); errors.Is(err, errUnknownSender) {
		return tasks.Dead(err)
	} else if err != nil {
		return err
	}
	return r.flush()
}

// checkNames applies the rules of Datastore keys, so that a bad name is refused
// here and not in the middle of a fan-out.
func checkNames(names []string) error {
	for _, name := range names {
		switch {
		case name == "" || len(name) > maxName || !utf8.ValidString(name):
			return fmt.Errorf("messages: a user's name is 1 to %d bytes of UTF-8, not %.120q", maxName, name)
		case strings.HasPrefix(name, "__") && strings.HasSuffix(name, "__"):
			return fmt.Errorf("messages: the user's name %q is reserved by Datastore", name)
		}
	}
	return nil
}

func checkMessageID(message string) error {
	if i := strings.LastIndexByte(message, '/'); i < 1 || i == len(message)-1 || len(message) > 2*maxName {
		return fmt.Errorf("messages: %.120q is not the ID of a message", message)
	}
	return nil
}
