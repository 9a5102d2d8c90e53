package messages

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"cloud.google.com/go/datastore"

	"github.com/latchwork/latchwork/tasks"
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

	send   tasks.Class[letter]
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
	a.send, a.shard, a.notify = a.newSendClass(), a.newShardClass(), a.newNotifyClass()
	return a, errors.Join(a.send.Err(), a.shard.Err(), a.notify.Err())
}

// Handlers are what handlers.New needs to serve the application's tasks.
func (a *App) Handlers() []tasks.Handler {
	return []tasks.Handler{a.send.HandleTx(a.runSend), a.shard.Handle(a.runShard), a.notify.HandleTx(a.runNotify)}
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
