package conformance_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// An exchange is one RPC as it was recorded: a request, and what production
// answered or why it refused.
type exchange struct {
	number  int    // of the request among all entries of the recording, from 1
	method  string // full
	request proto.Message
	answer  proto.Message // nil if failed isn't
	failed  *spb.Status
}

// recording reads the traffic that comes with the Go client, in the order of
// the requests. While one was under way nothing but queries began, so the order
// in which production took them up makes no difference.
func recording(t *testing.T) []exchange {
	t.Helper()
	const remedy = "NOT COMPARED WITH THE RECORDED TRAFFIC OF PRODUCTION: %v\n" +
		"To run this test, let Go fetch the module cloud.google.com/go/datastore."
	dir, err := clientModule(t)
	if err != nil {
		t.Skipf(remedy, err)
	}
	file, err := os.ReadFile(filepath.Join(dir, "datastore.replay"))
	if err != nil {
		t.Fatal(err)
	}
	exchanges, err := readRecording(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return exchanges
}

// readRecording reads the format of cloud.google.com/go/rpcreplay: a magic
// string, then records of a length (four bytes, the lowest first) and a
// message; the first is the state that the tests started with, the others are
// entries.
func readRecording(r io.Reader) (exchanges []exchange, err error) {
	const magic = "RPCReplay"
	start := make([]byte, len(magic))
	if _, err := io.ReadFull(r, start); err != nil || string(start) != magic {
		return nil, fmt.Errorf("the recording starts with %q, %w; want %s", start, err, magic)
	}
	if _, err := readRecord(r); err != nil {
		return nil, err
	}
	open := map[int]int{} // number of a request to its index
	for number := 1; ; number++ {
		record, err := readRecord(r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		e, err := readEntry(record)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", number, err)
		}
		switch e.kind {
		case entryRequest:
			if len(open) > 0 && e.method != pb.Datastore_RunQuery_FullMethodName {
				return nil, fmt.Errorf("entry %d, a call of %s, began before others had ended", number, e.method)
			}
			open[number] = len(exchanges)
			exchanges = append(exchanges, exchange{number: number, method: e.method, request: e.message})
		case entryResponse:
			i, ok := open[e.request]
			if !ok {
				return nil, fmt.Errorf("entry %d answers %d, which is not open", number, e.request)
			}
			delete(open, e.request)
			if e.failed {
				exchanges[i].failed, _ = e.message.(*spb.Status)
			} else {
				exchanges[i].answer = e.message
			}
		default:
			return nil, fmt.Errorf("entry %d is of kind %d", number, e.kind)
		}
	}
	if len(open) > 0 {
		return nil, fmt.Errorf("%d requests have no answer", len(open))
	}
	return exchanges, nil
}

func readRecord(r io.Reader) ([]byte, error) {
	var size uint32
	if err := binary.Read(r, binary.LittleEndian, &size); err != nil {
		return nil, err
	}
	record := make([]byte, size)
	if _, err := io.ReadFull(r, record); err != nil {
		return nil, fmt.Errorf("a record of %d bytes: %w", size, errors.Join(io.ErrUnexpectedEOF, err))
	}
	return record, nil
}

const (
	entryRequest  = 1
	entryResponse = 2
)

type entry struct {
	kind    uint64
	method  string // of a request
	message proto.Message
	failed  bool
	request int // which one a response answers
}

// readEntry reads the message rpcreplay.Entry, which is internal to its module.
func readEntry(b []byte) (e entry, err error) {
	for len(b) > 0 {
		field, wire, n := protowire.ConsumeTag(b)
		if n < 0 {
			return e, protowire.ParseError(n)
		}
		b = b[n:]
		var number uint64
		var text []byte
		switch wire {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			text, n = protowire.ConsumeBytes(b)
		default:
			return e, fmt.Errorf("field %d has wire type %d", field, wire)
		}
		if n < 0 {
			return e, protowire.ParseError(n)
		}
		b = b[n:]
		switch field {
		case 1:
			e.kind = number
		case 2:
			e.method = string(text)
		case 3:
			var a anypb.Any
			if err := proto.Unmarshal(text, &a); err != nil {
				return e, err
			}
			if e.message, err = a.UnmarshalNew(); err != nil {
				return e, err
			}
		case 4:
			e.failed = number != 0
		case 5:
			e.request = int(number)
		}
	}
	return e, nil
}
