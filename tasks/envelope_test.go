package tasks

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var day = 24 * time.Hour

func goldenEnvelope() Envelope {
	at := time.Date(2026, 11, 23, 9, 30, 0, 123e6, time.UTC)
	return Envelope{
		Class: "send-email", Version: 2, ID: "00112233445566778899aabbccddeeff", Hop: 3,
		Payload:    json.RawMessage(`{"to":"ada <ada@example.com>","n":9007199254740993}`),
		EnqueuedAt: at, HopAt: at.Add(time.Hour), NotAfter: at.Add(8 * day), LegTo: at.Add(40 * day),
		Timeout: 90 * time.Second, Failures: 4,
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
}

// The wire format is a promise to tasks that are already queued: the file
// changes only together with envelopeFormat.
func TestEnvelopeGolden(t *testing.T) {
	want, err := os.ReadFile("testdata/envelope.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := goldenEnvelope().Encode()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(string(want)), string(got)); diff != "" {
		t.Errorf("Encode (-want +got):\n%s", diff)
	}
	back, err := DecodeEnvelope(want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(goldenEnvelope(), back); diff != "" {
		t.Errorf("DecodeEnvelope (-want +got):\n%s", diff)
	}
}

func TestDecodeEnvelopeRefuses(t *testing.T) {
	good, _ := goldenEnvelope().Encode()
	edit := func(old, new string) []byte {
		if !bytes.Contains(good, []byte(old)) {
			t.Fatalf("the golden envelope has no %s", old)
		}
		return bytes.Replace(good, []byte(old), []byte(new), 1)
	}
	tests := []struct {
		name, rule string
		body       []byte
	}{
		{"empty", "must be a JSON envelope", nil},
		{"not JSON", "must be a JSON envelope", []byte("hello")},
		{"null", "must be 1", []byte("null")},
		{"array", "must be a JSON envelope", []byte("[]")},
		{"truncated", "must be a JSON envelope", good[:len(good)-1]},
		{"trailing", "more data", append(bytes.Clone(good), "{}"...)},
		{"format 0", "must be 1", edit(`"latchwork":1`, `"latchwork":0`)},
		{"class", "1 to 100 characters", edit("send-email", "send/email")},
		{"dots", "1 to 100 characters", edit("send-email", "..")},
		{"long", "1 to 100 characters", edit("send-email", strings.Repeat("a", 101))},
		{"version", "at least 1", edit(`"version":2`, `"version":0`)},
		{"id short", "32 lower-case", edit("00112233445566778899aabbccddeeff", "0011")},
		{"id upper", "32 lower-case", edit("00112233445566778899aabbccddeeff", "00112233445566778899AABBCCDDEEFF")},
		{"hop", "0 to 1e9", edit(`"hop":3`, `"hop":-1`)},
		{"payload", "must be present", edit(`"payload":`, `"payload2":`)},
		{"time", "1970", edit(`"enqueuedAt":"2026`, `"enqueuedAt":"0001`)},
		{"timeout", "1 ms to 24 h", edit(`"timeoutMs":90000`, `"timeoutMs":0`)},
		{"timeout overflow", "24 h", edit(`"timeoutMs":90000`, `"timeoutMs":9223372036854775807`)},
		{"failures", "0 to 1e9", edit(`"failures":4`, `"failures":-4`)},
		{"trace", "W3C", edit("-01\"", "\"")},
		{"huge", "at most", bytes.Repeat([]byte(" "), MaxEnvelopeBytes+hopBytes+1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := DecodeEnvelope(tt.body)
			if _, ok := errors.AsType[*RuleError](err); !ok || !strings.Contains(err.Error(), tt.rule) {
				t.Errorf("error %v, want a RuleError with %q", err, tt.rule)
			}
		})
	}
}

func TestDecodeEnvelopeNewerFormat(t *testing.T) {
	for _, body := range []string{`{"latchwork":2}`, `{"latchwork":2,"id":7,"hop":"three"}`} {
		if _, err := DecodeEnvelope([]byte(body)); !errors.Is(err, ErrNewerFormat) {
			t.Errorf("DecodeEnvelope(%s) = %v, want ErrNewerFormat", body, err)
		}
	}
}

func TestEnvelopeKeepsBigIntegersExact(t *testing.T) {
	type payload struct {
		N   int64
		U   uint64
		Any any
	}
	var got payload
	class := NewClass[payload]("big", nil)
	h := class.Handle(nil)
	in := payload{math.MinInt64, math.MaxUint64, int64(math.MaxInt64)}
	raw, err := encodeJSON(in)
	if err != nil {
		t.Fatal(err)
	}
	e := goldenEnvelope()
	e.Payload = raw
	body, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodeEnvelope(body)
	if err != nil {
		t.Fatal(err)
	}
	if err := decodeJSON(back.Payload, &got); err != nil {
		t.Fatal(err)
	}
	want := payload{math.MinInt64, math.MaxUint64, json.Number("9223372036854775807")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("payload (-want +got):\n%s", diff)
	}
	if h.Spec().Err() == nil {
		t.Error("a nil handler was accepted")
	}
}

func TestEnvelopeSizeLimit(t *testing.T) {
	e := goldenEnvelope()
	e.Payload = json.RawMessage(`""`)
	small, _ := e.Encode()
	room := MaxEnvelopeBytes + hopBytes - len(small)
	// HTML escapes would multiply these bytes by six.
	e.Payload = json.RawMessage(`"` + strings.Repeat("<", room) + `"`)
	body, err := e.Encode()
	if err != nil || len(body) != MaxEnvelopeBytes+hopBytes {
		t.Fatalf("Encode at the limit: %d bytes, %v", len(body), err)
	}
	e.Payload = json.RawMessage(`"` + strings.Repeat("<", room+1) + `"`)
	if _, err := e.Encode(); err == nil || !strings.Contains(err.Error(), "921600") {
		t.Errorf("Encode one byte over the limit: %v", err)
	}
	// The outbox must hold what the envelope may.
	m := message{Spec: NewClass[any]("x", nil).Spec(), Name: hopName(e), Envelope: e, body: body}
	b, err := encodeJSON(m)
	if err != nil || len(b) > outboxBytes-2 {
		t.Errorf("a full message has %d bytes in the outbox (%v), more than %d", len(b), err, outboxBytes-2)
	}
}

func TestEnvelopeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.UnixMilli(rapid.Int64Range(0, 200e12).Draw(t, "at")).UTC()
		var legTo time.Time
		if rapid.Bool().Draw(t, "leg") {
			legTo = at.Add(60 * day)
		}
		e := Envelope{
			Class: rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._-]{0,99}`).Draw(t, "class"), Version: rapid.IntRange(1, 99).Draw(t, "version"),
			ID: rapid.StringMatching(`[0-9a-f]{32}`).Draw(t, "id"), Hop: rapid.IntRange(0, 1e9).Draw(t, "hop"),
			EnqueuedAt: at, HopAt: at, NotAfter: at.Add(7 * day), LegTo: legTo,
			Timeout: time.Duration(rapid.Int64Range(1, 86400000).Draw(t, "timeout")) * time.Millisecond,
		}
		e.Payload, _ = encodeJSON(rapid.String().Draw(t, "payload"))
		body, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeEnvelope(body)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, back); diff != "" {
			t.Fatalf("round trip (-want +got):\n%s", diff)
		}
	})
}

// What decodes must encode again, and decode to the same.
func FuzzDecodeEnvelope(f *testing.F) {
	good, _ := goldenEnvelope().Encode()
	for _, seed := range []string{string(good), "", "null", "{}", `{"latchwork":1}`, `{"latchwork":2}`, `{"latchwork":1,"payload":` + strings.Repeat("[", 100), strings.Replace(string(good), "2026", "9999", 1)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := DecodeEnvelope(body)
		if err != nil {
			return
		}
		again, err := e.Encode()
		if err != nil {
			t.Fatalf("decoded, but cannot be encoded: %v", err)
		}
		back, err := DecodeEnvelope(again)
		if err != nil {
			t.Fatalf("encoded, but cannot be decoded: %v", err)
		}
		if third, err := back.Encode(); err != nil || !bytes.Equal(again, third) {
			t.Fatalf("unstable: %s, then %s (%v)", again, third, err)
		}
	})
}

func TestEnvelopeDate(t *testing.T) {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	week := NewClass[any]("x", nil).Spec() // MaxAge 7 d, so a leg reaches 21 d
	tests := []struct {
		name                      string
		eta                       time.Time
		schedule, notAfter, legTo time.Time
	}{
		{name: "now", notAfter: now.Add(7 * day)},
		{name: "past", eta: now.Add(-day), notAfter: now.Add(7 * day)},
		{name: "near", eta: now.Add(day), schedule: now.Add(day), notAfter: now.Add(8 * day)},
		{name: "at the reach", eta: now.Add(21 * day), schedule: now.Add(21 * day), notAfter: now.Add(28 * day)},
		{name: "beyond", eta: now.Add(21*day + time.Millisecond), schedule: now.Add(21 * day), notAfter: now.Add(28 * day), legTo: now.Add(21*day + time.Millisecond)},
		{name: "years", eta: now.Add(1000 * day), schedule: now.Add(21 * day), notAfter: now.Add(28 * day), legTo: now.Add(1000 * day)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := Envelope{LegTo: now}
			got := []time.Time{e.date(now, tt.eta, week), e.NotAfter, e.LegTo, e.HopAt}
			if diff := cmp.Diff([]time.Time{tt.schedule, tt.notAfter, tt.legTo, now}, got); diff != "" {
				t.Errorf("schedule, notAfter, legTo, hopAt (-want +got):\n%s", diff)
			}
			if keep := e.ExpireAt(); keep.Before(now.Add(32*day)) || keep.Before(e.NotAfter.Add(day)) {
				t.Errorf("ExpireAt %v: a delivery could be later", keep)
			}
		})
	}
}
