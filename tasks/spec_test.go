package tasks

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func TestNewClassDefaults(t *testing.T) {
	want := Spec{
		Name: "mail", Queue: "default", Version: 1, Timeout: time.Minute, MaxAttempts: 25, MaxAge: 7 * day,
		Backoff: Backoff{time.Second, 10 * time.Minute, 10},
	}
	got := NewClass[string]("mail", nil)
	if got.Err() != nil {
		t.Fatal(got.Err())
	}
	if diff := cmp.Diff(want, got.Spec(), cmpopts.IgnoreUnexported(Spec{})); diff != "" {
		t.Errorf("Spec (-want +got):\n%s", diff)
	}
	none := NewClass("mail", &ClassOptions[string]{Backoff: Backoff{Min: time.Hour, Doublings: -1}}).Spec()
	if diff := cmp.Diff(Backoff{time.Hour, time.Hour, 0}, none.Backoff); diff != "" {
		t.Errorf("Backoff (-want +got):\n%s", diff)
	}
}

func TestNewClassRefuses(t *testing.T) {
	key := func(string) string { return "k" }
	type o = ClassOptions[string]
	tests := []struct {
		name, class, rule string
		o                 o
	}{
		{"empty name", "", "must be 1 to 100 characters", o{}},
		{"slash", "a/b", "must be 1 to 100 characters", o{}},
		{"dot", ".", "must be 1 to 100 characters", o{}},
		{"long", strings.Repeat("a", 101), "must be 1 to 100 characters", o{}},
		{"alias", "a", "Aliases", o{Aliases: []string{"b c"}}},
		{"alias of itself", "a", "must differ", o{Aliases: []string{"a"}}},
		{"alias twice", "a", "must differ", o{Aliases: []string{"b", "b"}}},
		{"queue", "a", "Queue", o{Queue: "a_b"}},
		{"version", "a", "Version", o{Version: -1}},
		{"timeout", "a", "Timeout", o{Timeout: -1}},
		{"long timeout", "a", "Timeout", o{Timeout: 25 * time.Hour}},
		{"attempts", "a", "MaxAttempts", o{MaxAttempts: -1}},
		{"age", "a", "14 d", o{MaxAge: 15 * day}},
		{"backoff", "a", "Backoff.Min", o{Backoff: Backoff{Min: time.Hour, Max: time.Minute}}},
		{"doublings", "a", "Doublings", o{Backoff: Backoff{Doublings: 33}}},
		{"coalesce without key", "a", "LockKey", o{Busy: BusyCoalesce, Slot: time.Second}},
		{"coalesce without slot", "a", "Slot", o{Busy: BusyCoalesce, LockKey: key}},
		{"odd slot", "a", "whole milliseconds", o{Busy: BusyCoalesce, LockKey: key, Slot: time.Millisecond + 1}},
		{"slot without coalesce", "a", "BusyCoalesce only", o{Slot: time.Second}},
		{"busy", "a", "Busy", o{Busy: 7}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := NewClass(tt.class, &tt.o)
			if c.Err() == nil || !strings.Contains(c.Err().Error(), tt.rule) {
				t.Errorf("Err() = %v, want %q", c.Err(), tt.rule)
			}
			if _, err := c.Enqueue(t.Context(), nil, "x", nil); err == nil {
				t.Error("Enqueue of a class that breaks a rule succeeded")
			}
		})
	}
}

func TestHandlerRefuses(t *testing.T) {
	slow := NewClass("slow", &ClassOptions[string]{Timeout: 241 * time.Second})
	shard := NewClass("shard", &ClassOptions[string]{Busy: BusyCoalesce, Slot: time.Second, LockKey: func(string) string { return "k" }})
	tx := func(context.Context, *Tx, string) error { return nil }
	then := func(context.Context, string) (func(*Tx) error, error) { return nil, nil }
	tests := []struct {
		name, rule string
		h          Handler
	}{
		{"HandleTx over 240 s", "240 s", slow.HandleTx(tx)},
		{"coalescing HandleTx", "needs Handle", shard.HandleTx(tx)},
		{"coalescing HandleThen", "needs Handle", shard.HandleThen(then)},
		{"nil", "must be a function", slow.Handle(nil)},
		{"zero", "must come from", Handler{}},
	}
	for _, tt := range tests {
		if err := tt.h.Spec().Err(); err == nil || !strings.Contains(err.Error(), tt.rule) {
			t.Errorf("%s: Err() = %v, want %q", tt.name, err, tt.rule)
		}
	}
	if err := slow.HandleThen(then).Spec().Err(); err != nil {
		t.Errorf("HandleThen over 240 s: %v", err)
	}
	if slow.Err() != nil {
		t.Errorf("a handler's error stuck to its class: %v", slow.Err())
	}
}

func TestSlotAt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slot := time.Duration(rapid.Int64Range(1, 3600e3).Draw(t, "slot")) * time.Millisecond
		now := time.Unix(0, rapid.Int64Range(1e18, 2e18).Draw(t, "now"))
		got := SlotAt(now, slot)
		if d := got.Sub(now); d < slot*3/4 || d > slot*7/4 {
			t.Fatalf("SlotAt(%v, %v) is %v away", now, slot, d)
		}
		if !got.Equal(got.Round(slot)) {
			t.Fatalf("SlotAt(%v, %v) = %v is not a multiple of the slot", now, slot, got)
		}
		if next := SlotAt(got, slot); !next.After(got) {
			t.Fatalf("the slot after %v is %v", got, next)
		}
	})
}
