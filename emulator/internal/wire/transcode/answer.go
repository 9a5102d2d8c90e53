package transcode

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const (
	writeTimeout = time.Minute // for a whole answer
	gzipFrom     = 16 << 10    // bytes
)

// An answer is written in the format that the request asks for.
type answer struct {
	h       *Handler
	w       http.ResponseWriter
	r       *http.Request
	format  format
	compact bool
}

// succeed writes what the method returned.
func (a *answer) succeed(resp proto.Message, r *route) {
	body, err := a.encode(resp, r)
	if err != nil {
		a.fail(err)
		return
	}
	a.write(http.StatusOK, body)
}

func (a *answer) encode(resp proto.Message, r *route) ([]byte, error) {
	if a.format == binary && r.responseBody == nil {
		return proto.Marshal(resp)
	}
	// A service may have put fields into a message in their wire form, as
	// unknown ones; a fresh message has them in their places.
	wired, err := proto.Marshal(resp)
	if err != nil {
		return nil, err
	}
	fresh := resp.ProtoReflect().New()
	if err := proto.Unmarshal(wired, fresh.Interface()); err != nil {
		return nil, err
	}
	f := r.responseBody
	if f == nil {
		return a.options().Marshal(fresh.Interface())
	}
	if f.Message() != nil && f.Cardinality() != repeated {
		part := fresh.Get(f).Message().Interface()
		if a.format == binary {
			return proto.Marshal(part)
		}
		return a.options().Marshal(part)
	}
	if a.format == binary {
		return nil, invalid("The answer of this method is the field '%s', which is no message: ask for it as %s.", f.Name(), typeJSON)
	}
	o := a.options()
	o.EmitUnpopulated = true
	whole, err := o.Marshal(fresh.Interface())
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	err = json.Unmarshal(whole, &fields)
	return fields[f.JSONName()], err
}

// options are Google's: pretty unless asked otherwise.
func (a *answer) options() protojson.MarshalOptions {
	o := protojson.MarshalOptions{UseEnumNumbers: a.format == jsonNumbers}
	if !a.compact {
		o.Indent = "  "
	}
	return o
}

// fail writes an error, as gRPC would tell it.
func (a *answer) fail(err error) {
	st, ok := status.FromError(err)
	if !ok {
		st = status.FromContextError(err)
	}
	p := st.Proto()
	if p.GetCode() == int32(codes.OK) { // a wrapped nil of a status: an error all the same
		p = &rpcstatus.Status{Code: int32(codes.Unknown), Message: err.Error()}
	}
	p.Message = strings.ToValidUTF8(p.Message, "\uFFFD") // or it could not be marshalled
	a.write(httpStatus(codes.Code(p.Code)), a.encodeError(p))
}

func (a *answer) encodeError(p *rpcstatus.Status) []byte {
	if a.format == binary {
		body, err := proto.Marshal(p)
		if err != nil { // details that can't be written are left out
			body, _ = proto.Marshal(&rpcstatus.Status{Code: p.Code, Message: p.Message})
		}
		return body
	}
	type object struct {
		Code    int               `json:"code"`
		Message string            `json:"message"`
		Status  string            `json:"status"`
		Details []json.RawMessage `json:"details,omitempty"`
	}
	o := object{Code: httpStatus(codes.Code(p.Code)), Message: p.Message, Status: code.Code(p.Code).String()}
	for _, detail := range p.Details {
		if text, err := protojson.Marshal(detail); err == nil { // or its type isn't linked
			o.Details = append(o.Details, text)
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if !a.compact {
		e.SetIndent("", "  ")
	}
	_ = e.Encode(map[string]object{"error": o}) // can't fail: strings and valid JSON
	return b.Bytes()
}

// write sends everything in writeTimeout: a client that doesn't read holds
// nothing for longer.
func (a *answer) write(httpStatus int, body []byte) {
	header := a.w.Header()
	if header.Set("Content-Type", typeBinary); a.format != binary {
		header.Set("Content-Type", typeJSON+"; charset=UTF-8")
	}
	header.Set("X-Content-Type-Options", "nosniff")
	if len(body) >= gzipFrom && acceptsGzip(a.r) {
		header.Set("Content-Encoding", "gzip")
		header.Set("Vary", "Accept-Encoding")
		body = a.h.zippers.zip(body)
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	// Writers that know no deadlines are those of tests; a client that has gone
	// is told nothing.
	c := http.NewResponseController(a.w)
	_ = c.SetWriteDeadline(time.Now().Add(writeTimeout))
	a.w.WriteHeader(httpStatus)
	_, _ = a.w.Write(body)
	_ = c.Flush()
	_ = c.SetWriteDeadline(time.Time{})
}

func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, params, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			q, given := strings.CutPrefix(strings.TrimSpace(params), "q=")
			weight, err := strconv.ParseFloat(q, 64)
			return !given || err == nil && weight > 0
		}
	}
	return false
}

// zippers keeps compressors, which are large, from one answer to the next.
type zippers struct{ pool sync.Pool }

func (z *zippers) zip(body []byte) []byte {
	b := bytes.NewBuffer(make([]byte, 0, len(body)/4))
	w, ok := z.pool.Get().(*gzip.Writer)
	if ok {
		w.Reset(b)
	} else {
		w, _ = gzip.NewWriterLevel(b, gzip.BestSpeed) // the level exists
	}
	_, _ = w.Write(body) // a buffer takes everything
	_ = w.Close()
	z.pool.Put(w)
	return b.Bytes()
}

// httpStatus is the HTTP status that Google's APIs give a code.
func httpStatus(c codes.Code) int {
	switch c {
	case codes.OK:
		return http.StatusOK
	case codes.Canceled:
		return 499 // client closed request
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		return http.StatusBadRequest
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	case codes.NotFound:
		return http.StatusNotFound
	case codes.AlreadyExists, codes.Aborted:
		return http.StatusConflict
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests
	case codes.Unimplemented:
		return http.StatusNotImplemented
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError // Unknown, Internal, DataLoss
}
