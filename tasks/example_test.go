package tasks_test

import (
	"context"
	"fmt"
	"time"

	"cloud.google.com/go/datastore"

	"github.com/latchwork/latchwork/tasks"
	"github.com/latchwork/latchwork/tasks/taskstest"
)

type Welcome struct {
	User string `json:"user"`
}

var SendWelcome = tasks.NewClass("send-welcome", &tasks.ClassOptions[Welcome]{Queue: "mail"})

func Example() {
	var queue taskstest.Queue // *cloudtasks.Client in programs
	client, err := tasks.NewClient(nil, &queue, &tasks.ClientOptions{
		Project: "my-project", Location: "europe-west1", URL: "https://worker.example.com",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	o := &tasks.EnqueueOptions{Name: "welcome ada", Delay: time.Minute}
	for range 2 {
		receipt, err := SendWelcome.Enqueue(context.Background(), client, Welcome{User: "ada"}, o)
		fmt.Println("duplicate:", receipt.Duplicate, err)
	}
	fmt.Printf("%s\n", queue.Tasks("send-welcome")[0].Envelope.Payload)
	// Output:
	// duplicate: false <nil>
	// duplicate: true <nil>
	// {"user":"ada"}
}

type User struct{ Name string }

// The user and the task exist both, or neither does.
func ExampleClass_EnqueueTx() {
	signUp := func(ctx context.Context, client *tasks.Client, name string) error {
		return client.RunInTransaction(ctx, func(tx *tasks.Tx) error {
			if _, err := tx.Put(datastore.NameKey("User", name, nil), &User{Name: name}); err != nil {
				return err
			}
			_, err := SendWelcome.EnqueueTx(tx, Welcome{User: name}, nil)
			return err
		})
	}
	_ = signUp
}

// At most one commit per execution: a duplicate delivery finds the ledger's row.
func ExampleClass_HandleTx() {
	handler := SendWelcome.HandleTx(func(ctx context.Context, tx *tasks.Tx, p Welcome) error {
		key := datastore.NameKey("User", p.User, nil)
		var u User
		if err := tx.Get(key, &u); err == datastore.ErrNoSuchEntity {
			return tasks.Cancel(fmt.Errorf("user %s is gone", p.User))
		} else if err != nil {
			return err // tried again, with backoff
		}
		_, err := tx.Put(key, &u)
		return err
	})
	fmt.Println(handler.Spec().Name, handler.Spec().Err())
	// Output: send-welcome <nil>
}
