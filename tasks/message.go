package tasks

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// message is a task before the queue has it: what the outbox keeps.
type message struct {
	Spec     Spec
	Name     string    // in the queue
	ETA      time.Time // as asked for; zero is at once
	Schedule time.Time // of this leg; zero is at once
	LockKey  string    // of a coalescing class
	Envelope Envelope
	body     []byte // the encoded envelope
}

// newMessage checks everything that could be refused later.
func (c *Client) newMessage(ctx context.Context, s Spec, payload json.RawMessage, lockKey string, o *EnqueueOptions) (message, error) {
	if c == nil || c.submit == nil {
		return message{}, &RuleError{"client", "nil", "must come from NewClient"}
	}
	if o == nil {
		o = &EnqueueOptions{}
	}
	what := fmt.Sprintf("class %q: EnqueueOptions.", s.Name)
	now := time.Now()
	eta := o.ETA
	switch {
	case o.Delay != 0 && !o.ETA.IsZero():
		return message{}, &RuleError{what + "Delay", o.Delay, "cannot be combined with ETA"}
	case o.Delay < 0:
		return message{}, &RuleError{what + "Delay", o.Delay, "must not be negative"}
	case o.Delay > 0:
		eta = now.Add(o.Delay)
	case !o.ETA.IsZero() && (o.ETA.Year() < 1970 || o.ETA.Year() > 8999):
		return message{}, &RuleError{what + "ETA", o.ETA, "must be in the years 1970 to 8999"}
	}
	if len(o.Name) > 1500 {
		return message{}, &RuleError{what + "Name", fmt.Sprintf("%d bytes", len(o.Name)), "must be at most 1,500 bytes"}
	}
	if err := c.checkTimeout(s); err != nil {
		return message{}, err
	}

	m := message{Spec: s, ETA: eta, Envelope: Envelope{
		Class: s.Name, Version: s.Version, ID: newID(), Payload: payload,
		EnqueuedAt: wireTime(now), Timeout: s.Timeout.Truncate(time.Millisecond), TraceParent: traceParentOf(ctx),
	}}
	m.Name = hopName(m.Envelope)
	switch {
	case s.Busy == BusyCoalesce && o.Name != "":
		return message{}, &RuleError{what + "Name", fmt.Sprintf("%q", clip(o.Name)), "must be empty: a coalescing class names its tasks by lock key and slot"}
	case s.Busy == BusyCoalesce:
		m.LockKey = lockKey
		c.slot(&m, now)
	case o.Name != "":
		m.Name = callerName(c.o.Namespace, s.Name, o.Name)
	}
	if err := m.date(now); err != nil {
		return message{}, err
	}
	return m, checkSize(s.Name, m.body, 0)
}

// slot gives the task of a coalescing class its slot and name, for work that is
// ready now or, where later, at its ETA.
func (c *Client) slot(m *message, now time.Time) {
	ready := now
	if m.ETA.After(ready) {
		ready = m.ETA
	}
	m.ETA = SlotAt(ready, m.Spec.Slot)
	m.Name = slotName(c.o.Namespace, m.Spec.Name, m.LockKey, m.ETA)
}

// slotPassed tells whether the slot's task may have run by now. Another
// transaction's task of the same slot and name is then no proof that anybody will
// see what this one committed. A quarter of a slot is for clocks that differ. A
// redriven task is in no slot: it has its hop's name.
func (m *message) slotPassed(now time.Time) bool {
	return m.Spec.Busy == BusyCoalesce && m.Envelope.Hop == 0 && !m.ETA.After(now.Add(m.Spec.Slot/4))
}

// date computes the times of the hop as of now, and its body. After an error the
// message is as it was.
func (m *message) date(now time.Time) error {
	e := m.Envelope
	schedule := e.date(now, m.ETA, m.Spec)
	body, err := e.Encode()
	if err != nil {
		return err
	}
	m.Envelope, m.Schedule, m.body = e, schedule, body
	return nil
}

// follow is the message for the next hop of an execution, due at eta.
func (c *Client) follow(s Spec, e Envelope, eta time.Time) (message, error) {
	e.Hop++
	e.Timeout = s.Timeout.Truncate(time.Millisecond)
	m := message{Spec: s, Name: hopName(e), ETA: eta, Envelope: e}
	if err := c.checkTimeout(s); err != nil {
		return message{}, err
	}
	return m, m.date(time.Now())
}

func (c *Client) checkTimeout(s Spec) error {
	const httpMost = 30*time.Minute - dispatchSlack
	if c.o.Target == TargetHTTP && s.Timeout > httpMost {
		return &RuleError{fmt.Sprintf("class %q: Timeout", s.Name), s.Timeout, fmt.Sprintf("must be at most %v with HTTP targets, which the queue gives up after 30 min", httpMost)}
	}
	return nil
}

// request is the task for Cloud Tasks. The queue never gives up: the runner
// does, by its own count of failures.
func (c *Client) request(m message) *cloudtaskspb.CreateTaskRequest {
	parent := c.parent + m.Spec.Queue
	task := &cloudtaskspb.Task{
		Name:             parent + "/tasks/" + m.Name,
		DispatchDeadline: durationpb.New(m.Spec.Timeout + dispatchSlack),
		RetryConfig: &cloudtaskspb.RetryConfig{
			MaxAttempts:      -1,
			MaxRetryDuration: durationpb.New(0),
			MinBackoff:       durationpb.New(m.Spec.Backoff.Min),
			MaxBackoff:       durationpb.New(m.Spec.Backoff.Max),
			MaxDoublings:     int32(min(m.Spec.Backoff.Doublings, math.MaxInt32)),
		},
	}
	if !m.Schedule.IsZero() {
		task.ScheduleTime = timestamppb.New(m.Schedule)
	}
	path := PushPath + m.Envelope.Class // the next hop of a class renamed since keeps the old name
	headers := map[string]string{"Content-Type": "application/json"}
	if c.o.Target == TargetAppEngine {
		r := &cloudtaskspb.AppEngineHttpRequest{HttpMethod: cloudtaskspb.HttpMethod_POST, RelativeUri: path, Headers: headers, Body: m.body}
		if c.o.Service != "" {
			r.AppEngineRouting = &cloudtaskspb.AppEngineRouting{Service: c.o.Service}
		}
		task.MessageType = &cloudtaskspb.Task_AppEngineHttpRequest{AppEngineHttpRequest: r}
	} else {
		r := &cloudtaskspb.HttpRequest{HttpMethod: cloudtaskspb.HttpMethod_POST, Url: c.o.URL + path, Headers: headers, Body: m.body}
		if c.o.ServiceAccount != "" {
			r.AuthorizationHeader = &cloudtaskspb.HttpRequest_OidcToken{OidcToken: &cloudtaskspb.OidcToken{
				ServiceAccountEmail: c.o.ServiceAccount, Audience: c.o.Audience}}
		}
		task.MessageType = &cloudtaskspb.Task_HttpRequest{HttpRequest: r}
	}
	return &cloudtaskspb.CreateTaskRequest{Parent: parent, Task: task}
}

// messageJSON is how the outbox keeps a message. Where it goes is not part of
// it: that is the submitting client's configuration.
type messageJSON struct {
	Queue    string          `json:"queue"`
	Name     string          `json:"name"`
	ETA      time.Time       `json:"eta,omitzero"`
	Schedule time.Time       `json:"schedule,omitzero"`
	MaxAge   time.Duration   `json:"maxAgeNs"`
	Backoff  Backoff         `json:"backoff"`
	Slot     time.Duration   `json:"slotNs,omitzero"` // of a coalescing class
	LockKey  string          `json:"lockKey,omitzero"`
	Envelope json.RawMessage `json:"envelope"`
}

func (m message) MarshalJSON() ([]byte, error) {
	return encodeJSON(messageJSON{m.Spec.Queue, m.Name, m.ETA.UTC(), m.Schedule, m.Spec.MaxAge, m.Spec.Backoff, m.Spec.Slot, m.LockKey, m.body})
}

func (m *message) UnmarshalJSON(b []byte) error {
	var j messageJSON
	if err := decodeJSON(b, &j); err != nil {
		return err
	}
	e, err := DecodeEnvelope(j.Envelope)
	if err != nil {
		return err
	}
	*m = message{
		Spec: Spec{Name: e.Class, Version: e.Version, Queue: j.Queue, Timeout: e.Timeout, MaxAge: j.MaxAge, Backoff: j.Backoff},
		Name: j.Name, ETA: j.ETA, Schedule: j.Schedule, LockKey: j.LockKey, Envelope: e, body: j.Envelope,
	}
	if j.Slot > 0 {
		m.Spec.Busy, m.Spec.Slot = BusyCoalesce, j.Slot
	}
	return nil
}

// traceParentOf is the W3C form of the span that ctx is in.
func traceParentOf(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier.Get("traceparent")
}
