package transcode

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxQuote is how many bytes of what a client sent an error shows.
const maxQuote = 250

// bound returns the beginning of s, as valid UTF-8.
func bound(s string) string {
	if len(s) > maxQuote {
		n := maxQuote
		for n > maxQuote-utf8.UTFMax && !utf8.RuneStart(s[n]) {
			n--
		}
		s = fmt.Sprintf("%s… (%d bytes)", s[:n], len(s))
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

func quote(s string) string { return strconv.Quote(bound(s)) }

func invalid(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, format, args...)
}

// badRequest is INVALID_ARGUMENT with the detail that Google's servers add.
func badRequest(field, message string) error {
	return violation(message, field, message)
}

func violation(message, field, description string) error {
	st := status.New(codes.InvalidArgument, message)
	detailed, err := st.WithDetails(&errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field, Description: description}},
	})
	if err != nil {
		return st.Err() // a status that is not OK takes details
	}
	return detailed.Err()
}
