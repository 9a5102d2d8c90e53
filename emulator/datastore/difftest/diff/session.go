package diff

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Server is one of those that are compared.
type Server struct {
	Name   string
	Client pb.DatastoreClient
}

// session is one run of one script on one server, in a project of its own.
type session struct {
	server  Server
	project string
	started time.Time

	mu           sync.Mutex        // of everything below: actors share a session
	transactions map[int][]byte    // by the step that began them
	cursors      map[[2]int][]byte // by step and result
	written      map[[2]int]int64  // versions by step and mutation
	times        map[[2]int]int64  // µs, of single mutations
	moments      map[int]int64     // µs, of whole steps
	allocated    map[[2]int]int64  // identifiers
	versionRefs  map[int64]int64   // back to references
	idRefs       map[numbered]int64
}

func newSession(s Server, project string) *session {
	return &session{
		server: s, project: project, started: time.Now(),
		transactions: map[int][]byte{}, cursors: map[[2]int][]byte{}, written: map[[2]int]int64{},
		times: map[[2]int]int64{}, moments: map[int]int64{}, allocated: map[[2]int]int64{},
		versionRefs: map[int64]int64{}, idRefs: map[numbered]int64{},
	}
}

// began reports whether a step began a transaction.
func (s *session) began(step int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.transactions[step] != nil
}

// maxPages bounds the batches of one query: a server that never comes to its
// end is a difference, not a hang.
const maxPages = 50

// do sends one step, queries to their end, and returns the answer with
// everything that only this server knows replaced by references.
func (s *session) do(ctx context.Context, step script.Step) *Answer {
	request := proto.Clone(step.Request)
	a := &Answer{Method: step.Method()}
	s.mu.Lock()
	a.Unresolved = s.resolve(request.ProtoReflect())
	s.mu.Unlock()
	for {
		response, err := call(ctx, s.server.Client, request)
		if err != nil {
			s.mu.Lock()
			a.fail(s.unproject(status.Convert(err)))
			s.mu.Unlock()
			return a
		}
		next := following(request, response)
		s.mu.Lock()
		s.learn(step.ID, len(a.Rows), response)
		s.normalize(step.ID, response)
		s.mu.Unlock()
		a.add(response)
		if next == nil {
			a.finish()
			return a
		}
		if a.Pages == maxPages {
			a.fail(status.New(13, fmt.Sprintf("the query goes on after %d batches", maxPages)))
			return a
		}
		request = next
	}
}

// call sends a request with its method.
func call(ctx context.Context, c pb.DatastoreClient, request proto.Message) (proto.Message, error) {
	switch r := request.(type) {
	case *pb.LookupRequest:
		return c.Lookup(ctx, r)
	case *pb.RunQueryRequest:
		return c.RunQuery(ctx, r)
	case *pb.RunAggregationQueryRequest:
		return c.RunAggregationQuery(ctx, r)
	case *pb.BeginTransactionRequest:
		return c.BeginTransaction(ctx, r)
	case *pb.CommitRequest:
		return c.Commit(ctx, r)
	case *pb.RollbackRequest:
		return c.Rollback(ctx, r)
	case *pb.AllocateIdsRequest:
		return c.AllocateIds(ctx, r)
	case *pb.ReserveIdsRequest:
		return c.ReserveIds(ctx, r)
	}
	return nil, errors.New("not a request of Datastore")
}

// following is the request for the batch after the one in response, as clients
// write it; nil at the end.
func following(request, response proto.Message) proto.Message {
	r, ok := response.(*pb.RunQueryResponse)
	if !ok || r.GetBatch().GetMoreResults() != pb.QueryResultBatch_NOT_FINISHED {
		return nil
	}
	next := proto.Clone(request).(*pb.RunQueryRequest)
	q := next.GetQuery()
	if q == nil {
		q = proto.Clone(r.GetQuery()).(*pb.Query) // what the GQL meant
		next.QueryType = &pb.RunQueryRequest_Query{Query: q}
	}
	if q == nil {
		return nil
	}
	q.StartCursor = r.GetBatch().GetEndCursor()
	q.Offset = max(0, q.GetOffset()-r.GetBatch().GetSkippedResults())
	if l := q.GetLimit(); l != nil {
		l.Value -= int32(len(r.GetBatch().GetEntityResults()))
	}
	if len(r.GetTransaction()) > 0 {
		next.ReadOptions = &pb.ReadOptions{ConsistencyType: &pb.ReadOptions_Transaction{Transaction: r.GetTransaction()}}
	}
	return next
}

// learn remembers what later steps may refer to.
func (s *session) learn(step, rows int, response proto.Message) {
	switch r := response.(type) {
	case *pb.BeginTransactionResponse:
		s.transactions[step] = r.GetTransaction()
	case *pb.LookupResponse:
		if len(r.GetTransaction()) > 0 {
			s.transactions[step] = r.GetTransaction()
		}
		if r.GetReadTime() != nil {
			s.moments[step] = r.GetReadTime().AsTime().UnixMicro()
		}
	case *pb.RunAggregationQueryResponse:
		if len(r.GetTransaction()) > 0 {
			s.transactions[step] = r.GetTransaction()
		}
	case *pb.RunQueryResponse:
		if len(r.GetTransaction()) > 0 {
			s.transactions[step] = r.GetTransaction()
		}
		for i, e := range r.GetBatch().GetEntityResults() {
			s.cursors[[2]int{step, rows + i}] = e.GetCursor()
		}
		s.cursors[[2]int{step, script.End}] = r.GetBatch().GetEndCursor()
		if c := r.GetBatch().GetSkippedCursor(); len(c) > 0 {
			s.cursors[[2]int{step, script.Skipped}] = c
		}
	case *pb.CommitResponse:
		for i, m := range r.GetMutationResults() {
			at := [2]int{step, i}
			if m.GetVersion() != 0 && !m.GetConflictDetected() {
				s.written[at] = m.GetVersion()
				if _, known := s.versionRefs[m.GetVersion()]; !known {
					s.versionRefs[m.GetVersion()] = script.Ref(step, 0)
				}
				s.times[at] = m.GetVersion()
				s.moments[step] = m.GetVersion()
			}
			s.allocate(at, m.GetKey())
		}
		if t := r.GetCommitTime(); t != nil {
			s.moments[step] = t.AsTime().UnixMicro()
		}
	case *pb.AllocateIdsResponse:
		for i, k := range r.GetKeys() {
			s.allocate([2]int{step, i}, k)
		}
	}
}

// allocate takes up the key that the server completed; nil where it had none to.
func (s *session) allocate(at [2]int, k *pb.Key) {
	if p := k.GetPath(); len(p) > 0 {
		last := p[len(p)-1]
		s.allocated[at] = last.GetId()
		s.idRefs[numbered{last.GetKind(), last.GetId()}] = script.Ref(at[0], at[1])
	}
}

// numbered is an entity's own part of its key. Servers may allocate numbers that
// scripts have in keys of other kinds.
type numbered struct {
	kind string
	id   int64
}

// resolve replaces the references in a request by what this server calls it. A
// reference to what never came about (its step was refused, or shrunk away)
// becomes something that no server knows; of a cursor or a
// time, which nothing can stand for, it is reported.
func (s *session) resolve(m protoreflect.Message) (unresolved bool) {
	walk(m, func(field protoreflect.FieldDescriptor, v protoreflect.Value) (protoreflect.Value, bool) {
		switch field.Kind() {
		case protoreflect.StringKind:
			if strings.Contains(v.String(), script.Project) {
				return protoreflect.ValueOfString(strings.ReplaceAll(v.String(), script.Project, s.project)), true
			}
		case protoreflect.Int64Kind:
			step, index, ok := script.CutRef(v.Int())
			if !ok {
				return v, false
			}
			known := s.written
			switch field.Name() {
			case "id":
				known = s.allocated
			case "seconds":
				return v, false // see the time it belongs to
			}
			if n, ok := known[[2]int{step, index}]; ok {
				return protoreflect.ValueOfInt64(n), true
			}
			return protoreflect.ValueOfInt64(1), true
		case protoreflect.BytesKind:
			if step, ok := script.CutTransaction(v.Bytes()); ok {
				if tx, ok := s.transactions[step]; ok {
					return protoreflect.ValueOfBytes(tx), true
				}
				return protoreflect.ValueOfBytes([]byte("never begun")), true
			}
			if step, index, ok := script.CutCursor(v.Bytes()); ok {
				cursor := s.cursor(step, index)
				unresolved = unresolved || len(cursor) == 0
				return protoreflect.ValueOfBytes(cursor), true
			}
		case protoreflect.MessageKind:
			t, ok := v.Message().Interface().(*timestamppb.Timestamp)
			if !ok {
				return v, false
			}
			if step, index, ok := script.CutRef(t.GetSeconds()); ok {
				µs, ok := s.times[[2]int{step, index}]
				if field.Name() == "read_time" {
					µs, ok = s.moments[step]
				}
				unresolved = unresolved || !ok
				return protoreflect.ValueOfMessage(timestamppb.New(time.UnixMicro(µs)).ProtoReflect()), true
			}
		}
		return v, false
	})
	return unresolved
}

// cursor is the one that a step got for its result, or for its last one when it
// has fewer.
func (s *session) cursor(step, index int) []byte {
	for ; index > 0; index-- {
		if c, ok := s.cursors[[2]int{step, index}]; ok {
			return c
		}
	}
	return s.cursors[[2]int{step, index}]
}

// Set stands for a time, a cursor or a transaction that is there.
var present = []byte("set")

// normalize replaces what only this server knows in an answer.
func (s *session) normalize(step int, m proto.Message) {
	walk(m.ProtoReflect(), func(field protoreflect.FieldDescriptor, v protoreflect.Value) (protoreflect.Value, bool) {
		switch field.Kind() {
		case protoreflect.StringKind:
			if strings.Contains(v.String(), s.project) {
				return protoreflect.ValueOfString(strings.ReplaceAll(v.String(), s.project, script.Project)), true
			}
		case protoreflect.Int64Kind:
			if ref, ok := s.versionRefs[v.Int()]; ok && field.Name() == "version" {
				return protoreflect.ValueOfInt64(ref), true
			}
		case protoreflect.BytesKind:
			switch field.Name() {
			case "transaction", "cursor", "end_cursor", "skipped_cursor", "start_cursor":
				if len(v.Bytes()) > 0 {
					return protoreflect.ValueOfBytes(present), true
				}
			}
		case protoreflect.MessageKind:
			if e, ok := v.Message().Interface().(*pb.Key_PathElement); ok {
				if ref, ok := s.idRefs[numbered{e.GetKind(), e.GetId()}]; ok {
					return protoreflect.ValueOfMessage((&pb.Key_PathElement{Kind: e.GetKind(), IdType: &pb.Key_PathElement_Id{Id: ref}}).ProtoReflect()), true
				}
			}
			t, ok := v.Message().Interface().(*timestamppb.Timestamp)
			if !ok {
				return v, false
			}
			switch field.Name() {
			case "create_time", "update_time":
				if ref, ok := s.versionRefs[t.AsTime().UnixMicro()]; ok {
					return protoreflect.ValueOfMessage((&timestamppb.Timestamp{Seconds: ref}).ProtoReflect()), true
				}
			case "timestamp_value":
				// What a server sets by its own clock; scripts name no time of today.
				if d := t.AsTime().Sub(s.started); d > -time.Hour && d < time.Hour {
					return protoreflect.ValueOfMessage(script.Time(0, 0).ProtoReflect()), true
				}
			}
		}
		return v, false
	})
}

var versionNumber = regexp.MustCompile(`version \([0-9]+\)`)

// unproject is normalize for errors.
func (s *session) unproject(st *status.Status) *status.Status {
	text := strings.ReplaceAll(st.Message(), s.project, script.Project)
	// Versions are the server's own.
	text = versionNumber.ReplaceAllStringFunc(text, func(found string) string {
		var n int64
		if _, err := fmt.Sscanf(found, "version (%d)", &n); err != nil {
			return found
		}
		if ref, ok := s.versionRefs[n]; ok {
			step, _, _ := script.CutRef(ref)
			return fmt.Sprintf("version (of step %d)", step)
		}
		return found
	})
	return status.New(st.Code(), text)
}

// walk calls visit for every populated singular value and every element of a
// list or map in m, messages included, and stores what it returns with true.
func walk(m protoreflect.Message, visit func(protoreflect.FieldDescriptor, protoreflect.Value) (protoreflect.Value, bool)) {
	one := func(field protoreflect.FieldDescriptor, v protoreflect.Value) (protoreflect.Value, bool) {
		if changed, ok := visit(field, v); ok {
			return changed, true
		}
		if field.Kind() == protoreflect.MessageKind {
			walk(v.Message(), visit)
		}
		return v, false
	}
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case field.IsList():
			for i := range v.List().Len() {
				if changed, ok := one(field, v.List().Get(i)); ok {
					v.List().Set(i, changed)
				}
			}
		case field.IsMap():
			v.Map().Range(func(k protoreflect.MapKey, e protoreflect.Value) bool {
				if changed, ok := one(field.MapValue(), e); ok {
					v.Map().Set(k, changed)
				}
				return true
			})
		default:
			if changed, ok := one(field, v); ok {
				m.Set(field, changed)
			}
		}
		return true
	})
}
