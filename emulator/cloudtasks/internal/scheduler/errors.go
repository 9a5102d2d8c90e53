package scheduler

import (
	"errors"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/dispatch"
	"github.com/latchwork/latchwork/emulator/internal/journal"
)

// The texts are the real service's wherever they are known.
const (
	textJobMissing   = "Job not found."
	textJobExists    = "Job %s already exists."
	textJobName      = `Job name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/jobs/<JOB_ID>".`
	textLocationName = `Location name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>".`
	textSchedule     = "Schedule or time zone is invalid."
	textMask         = "Invalid mask for Job: %s"
)

// invalid is INVALID_ARGUMENT. It quotes at most 200 bytes of each text that came
// with the request.
func invalid(format string, args ...any) error {
	for i, arg := range args {
		if s, ok := arg.(string); ok {
			args[i] = dispatch.Excerpt(s)
		}
	}
	return status.Errorf(codes.InvalidArgument, format, args...)
}

// errSchedule has the service's text, and the reason in its details.
func errSchedule(field string, why error) error {
	s := status.New(codes.InvalidArgument, textSchedule)
	detailed, err := s.WithDetails(&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
		{Field: field, Description: why.Error()},
	}})
	if err != nil {
		return s.Err()
	}
	return detailed.Err()
}

func errMissing() error { return status.Error(codes.NotFound, textJobMissing) }
func errClosed() error  { return status.Error(codes.Unavailable, "The server is shutting down.") }

// errFile refuses what cron.yaml alone may do.
func errFile(name string) error {
	return status.Errorf(codes.FailedPrecondition, "Job %s comes from cron.yaml: change it there.", name)
}

// unrecorded is a failure of the journal as clients see it.
func unrecorded(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, journal.ErrClosed):
		return errClosed()
	}
	return status.Errorf(codes.Internal, "The change could not be recorded: %v", err)
}
