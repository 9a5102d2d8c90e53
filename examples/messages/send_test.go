package messages

import (
	"fmt"
	"strings"
	"testing"

	"github.com/latchwork/latchwork/handlers"
)

// Unknown recipients are failures, and bad input changes nothing.
func TestUnknownUsersAndBadInput(t *testing.T) {
	integration(t, func(t *testing.T) {
		w := newCloud(t, "").newWorker("worker:80", workerOptions{})
		ctx := t.Context()
		if err := w.app.AddUsers(ctx, "ada", "bob"); err != nil {
			t.Fatal(err)
		}
		for name, try := range map[string]func() error{
			"no recipients":   func() error { _, err := w.app.Send(ctx, "ada", nil, "x"); return err },
			"unknown sender":  func() error { _, err := w.app.Send(ctx, "zoe", []string{"bob"}, "x"); return err },
			"empty sender":    func() error { _, err := w.app.Send(ctx, "", []string{"bob"}, "x"); return err },
			"empty recipient": func() error { _, err := w.app.Send(ctx, "ada", []string{""}, "x"); return err },
			"reserved name":   func() error { return w.app.AddUsers(ctx, "__x__") },
			"long name":       func() error { return w.app.AddUsers(ctx, strings.Repeat("x", 101)) },
			"not UTF-8":       func() error { return w.app.AddUsers(ctx, "\xff") },
			"long text":       func() error { _, err := w.app.Send(ctx, "ada", []string{"bob"}, strings.Repeat("x", 1025)); return err },
			"crowd":           func() error { _, err := w.app.Send(ctx, "ada", crowd(5001), "x"); return err },
			"no message ID":   func() error { _, err := w.app.Books(ctx, "ada"); return err },
			"unknown message": func() error { _, err := w.app.Books(ctx, "ada/1"); return err },
		} {
			if err := try(); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
		if n := w.journalled(""); n != 0 {
			t.Errorf("bad input left %d mutations", n)
		}
		message, err := w.app.Send(ctx, "ada", []string{"bob", "zoe", "bob", "ada"}, "x")
		if err != nil {
			t.Fatal(err)
		}
		if b := w.balanced(message); b.Recipients != 3 || b.Receipts != 2 || b.Failures != 1 {
			t.Errorf("the books are %+v; want 2 receipts and 1 failure of 3", b)
		}
	})
}

func crowd(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprint(i))
	}
	return names
}

// journalled counts the mutations in the journal, of the name if there is one.
func (w *worker) journalled(name string) (n int) {
	w.t.Helper()
	keys, err := w.entities.GetAll(w.t.Context(), w.app.journal().KeysOnly(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, key := range keys {
		if name == "" || key.Name == name {
			n++
		}
	}
	return n
}

// A messages.send task sends its message once, and a bad one is a dead letter.
func TestSendByTask(t *testing.T) {
	integration(t, func(t *testing.T) {
		w := newCloud(t, "").newWorker("worker:80", workerOptions{})
		if err := w.app.AddUsers(t.Context(), "ada", "bob"); err != nil {
			t.Fatal(err)
		}
		receipt, err := w.app.send.Enqueue(t.Context(), w.client, letter{"ada", []string{"bob", "zoe"}, "hello"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []letter{{"zoe", []string{"bob"}, "unknown sender"}, {"ada", nil, "no recipients"}} {
			if _, err := w.app.send.Enqueue(t.Context(), w.client, bad, nil); err != nil {
				t.Fatal(err)
			}
		}
		if b := w.balanced("ada/" + receipt.ID); b.Receipts != 1 || b.Failures != 1 {
			t.Errorf("the books are %+v; want a receipt and a failure", b)
		}
		dead := 0
		for _, err := range handlers.NewDeadLetters(w.client).List(t.Context(), "messages.send") {
			if err != nil {
				t.Fatal(err)
			}
			dead++
		}
		if dead != 2 {
			t.Errorf("%d dead letters; want 2", dead)
		}
	})
}
