package dispatch

import (
	"errors"
	"io"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc/codes"
)

// What deliveries of other kinds need as well: those of Cloud Scheduler.

// Code is the status code that stands for an HTTP status.
func Code(status int) codes.Code { return codeOf(status) }

// Drain reads an answer to its end, or far enough if it is long.
func Drain(body io.ReadCloser) error {
	if err := discard(body); !errors.Is(err, errLong) {
		return err
	}
	return nil
}

// Address is that of what stands in for an App Engine service, for a request for
// a path.
func (d *Dispatcher) Address(service, version, instance, host, path string) (address string, ok bool) {
	address, _, ok = d.address(&cloudtaskspb.AppEngineRouting{Service: service, Version: version, Instance: instance, Host: host}, path)
	return address, ok
}
