package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"cloud.google.com/go/datastore"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/tasks"
)

// The status table of the design, written out once more.
func TestStatusTable(t *testing.T) {
	want := map[string]int{
		"committed": 200, "duplicate": 200, "snoozed": 200, "leg": 200, "cancelled": 200, "dead": 200, "malformed": 200, "coalesced": 200, "busy-done": 200,
		"busy":   409,
		"failed": 500, "timed-out": 500, "contention": 500, "unavailable": 500, "interrupted": 500, "shutdown": 500,
		"unknown-class": 404, "newer-version": 404,
		"forbidden":     403,
		"back-pressure": 503, "lock-down": 503,
	}
	got := make(map[string]int)
	for o := range outcomes {
		got[o.String()] = o.Status()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status table (-want +got):\n%s", diff)
	}
	for _, o := range []Outcome{-1, outcomes} {
		if o.Status() != http.StatusInternalServerError || o.String() != "unknown" {
			t.Errorf("%d: %v", o, o.Status())
		}
	}
}

func TestJudge(t *testing.T) {
	rpc := func(c codes.Code) error { return status.Error(c, "x") }
	no := errors.New("no luck")
	tests := []struct {
		name  string
		err   error
		cause error
		want  Outcome
	}{
		{"nothing", nil, nil, OutcomeCommitted},
		{"error", &handlerError{no, nil}, nil, OutcomeFailed},
		{"error, and the context ended since", &handlerError{no, nil}, errDeadline, OutcomeFailed},
		{"panic", &handlerError{&panicError{"x", nil}, nil}, nil, OutcomeFailed},
		{"deadline", &handlerError{no, errDeadline}, errDeadline, OutcomeTimedOut},
		{"nil after the deadline", &handlerError{nil, errDeadline}, errDeadline, OutcomeTimedOut},
		{"a verdict after the deadline", &handlerError{tasks.Snooze(1), errDeadline}, errDeadline, OutcomeTimedOut},
		{"abandoned", &handlerError{errAbandoned, errDeadline}, errDeadline, OutcomeTimedOut},
		{"lost", &handlerError{nil, memlock.ErrLost}, memlock.ErrLost, OutcomeInterrupted},
		{"a verdict without the lock", &handlerError{tasks.Cancel(no), memlock.ErrLost}, memlock.ErrLost, OutcomeInterrupted},
		{"gone", &handlerError{no, context.Canceled}, context.Canceled, OutcomeInterrupted},
		{"shutdown", &handlerError{no, ErrShutdown}, ErrShutdown, OutcomeShutdown},
		{"no commit started: lost", memlock.ErrLost, memlock.ErrLost, OutcomeInterrupted},
		{"no commit started: deadline", errDeadline, errDeadline, OutcomeTimedOut},
		{"snooze", &handlerError{fmt.Errorf("x: %w", tasks.Snooze(1)), nil}, nil, OutcomeSnoozed},
		{"cancel", &handlerError{tasks.Cancel(no), nil}, nil, OutcomeCancelled},
		{"dead", &handlerError{tasks.Dead(no), nil}, nil, OutcomeDead},
		{"back-pressure", &handlerError{tasks.BackPressure(no), nil}, nil, OutcomeBackPressure},
		{"read aborted", &tasks.TxError{RPC: rpc(codes.Aborted), Func: &handlerError{no, nil}}, nil, OutcomeContention},
		{"commit aborted", &tasks.TxError{RPC: datastore.ErrConcurrentTransaction, AtCommit: true}, nil, OutcomeContention},
		{"read unavailable, verdict", &tasks.TxError{RPC: rpc(codes.Unavailable), Func: &handlerError{tasks.Dead(no), nil}}, nil, OutcomeUnavailable},
		{"read cut off by the deadline", &tasks.TxError{RPC: rpc(codes.DeadlineExceeded), Func: &handlerError{no, errDeadline}}, errDeadline, OutcomeUnavailable},
		{"read cut off by shutdown", &tasks.TxError{RPC: rpc(codes.Canceled), Func: &handlerError{no, ErrShutdown}}, ErrShutdown, OutcomeShutdown},
		{"commit cut off by a lost lock", &tasks.TxError{RPC: rpc(codes.Canceled), AtCommit: true}, memlock.ErrLost, OutcomeInterrupted},
		{"the ledger's trouble", &tasks.TxError{RPC: errors.New("odd row")}, nil, OutcomeUnavailable},
		{"commit refused", &tasks.TxError{RPC: rpc(codes.InvalidArgument), AtCommit: true}, nil, OutcomeFailed},
	}
	for _, c := range []codes.Code{codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Internal, codes.Unknown, codes.ResourceExhausted, codes.PermissionDenied, codes.Unauthenticated} {
		tests = append(tests, struct {
			name  string
			err   error
			cause error
			want  Outcome
		}{"commit: " + c.String(), &tasks.TxError{RPC: rpc(c), AtCommit: true}, nil, OutcomeUnavailable})
	}
	for _, c := range []codes.Code{codes.InvalidArgument, codes.AlreadyExists, codes.NotFound, codes.FailedPrecondition} {
		tests = append(tests, struct {
			name  string
			err   error
			cause error
			want  Outcome
		}{"commit: " + c.String(), &tasks.TxError{RPC: rpc(c), AtCommit: true}, nil, OutcomeFailed})
	}
	for _, tt := range tests {
		if got := judge(tt.err, tt.cause); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestInTime(t *testing.T) {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	e := tasks.Envelope{HopAt: now, NotAfter: now.Add(7 * 24 * time.Hour)}
	expire := e.ExpireAt()
	tests := []struct {
		at       time.Time
		failures int
		want     error
	}{
		{now, 5, nil},
		{e.NotAfter, 5, nil},
		{e.NotAfter.Add(1), 0, nil},
		{e.NotAfter.Add(1), 1, errExpired},
		{expire.Add(-time.Hour), 0, nil},
		{expire.Add(-time.Hour + 1), 0, errUnknown},
		{expire.Add(-time.Hour + 1), 1, errUnknown},
	}
	for _, tt := range tests {
		if got := inTime(e, row{Failures: tt.failures}, tt.at); got != tt.want {
			t.Errorf("at %v with %d failures: %v, want %v", tt.at, tt.failures, got, tt.want)
		}
	}
}

func TestParseETA(t *testing.T) {
	at := time.Date(2026, 11, 23, 9, 30, 0, 123456000, time.UTC)
	tests := map[string]time.Time{
		fmt.Sprintf("%d.123456", at.Unix()):    at,
		fmt.Sprintf("%d", at.Unix()):           at.Truncate(time.Second),
		fmt.Sprintf("%d.5", at.Unix()):         at.Truncate(time.Second).Add(500 * time.Millisecond),
		fmt.Sprintf("%d.123456789", at.Unix()): at,
		"":                                     {}, "x": {}, "-1.0": {}, "1.x": {}, "1.-2": {}, "99999999999999": {},
	}
	for s, want := range tests {
		if got := parseETA(s); !got.Equal(want) {
			t.Errorf("parseETA(%q) = %v, want %v", s, got, want)
		}
	}
}

func FuzzParseETA(f *testing.F) {
	for _, s := range []string{"1795406320.287759", "1.", ".5", "1e9", "0.999999999", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := parseETA(s); got.Year() > 40000 {
			t.Errorf("parseETA(%q) = %v", s, got)
		}
	})
}

// App Engine's queue names its headers differently.
func TestReadHeaders(t *testing.T) {
	for _, prefix := range []string{"X-CloudTasks-", "X-AppEngine-"} {
		r := httptest.NewRequest("POST", "/_latchwork/tasks/work", nil)
		for name, value := range map[string]string{"QueueName": "mail", "TaskName": "t1", "TaskRetryCount": "7", "TaskPreviousResponse": "503", "TaskETA": "1795406320.287759"} {
			r.Header.Set(prefix+name, value)
		}
		p := readHeaders(r)
		if p.queue != "mail" || p.taskName != "t1" || p.retryCount != 7 || p.previous != 503 || p.eta.UnixMicro() != 1795406320287759 {
			t.Errorf("%s: %+v", prefix, p)
		}
	}
	r := httptest.NewRequest("POST", "/", nil)
	r.Header.Set("X-CloudTasks-TaskRetryCount", "many")
	if p := readHeaders(r); p.retryCount != 0 || !p.eta.IsZero() {
		t.Errorf("%+v", p)
	}
}
