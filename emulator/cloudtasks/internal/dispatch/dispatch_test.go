package dispatch

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
)

func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		status  int
		code    codes.Code
		message string
		http    bool // counts as executed for HTTP targets
	}{
		{100, codes.Unknown, "UNKNOWN(2): HTTP status code 100", true},
		{200, codes.OK, "", true},
		{299, codes.OK, "", true},
		{300, codes.Unknown, "UNKNOWN(2): HTTP status code 300", true},
		{400, codes.InvalidArgument, "INVALID_ARGUMENT(3): HTTP status code 400", true},
		{401, codes.Unauthenticated, "UNAUTHENTICATED(16): HTTP status code 401", true},
		{403, codes.PermissionDenied, "PERMISSION_DENIED(7): HTTP status code 403", true},
		{404, codes.NotFound, "NOT_FOUND(5): HTTP status code 404", true},
		{409, codes.Aborted, "ABORTED(10): HTTP status code 409", true},
		{429, codes.ResourceExhausted, "RESOURCE_EXHAUSTED(8): HTTP status code 429", true},
		{499, codes.Canceled, "CANCELLED(1): HTTP status code 499", true},
		{500, codes.Internal, "INTERNAL(13): HTTP status code 500", false},
		{501, codes.Unimplemented, "UNIMPLEMENTED(12): HTTP status code 501", false},
		{503, codes.Unavailable, "UNAVAILABLE(14): HTTP status code 503", false},
		{504, codes.DeadlineExceeded, "DEADLINE_EXCEEDED(4): HTTP status code 504", false},
		{599, codes.Unknown, "UNKNOWN(2): HTTP status code 599", false},
	} {
		r := answered(tt.status, false)
		if codes.Code(r.Code) != tt.code || r.Message != tt.message || r.Status != tt.status || !r.Responded ||
			r.Done != (tt.code == codes.OK) || r.Executed != tt.http {
			t.Errorf("%d from an HTTP target: %+v", tt.status, r)
		}
		if r := answered(tt.status, true); !r.Executed {
			t.Errorf("%d from App Engine doesn't count as executed", tt.status)
		}
	}
}

func TestMessagesAreBounded(t *testing.T) {
	long := failed(codes.Unavailable, errors.New(strings.Repeat("é", 10_000)))
	if len(long.Message) > maxQuoted+32 || !strings.HasSuffix(long.Message, "é…") {
		t.Errorf("%d bytes, ending in %q", len(long.Message), long.Message[len(long.Message)-8:])
	}
	if broken := failed(codes.Unavailable, errors.New("a\xffb")); broken.Message != "UNAVAILABLE(14): a�b" {
		t.Errorf("message %q, which no client could decode", broken.Message)
	}
}

func TestReservedHeaders(t *testing.T) {
	for name, want := range map[string]bool{
		"HOST": true, "content-length": true, "Transfer-Encoding": true, "X-CloudTasks-Anything": true,
		"x-appengine-user-ip": true, "X-Google-Foo": true, "X-Own": false, "Authorization": false, "Content-Type": false,
		"X-CloudTask": false,
	} {
		if got := Reserved(name); got != want {
			t.Errorf("%s reserved: %v, want %v", name, got, want)
		}
	}
}
