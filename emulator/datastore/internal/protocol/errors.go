package protocol

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/indexes"
	"github.com/latchwork/latchwork/emulator/datastore/internal/planning"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"github.com/latchwork/latchwork/emulator/datastore/internal/texts"
	"github.com/latchwork/latchwork/emulator/datastore/internal/transactions"
	"github.com/latchwork/latchwork/emulator/internal/journal"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func invalid(format string, args ...any) error {
	return status.Error(codes.InvalidArgument, texts.Sprintf(format, args...))
}

// toStatus words an error of the rooms below as production does.
func (p partition) toStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	if e, ok := errors.AsType[*storage.ExistsError](err); ok {
		return status.Error(codes.AlreadyExists, "entity already exists: "+p.reference(e.Key))
	}
	if e, ok := errors.AsType[*storage.MissingError](err); ok {
		return status.Error(codes.NotFound, "no entity to update: "+p.reference(e.Key))
	}
	if e, ok := errors.AsType[*storage.FutureError](err); ok {
		return status.Error(codes.InvalidArgument, e.Error()+": "+p.reference(e.Key))
	}
	if e, ok := errors.AsType[*storage.ConflictError](err); ok {
		return status.Error(codes.FailedPrecondition, e.Error())
	}
	if e, ok := errors.AsType[*storage.TooOldError](err); ok {
		return status.Error(codes.FailedPrecondition, e.Error())
	}
	if e, ok := errors.AsType[*indexes.MissingError](err); ok {
		return status.Error(codes.FailedPrecondition, e.Error())
	}
	if e, ok := errors.AsType[*storage.TooManyEntriesError](err); ok {
		return status.Error(codes.InvalidArgument, e.Error())
	}
	if e, ok := errors.AsType[*transactions.ContentionError](err); ok {
		return status.Error(codes.Aborted, e.Error()+p.entityGroup(e.EntityRow))
	}
	if e, ok := errors.AsType[planning.Invalid](err); ok {
		return status.Error(codes.InvalidArgument, e.Error())
	}
	switch {
	case errors.Is(err, transactions.ErrInvalid), errors.Is(err, transactions.ErrClosed), errors.Is(err, transactions.ErrReadOnly),
		errors.Is(err, transactions.ErrRetryReadOnly):
		return status.Error(codes.InvalidArgument, err.Error())
	case errors.Is(err, transactions.ErrTooMany):
		return status.Error(codes.ResourceExhausted, err.Error())
	case errors.Is(err, syscall.ENOSPC):
		// Not Unavailable, which clients would retry at once: somebody must make room.
		return status.Error(codes.ResourceExhausted, "the disk is full, nothing was changed: "+texts.Quote(err.Error()))
	case errors.Is(err, journal.ErrClosed):
		return status.Error(codes.Unavailable, "the server is closing")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	}
	return status.Error(codes.Internal, err.Error())
}

// reference renders an entity row as production's texts do.
func (p partition) reference(entityRow string) string {
	namespace, path, err := encoding.CutEntityRow(entityRow)
	if err != nil {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "app: %s\n", escaped(p.project))
	if namespace != "" {
		fmt.Fprintf(&b, "name_space: %s\n", escaped(namespace))
	}
	b.WriteString("path <\n")
	for _, e := range path {
		fmt.Fprintf(&b, "  Element {\n    type: %s\n", escaped(e.GetKind()))
		if name := e.GetName(); name != "" {
			fmt.Fprintf(&b, "    name: %s\n", escaped(name))
		} else {
			fmt.Fprintf(&b, "    id: %s\n", numberText(e.GetId()))
		}
		b.WriteString("  }\n")
	}
	b.WriteString(">\n")
	return texts.Bound(b.String())
}

// escaped renders a string as that text format does, but for letters beyond
// ASCII, which stay readable.
func escaped(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(texts.Quote(s)) {
		switch {
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '"' || c == '\\':
			b.Write([]byte{'\\', c})
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// numberText renders a number as that text format does: large ones in
// hexadecimal digits, as if they had no sign.
func numberText(n int64) string {
	const large = 20_000_000_000_000
	if -large < n && n < large {
		return strconv.FormatInt(n, 10)
	}
	return fmt.Sprintf("%#x", uint64(n))
}

// entityGroup renders what a contention was about: the root of the entity, as
// production's texts do.
func (p partition) entityGroup(entityRow string) string {
	if entityRow == "" {
		return ""
	}
	_, path, err := encoding.CutEntityRow(entityRow)
	if err != nil || len(path) == 0 {
		return ""
	}
	return texts.Sprintf(" entity groups: [(app=%s, %s, %s)]", p.project, path[0].GetKind(), identifier(path[0]))
}

func identifier(e *pb.Key_PathElement) string {
	switch id := e.GetIdType().(type) {
	case *pb.Key_PathElement_Id:
		return fmt.Sprint(id.Id)
	case *pb.Key_PathElement_Name:
		return id.Name
	}
	return ""
}
