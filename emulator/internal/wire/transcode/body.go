package transcode

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"

	"github.com/latchwork/latchwork/emulator/internal/wire"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const (
	typeJSON   = "application/json"
	typeBinary = "application/x-protobuf"
	typeForm   = "application/x-www-form-urlencoded"
)

// isBinary reports whether a media type means binary protobuf. Google's servers
// take all three.
func isBinary(mediaType string) bool {
	return mediaType == typeBinary || mediaType == "application/protobuf" || mediaType == "application/x-protobuffer"
}

// mediaType returns a Content-Type without its parameters, "" when there is none.
func mediaType(r *http.Request) string {
	t, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(t))
}

// checkType refuses what is neither JSON nor protobuf.
func checkType(r *http.Request) error {
	header := r.Header.Get("Content-Type")
	if header == "" {
		return nil
	}
	t, params, err := mime.ParseMediaType(header)
	charset := strings.ToLower(params["charset"])
	switch {
	case err == nil && isBinary(t):
		return nil
	case err == nil && t == typeJSON && (charset == "" || charset == "utf-8" || charset == "us-ascii"):
		return nil
	}
	return invalid("The Content-Type %s is refused: it must be %s, in UTF-8, or %s.", quote(header), typeJSON, typeBinary)
}

// readBody reads the whole body and decompresses it, each up to
// wire.MaxMessage. Only after the last byte does net/http watch for clients
// that go away.
func readBody(r *http.Request) ([]byte, error) {
	if r.ContentLength > wire.MaxMessage {
		return nil, errTooLarge()
	}
	body := io.LimitReader(r.Body, wire.MaxMessage+1)
	switch encoding := strings.ToLower(r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			return nil, bodyError(err)
		}
		body = io.LimitReader(unzipped, wire.MaxMessage+1)
	default:
		return nil, invalid("The Content-Encoding %s is refused: it must be gzip or identity.", quote(encoding))
	}
	var b bytes.Buffer
	if r.ContentLength > 0 {
		b.Grow(min(int(r.ContentLength)+bytes.MinRead, 64<<10)) // the rest when it comes
	}
	if _, err := b.ReadFrom(body); err != nil {
		return nil, bodyError(err)
	}
	if b.Len() > wire.MaxMessage {
		return nil, errTooLarge()
	}
	return b.Bytes(), nil
}

func errTooLarge() error {
	return invalid("Request payload size exceeds the limit: %d bytes.", wire.MaxMessage)
}

func bodyError(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return errTooLarge()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return status.Error(codes.DeadlineExceeded, "The request's body took too long to arrive.")
	}
	return invalid("The request's body can't be read: %s", bound(err.Error()))
}

// decode reads a body into the request, or into the field of it that the route
// says.
func (h *Handler) decode(r *route, body []byte, binary bool, req proto.Message) error {
	if binary {
		return h.decodeBinary(r, body, req)
	}
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return nil
	}
	if r.bodyField != nil {
		if !json.Valid(body) { // or it could close the object around it
			return h.malformed("the body is not one JSON value")
		}
		body = fmt.Appendf(nil, `{%q:%s}`, r.bodyField.JSONName(), body)
	}
	err := protojson.UnmarshalOptions{}.Unmarshal(body, req)
	if err == nil {
		if r.body == "" && !isEmpty(req) {
			return invalid("The method takes no body; its fields belong into the path and the query.")
		}
		return nil
	}
	if name, at, found := unknownName(req.ProtoReflect().Descriptor(), body); found {
		message := "Invalid JSON payload received. Unknown name " + quote(name)
		if at != "" {
			message += " at '" + bound(at) + "'"
		}
		return badRequest(bound(at), message+": Cannot find field.")
	}
	return h.malformed(strings.ReplaceAll(err.Error(), "\u00a0", " "))
}

func (h *Handler) decodeBinary(r *route, body []byte, req proto.Message) error {
	into := req
	if f := r.bodyField; f != nil {
		if f.Message() == nil || f.Cardinality() == repeated {
			return invalid("The body of this method is the field '%s', which is no message: send it as %s.", f.Name(), typeJSON)
		}
		into = req.ProtoReflect().Mutable(f).Message().Interface()
	}
	if err := proto.Unmarshal(body, into); err != nil {
		return h.malformed(strings.ReplaceAll(err.Error(), "\u00a0", " "))
	}
	if r.body == "" && !isEmpty(req) {
		return invalid("The method takes no body; its fields belong into the path and the query.")
	}
	return nil
}

// malformed is the error about a body that is no message, with the reason in
// its details.
func (h *Handler) malformed(reason string) error {
	if h.badBody != "" {
		return violation(h.badBody, "", bound(reason))
	}
	return badRequest("", "Invalid JSON payload received. "+bound(reason))
}

func isEmpty(m proto.Message) bool { return proto.Size(m) == 0 }
