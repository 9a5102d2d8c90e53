package migration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"cloud.google.com/go/datastore"

	"github.com/latchwork/latchwork/tasks"
)

type Mail struct {
	To string `json:"to"`
}

var Welcome = tasks.NewClass("welcome", &tasks.ClassOptions[Mail]{
	Queue:       "mail",
	MaxAttempts: 5,
	Backoff:     tasks.Backoff{Min: 10 * time.Second, Max: 5 * time.Minute, Doublings: 3},
})

// Enqueued is a plain task, one that waits, and one that has a name.
func Enqueued(ctx context.Context, client *tasks.Client) (again bool, err error) {
	if _, err := Welcome.Enqueue(ctx, client, Mail{To: "ada"}, nil); err != nil {
		return false, err
	}
	if _, err := Welcome.Enqueue(ctx, client, Mail{To: "ada"}, &tasks.EnqueueOptions{Delay: time.Minute}); err != nil {
		return false, err
	}
	receipt, err := Welcome.Enqueue(ctx, client, Mail{To: "ada"}, &tasks.EnqueueOptions{Name: "welcome ada"})
	return receipt.Duplicate, err
}

type User struct {
	Welcomed bool
}

// SignUp stores users and their tasks: all of them, or nothing.
func SignUp(ctx context.Context, client *tasks.Client, names ...string) error {
	return client.RunInTransaction(ctx, func(tx *tasks.Tx) error {
		for _, name := range names {
			if _, err := tx.Put(datastore.NameKey("User", name, nil), &User{}); err != nil {
				return err
			}
			if _, err := Welcome.EnqueueTx(tx, Mail{To: name}, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// SendWelcome is committed once, however often it is delivered: the ledger's row
// is part of tx.
func SendWelcome(ctx context.Context, tx *tasks.Tx, m Mail) error {
	key := datastore.NameKey("User", m.To, nil)
	var u User
	if err := tx.Get(key, &u); errors.Is(err, datastore.ErrNoSuchEntity) {
		return tasks.Cancel(fmt.Errorf("%s is gone", m.To))
	} else if err != nil {
		return err
	}
	u.Welcomed = true
	_, err := tx.Put(key, &u)
	return err
}

// Handlers are what handlers.New serves.
func Handlers() []tasks.Handler {
	return []tasks.Handler{Welcome.HandleTx(SendWelcome), Import.Handle(ImportFile)}
}

type File struct {
	Name string `json:"name"`
}

var Import = tasks.NewClass[File]("import", nil)

var (
	ErrBusy  = errors.New("the file is still being written")
	ErrGone  = errors.New("the file is gone")
	ErrBad   = errors.New("the file can't be read")
	ErrQuota = errors.New("the other side asks us to slow down")
)

// ImportFile runs at least once. What it returns decides what becomes of the task.
func ImportFile(ctx context.Context, f File) error {
	switch err := load(ctx, f); {
	case errors.Is(err, ErrBusy):
		return tasks.Snooze(time.Minute)
	case errors.Is(err, ErrGone):
		return tasks.Cancel(err)
	case errors.Is(err, ErrBad):
		return tasks.Dead(err)
	case errors.Is(err, ErrQuota):
		return tasks.BackPressure(err)
	default:
		return err
	}
}

func load(ctx context.Context, f File) error {
	delivery, _ := tasks.DeliveryFrom(ctx)
	if f.Name == "" {
		return fmt.Errorf("%w (attempt %d, last: %t)", ErrBad, delivery.Attempt, delivery.Last())
	}
	return nil
}

// Bridge serves the path of the old tasks: each of them becomes one of ours, once,
// since the name of the old task is the name of the new one.
func Bridge(client *tasks.Client) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-AppEngine-QueueName") == "" { // App Engine strips it from outside requests
			http.Error(w, "for the task queue only", http.StatusForbidden)
			return
		}
		o := &tasks.EnqueueOptions{Name: r.Header.Get("X-AppEngine-TaskName")}
		if _, err := Welcome.Enqueue(r.Context(), client, Mail{To: r.FormValue("to")}, o); err != nil {
			http.Error(w, "try again", http.StatusInternalServerError)
		}
	}
}
