// Hello is a worker in one file: a class, its handler, and a first task that is
// enqueued by a transaction.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	cloudtasks "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/datastore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/handlers/auth"
	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/tasks"
)

type Signup struct {
	User string `json:"user"`
}

type User struct {
	Greeted time.Time
}

var Greet = tasks.NewClass[Signup]("greet", nil)

// greet runs in the transaction that also records that it ran: whatever is
// delivered twice is committed once.
func greet(ctx context.Context, tx *tasks.Tx, s Signup) error {
	fmt.Println("hello,", s.User)
	_, err := tx.Put(datastore.NameKey("User", s.User, nil), &User{Greeted: time.Now()})
	return err
}

// signUp stores a user and enqueues the task: both, or neither.
func signUp(ctx context.Context, client *tasks.Client, user string) error {
	return client.RunInTransaction(ctx, func(tx *tasks.Tx) error {
		if _, err := tx.Put(datastore.NameKey("User", user, nil), &User{}); err != nil {
			return err
		}
		_, err := Greet.EnqueueTx(tx, Signup{User: user}, nil)
		return err
	})
}

func run(ctx context.Context) error {
	const url, account = "http://127.0.0.1:8090", "worker@my-project.iam.gserviceaccount.com"
	tasksHost := os.Getenv("CLOUD_TASKS_EMULATOR_HOST")

	entities, err := datastore.NewClient(ctx, "my-project") // reads DATASTORE_EMULATOR_HOST
	if err != nil {
		return err
	}
	queue, err := cloudtasks.NewClient(ctx, tasks.EmulatorOptions(tasksHost)...)
	if err != nil {
		return err
	}
	client, err := tasks.NewClient(entities, queue, &tasks.ClientOptions{
		Project: "my-project", Location: "europe-west1", URL: url, ServiceAccount: account, Audience: url,
	})
	if err != nil {
		return err
	}
	cache, err := memlock.NewMemcacheClient(strings.Split(os.Getenv("MEMCACHE_ADDRS"), ",")...)
	if err != nil {
		return err
	}
	verifier, err := auth.NewOIDC(&auth.OIDCOptions{ // who may push: closed by default
		Audiences: []string{url}, Emails: []string{account},
		JWKSURL: "http://" + tasksHost + "/oauth2/v3/certs", Getenv: os.Getenv, // leave out in the cloud
	})
	if err != nil {
		return err
	}
	locker := memlock.New(memlock.NewMemcacheStore(cache, nil), nil)
	server, err := handlers.New(client, locker, verifier, []tasks.Handler{Greet.HandleTx(greet)}, nil)
	if err != nil {
		return err
	}
	if err := createQueues(ctx, queue, server.Queues()); err != nil {
		return err
	}
	if err := signUp(ctx, client, "ada"); err != nil {
		return err
	}
	go server.RunSweeper(ctx, time.Minute)
	return serve(ctx, server)
}

// createQueues does in an emulator what a deploy of queue.yaml does in the cloud.
func createQueues(ctx context.Context, queue *cloudtasks.Client, names []string) error {
	const parent = "projects/my-project/locations/europe-west1"
	for _, name := range names {
		_, err := queue.CreateQueue(ctx, &cloudtaskspb.CreateQueueRequest{
			Parent: parent,
			Queue:  &cloudtaskspb.Queue{Name: parent + "/queues/" + name},
		})
		if err != nil && status.Code(err) != codes.AlreadyExists {
			return err
		}
	}
	return nil
}

// serve answers pushes until ctx ends; then running handlers have 10 s.
func serve(ctx context.Context, worker *handlers.Server) error {
	server := &http.Server{Addr: "127.0.0.1:8090", Handler: worker, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(worker.Shutdown(grace), server.Shutdown(grace))
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}
