// Package tasks enqueues typed work on Google Cloud Tasks, alone or inside a
// Datastore transaction.
//
// A program declares its classes of work as values, gives each a handler, and
// hands the handlers to package handlers, which runs them:
//
//	var Welcome = tasks.NewClass[Email]("welcome", &tasks.ClassOptions[Email]{Queue: "mail"})
//
//	receipt, err := Welcome.Enqueue(ctx, client, Email{To: "ada"}, nil)
//
//	err := client.RunInTransaction(ctx, func(tx *tasks.Tx) error {
//		if _, err := tx.Put(key, &user); err != nil {
//			return err
//		}
//		_, err := Welcome.EnqueueTx(tx, Email{To: "ada"}, nil)
//		return err
//	})
//
// # Guarantees
//
// A task that Enqueue acknowledged is in the queue. A task of EnqueueTx exists
// if and only if its transaction committed: it travels in an outbox entity that
// the same commit writes, and that is deleted only when the queue has proved
// that every task in it exists. Every call mints an execution id; all
// deliveries of one execution carry it, and it, never the task's name, is what
// the runner's ledger goes by.
//
// # Not guaranteed
//
// Order between tasks, and the instant at which one runs. Delivery is at least
// once; which handlers commit at most once is said at [Class.HandleTx],
// [Class.HandleThen] and [Class.Handle].
//
// # Failure modes
//
// Queue unreachable: Enqueue returns the error (the task may exist all the
// same); a transaction's tasks wait in the outbox for the sweeper. Datastore
// unreachable: RunInTransaction returns the error; Enqueue needs no Datastore.
package tasks
