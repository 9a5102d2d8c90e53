package messages

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"unicode/utf8"

	"cloud.google.com/go/datastore"

	"github.com/latchwork/latchwork/tasks"
)

// Bounds on what Send takes. A message is fanned out in one commit, which
// Datastore bounds at 10 MiB.
const (
	maxRecipients = 5000
	maxText       = 1024 // bytes
	maxName       = 100  // bytes
)

// App sends messages between users.
type App struct {
	o         Options
	client    *tasks.Client
	ds        *datastore.Client
	namespace string
	types     mutationTypes
	log       *slog.Logger
	stats     counters

	shard  tasks.Class[shardTask]
	notify tasks.Class[notification]
}

// New returns an application over o.Client.
func New(o *Options) (*App, error) {
	set, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	a := &App{
		o:         set,
		client:    set.Client,
		ds:        set.Client.Datastore(),
		namespace: set.Client.Namespace(),
		types:     messageTypes(),
		log:       set.Logger,
	}
	a.shard, a.notify = a.newShardClass(), a.newNotifyClass()
	return a, errors.Join(a.shard.Err(), a.notify.Err())
}

// Handlers are what handlers.New needs to serve the application's tasks.
func (a *App) Handlers() []tasks.Handler {
	return []tasks.Handler{a.shard.Handle(a.runShard), a.notify.HandleTx(a.runNotify)}
}

// AddUsers makes the users of these names known, if they are not yet.
func (a *App) AddUsers(ctx context.Context, names ...string) error {
	if err := checkNames(names); err != nil {
		return err
	}
	for chunk := range slices.Chunk(slices.Compact(slices.Sorted(slices.Values(names))), 200) {
		keys := make([]*datastore.Key, len(chunk))
		for i, name := range chunk {
			keys[i] = userKey(a.namespace, name)
		}
		err := a.client.RunInTransaction(ctx, func(tx *tasks.Tx) error {
			err := tx.GetMulti(keys, make([]user, len(keys)))
			each, _ := errors.AsType[datastore.MultiError](err)
			if err != nil && each == nil {
				return err
			}
			var missing []*datastore.Key
			for i, err := range each {
				if errors.Is(err, datastore.ErrNoSuchEntity) {
					missing = append(missing, keys[i])
				} else if err != nil {
					return err
				}
			}
			_, err = tx.PutMulti(missing, make([]user, len(missing)))
			return err
		})
		if err != nil {
			return fmt.Errorf("messages: add users: %w", err)
		}
	}
	return nil
}

// Send sends text to every recipient, once each however often it is named. It
// returns the message's ID when the message is written down, and with it all
// that must follow; deliveries go on in the background.
func (a *App) Send(ctx context.Context, from string, to []string, text string) (message string, err error) {
	to = slices.Compact(slices.Sorted(slices.Values(to)))
	if err := checkNames(append([]string{from}, to...)); err != nil {
		return "", err
	}
	if len(to) == 0 || len(to) > maxRecipients {
		return "", fmt.Errorf("messages: %d recipients; 1 to %d are accepted", len(to), maxRecipients)
	}
	if len(text) > maxText || !utf8.ValidString(text) {
		return "", fmt.Errorf("messages: a text is at most %d bytes of UTF-8; this one has %d", maxText, len(text))
	}
	write := &writeMessage{
		Message:    from + "/" + rand.Text(),
		Recipients: to,
		Text:       text,
		Timeout:    a.o.Timeout,
		Reminder:   a.o.Reminder,
	}
	err = a.transaction(ctx, write.Target(a.namespace), func(r *Root) error { return write.Run(ctx, r) })
	if err != nil {
		return "", fmt.Errorf("messages: send: %w", err)
	}
	return write.Message, nil
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
