package tasks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// envelopeFormat is the wire format's number: a worker leaves higher ones to
// newer workers.
const envelopeFormat = 1

// ErrNewerFormat is returned for an envelope of a format that this version
// does not know yet.
var ErrNewerFormat = errors.New("tasks: the envelope has a newer format")

var (
	executionID = regexp.MustCompile(`^[0-9a-f]{32}$`)
	traceParent = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)
)

// Envelope is the body of every task: plain JSON. Times are in UTC and whole
// milliseconds.
type Envelope struct {
	Class   string
	Version int
	ID      string // the execution: 128 random bits in hex
	Hop     int    // +1 for each snooze, redrive or leg
	Payload json.RawMessage

	EnqueuedAt time.Time     // when the caller enqueued
	HopAt      time.Time     // when this hop's task was created
	NotAfter   time.Time     // the hop's ETA + MaxAge
	LegTo      time.Time     // the ETA proper, when it lies beyond this leg; else zero
	Timeout    time.Duration // of the class, as the queue knows it; whole milliseconds
	Failures   int           // counted before this hop

	TraceParent string
}

type envelopeJSON struct {
	Format      int             `json:"latchwork"`
	Class       string          `json:"class"`
	Version     int             `json:"version"`
	ID          string          `json:"id"`
	Hop         int             `json:"hop"`
	Payload     json.RawMessage `json:"payload"`
	EnqueuedAt  time.Time       `json:"enqueuedAt"`
	HopAt       time.Time       `json:"hopAt"`
	NotAfter    time.Time       `json:"notAfter"`
	LegTo       time.Time       `json:"legTo,omitzero"`
	TimeoutMS   int64           `json:"timeoutMs"`
	Failures    int             `json:"failures,omitempty"`
	TraceParent string          `json:"traceparent,omitempty"`
}

// Encode returns the body. It refuses an envelope that Decode would refuse.
func (e Envelope) Encode() ([]byte, error) {
	if err := e.validate(); err != nil {
		return nil, err
	}
	b, err := encodeJSON(envelopeJSON{
		envelopeFormat, e.Class, e.Version, e.ID, e.Hop, e.Payload,
		e.EnqueuedAt, e.HopAt, e.NotAfter, e.LegTo, e.Timeout.Milliseconds(), e.Failures, e.TraceParent,
	})
	if err != nil {
		return nil, &RuleError{"class " + e.Class + ": payload", clip(string(e.Payload)), "must be JSON: " + err.Error()}
	}
	if err := checkSize(e.Class, b, hopBytes); err != nil {
		return nil, err
	}
	return b, nil
}

// checkSize tells the bound of an enqueue, whatever later hops may add.
func checkSize(class string, body []byte, more int) error {
	if len(body) <= MaxEnvelopeBytes+more {
		return nil
	}
	return &RuleError{"class " + class + ": encoded task", fmt.Sprintf("%d bytes", len(body)),
		fmt.Sprintf("must be at most %d bytes; keep large data elsewhere and send its key", MaxEnvelopeBytes)}
}

// DecodeEnvelope reads a body. Fields that it does not know are ignored.
func DecodeEnvelope(body []byte) (Envelope, error) {
	if most := MaxEnvelopeBytes + hopBytes; len(body) > most {
		return Envelope{}, &RuleError{"task body", fmt.Sprintf("%d bytes", len(body)), fmt.Sprintf("must be at most %d bytes", most)}
	}
	var j envelopeJSON
	if err := decodeJSON(body, &j); err != nil {
		// A newer format may have other types in its fields.
		var f struct {
			Format int `json:"latchwork"`
		}
		if json.Unmarshal(body, &f) == nil && f.Format > envelopeFormat {
			return Envelope{}, ErrNewerFormat
		}
		return Envelope{}, &RuleError{"task body", clip(string(body)), "must be a JSON envelope: " + err.Error()}
	}
	if j.Format > envelopeFormat {
		return Envelope{}, ErrNewerFormat
	}
	if j.Format != envelopeFormat {
		return Envelope{}, &RuleError{"envelope: latchwork", j.Format, "must be 1"}
	}
	if j.TimeoutMS > maxTimeout.Milliseconds() { // before it can overflow
		return Envelope{}, &RuleError{"envelope: timeoutMs", j.TimeoutMS, "must be at most 24 h"}
	}
	e := Envelope{
		Class: j.Class, Version: j.Version, ID: j.ID, Hop: j.Hop, Payload: j.Payload,
		EnqueuedAt: wireTime(j.EnqueuedAt), HopAt: wireTime(j.HopAt), NotAfter: wireTime(j.NotAfter), LegTo: wireTime(j.LegTo),
		Timeout: time.Duration(j.TimeoutMS) * time.Millisecond, Failures: j.Failures, TraceParent: j.TraceParent,
	}
	return e, e.validate()
}

func (e Envelope) validate() error {
	rule := func(field string, value any, rule string) error {
		return &RuleError{"envelope: " + field, value, rule}
	}
	switch {
	case !className.MatchString(e.Class):
		return rule("class", fmt.Sprintf("%q", clip(e.Class)), "must be 1 to 100 characters [A-Za-z0-9._-]")
	case e.Version < 1:
		return rule("version", e.Version, "must be at least 1")
	case !executionID.MatchString(e.ID):
		return rule("id", fmt.Sprintf("%q", clip(e.ID)), "must be 32 lower-case hex digits")
	case e.Hop < 0 || e.Hop > 1e9:
		return rule("hop", e.Hop, "must be 0 to 1e9")
	case len(e.Payload) == 0:
		return rule("payload", "absent", "must be present")
	case !inYears(e.EnqueuedAt) || !inYears(e.HopAt) || !inYears(e.NotAfter):
		return rule("times", fmt.Sprintf("%v, %v, %v", e.EnqueuedAt, e.HopAt, e.NotAfter), "must be in the years 1970 to 9000")
	case !e.LegTo.IsZero() && !inYears(e.LegTo):
		return rule("legTo", e.LegTo, "must be in the years 1970 to 9000")
	case e.Timeout < time.Millisecond || e.Timeout > maxTimeout:
		return rule("timeoutMs", e.Timeout, "must be 1 ms to 24 h")
	case e.Failures < 0 || e.Failures > 1e9:
		return rule("failures", e.Failures, "must be 0 to 1e9")
	case e.TraceParent != "" && !traceParent.MatchString(e.TraceParent):
		return rule("traceparent", fmt.Sprintf("%q", clip(e.TraceParent)), "must be a W3C traceparent")
	}
	return nil
}

// Key names the hop in ledger and dead letters.
func (e Envelope) Key() string { return fmt.Sprintf("%s.%d", e.ID, e.Hop) }

// ExpireAt is until when the hop's ledger row is kept: no delivery can be later
// than 31 d after the hop was created, when the queue deletes it.
func (e Envelope) ExpireAt() time.Time {
	t := e.HopAt.Add(queueRetention)
	if e.NotAfter.After(t) {
		t = e.NotAfter
	}
	return t.Add(24 * time.Hour)
}

// date gives the hop its times, as of now, for a task that is due at eta, and
// returns when the queue is to deliver it (zero: at once).
func (e *Envelope) date(now, eta time.Time, s Spec) (schedule time.Time) {
	e.HopAt, e.LegTo = wireTime(now), time.Time{}
	due := e.HopAt
	if eta = wireTime(eta); eta.After(due) {
		schedule = eta
		if far := due.Add(s.reach()); eta.After(far) {
			schedule, e.LegTo = far, eta
		}
		due = schedule
	}
	e.NotAfter = due.Add(s.MaxAge)
	return schedule
}

func wireTime(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Millisecond)
}

func inYears(t time.Time) bool { return t.Year() >= 1970 && t.Year() <= 9000 }

// encodeJSON is json.Marshal without HTML escapes: people read payloads.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// decodeJSON reads exactly one value, numbers exact.
func decodeJSON(b []byte, v any) error { return decode(json.NewDecoder(bytes.NewReader(b)), v) }

// decodeStrictly also refuses fields that v doesn't have.
func decodeStrictly(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return decode(d, v)
}

func decode(d *json.Decoder, v any) error {
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more data after the value")
	}
	return nil
}

// clip bounds what an error repeats of its input.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
