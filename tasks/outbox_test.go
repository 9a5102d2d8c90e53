package tasks

import (
	"bytes"
	"testing"
	"time"
)

// What the outbox keeps must come back as it was: it is a promise.
func FuzzMessage(f *testing.F) {
	spec := NewClass("work", &ClassOptions[any]{Queue: "mail", MaxAge: time.Hour}).Spec()
	m := message{Spec: spec, ETA: time.UnixMilli(1795406320287).UTC(), Envelope: goldenEnvelope()}
	m.Name = hopName(m.Envelope)
	if err := m.date(time.UnixMilli(1795406320000)); err != nil {
		f.Fatal(err)
	}
	good, err := encodeJSON([]message{m, m})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(good), "[]", "null", "[{}]", `[{"queue":7}]`, `[{"envelope":null}]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var messages, again []message
		if decodeJSON(b, &messages) != nil {
			return
		}
		first, err := encodeJSON(messages)
		if err != nil {
			t.Skip() // times that JSON has no year for
		}
		if err := decodeJSON(first, &again); err != nil {
			t.Fatalf("encoded, but cannot be decoded: %v\n%s", err, first)
		}
		if second, err := encodeJSON(again); err != nil || !bytes.Equal(first, second) {
			t.Fatalf("unstable: %s, then %s (%v)", first, second, err)
		}
	})
}

func TestOutboxKeys(t *testing.T) {
	c := &Client{o: ClientOptions{SubmitWait: 5 * time.Second, Namespace: "ns"}}
	now := time.UnixMilli(1795406320287)
	key := c.outboxKey(now)
	until, ok := freshUntil(key.Name)
	if !ok || !until.Equal(now.Add(30*time.Second)) || key.Namespace != "ns" {
		t.Errorf("%v: fresh until %v, %v", key, until, ok)
	}
	for _, name := range []string{"", "x", "abc_", "abc_x", "abc_1_2"} {
		if _, ok := freshUntil(name); ok {
			t.Errorf("freshUntil(%q) succeeded", name)
		}
	}
	// Every key is in exactly one shard, and in the range that the shard's
	// query has.
	for _, shards := range []int{1, 2, 3, 16, 100, 256} {
		for _, name := range []string{"0000", "0001", "7fff", "8000", "aaaa", "ffff", c.outboxKey(now).Name} {
			s := shardOf(name, shards)
			if s < 0 || s >= shards || name < shardStart(s, shards) || (s < shards-1 && name >= shardStart(s+1, shards)) {
				t.Errorf("%s is in shard %d of %d, from %s to %s", name, s, shards, shardStart(s, shards), shardStart(s+1, shards))
			}
		}
	}
}

func TestRefusalBackoff(t *testing.T) {
	want := []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600}
	for i, w := range want {
		if got := nextTryIn(i + 1); got != time.Duration(w)*time.Second {
			t.Errorf("after refusal %d: %v, want %d s", i+1, got, w)
		}
	}
	if got := nextTryIn(1 << 40); got != time.Hour {
		t.Errorf("after many: %v", got)
	}
}
