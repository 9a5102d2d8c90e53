package messages

import (
	"context"
	"errors"
	"fmt"

	"cloud.google.com/go/datastore"

	"github.com/latchwork/latchwork/tasks"
)

// notification is both the payload of a messages.notify task and the entity
// that it leaves.
type notification struct {
	Recipient string `json:"recipient" datastore:",noindex"`
	Message   string `json:"message"`
}

func (a *App) newNotifyClass() tasks.Class[notification] {
	return tasks.NewClass("messages.notify", &tasks.ClassOptions[notification]{Queue: a.o.Queue})
}

// runNotify adds a notification to the recipient's. Unlike a mutation it is not
// idempotent: another run would add another one. The ledger, written by the
// same transaction, sees to it that one commits, however often the queue
// delivers.
func (a *App) runNotify(_ context.Context, tx *tasks.Tx, n notification) error {
	key, u := userKey(a.namespace, n.Recipient), new(user)
	if err := tx.Get(key, u); errors.Is(err, datastore.ErrNoSuchEntity) {
		return tasks.Cancel(fmt.Errorf("messages: the user %q is gone", n.Recipient))
	} else if err != nil {
		return err
	}
	u.Unread++
	if _, err := tx.Put(key, u); err != nil {
		return err
	}
	entry := datastore.IncompleteKey(notificationKind, key)
	entry.Namespace = a.namespace
	_, err := tx.Put(entry, &n)
	return err
}
