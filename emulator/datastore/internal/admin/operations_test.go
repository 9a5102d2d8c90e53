package admin_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/datastore/admin/apiv1/adminpb"
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	lro "cloud.google.com/go/longrunning/autogen/longrunningpb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/admin"
	"github.com/latchwork/latchwork/emulator/datastore/internal/protocol"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// stuck is data whose commits wait until they are cancelled.
type stuck struct{ *protocol.Service }

func (stuck) Commit(ctx context.Context, _ *pb.CommitRequest) (*pb.CommitResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// stick makes imports wait, and returns the URL of one.
func (s *server) stick() string {
	s.t.Helper()
	s.put(key(project, "", "A", 1))
	url := s.export(nil)
	folder, err := admin.OpenFolder(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Service = admin.New(stuck{s.data}, &admin.Options{Folder: folder})
	s.Register(s)
	return url
}

func (s *server) begin(url string) *lro.Operation {
	s.t.Helper()
	op, err := s.ImportEntities(s.t.Context(), &adminpb.ImportEntitiesRequest{ProjectId: project, InputUrl: url, Labels: map[string]string{"a": "b"}})
	if err != nil {
		s.t.Fatal(err)
	}
	return op
}

func (s *server) state(op *lro.Operation) adminpb.CommonMetadata_State {
	s.t.Helper()
	var m adminpb.ImportEntitiesMetadata
	if err := op.GetMetadata().UnmarshalTo(&m); err != nil {
		s.t.Fatal(err)
	}
	if m.GetCommon().GetLabels()["a"] != "b" || m.GetCommon().GetOperationType() != adminpb.OperationType_IMPORT_ENTITIES || m.GetProgressEntities().GetWorkEstimated() != 1 {
		s.t.Errorf("metadata %v", &m)
	}
	return m.GetCommon().GetState()
}

// TestLongOperation: what takes its time is answered as running, can be looked
// at, waited for, cancelled, and forgotten then.
func TestLongOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		ctx := t.Context()
		url := s.stick()
		before := time.Now()
		op := s.begin(url)
		if took := time.Since(before); op.GetDone() || took != 2*time.Second || s.state(op) != adminpb.CommonMetadata_PROCESSING {
			t.Errorf("after %v: %v", took, op)
		}
		if _, err := s.DeleteOperation(ctx, &lro.DeleteOperationRequest{Name: op.GetName()}); status.Code(err) != codes.FailedPrecondition {
			t.Errorf("deleting what runs: %v", err)
		}
		before = time.Now()
		op, err := s.WaitOperation(ctx, &lro.WaitOperationRequest{Name: op.GetName(), Timeout: durationpb.New(time.Minute)})
		if took := time.Since(before); err != nil || op.GetDone() || took != time.Minute {
			t.Errorf("after %v: %v, %v", took, op, err)
		}
		if _, err := s.CancelOperation(ctx, &lro.CancelOperationRequest{Name: op.GetName()}); err != nil {
			t.Error(err)
		}
		op, err = s.WaitOperation(ctx, &lro.WaitOperationRequest{Name: op.GetName()})
		if err != nil || !op.GetDone() || codes.Code(op.GetError().GetCode()) != codes.Canceled || s.state(op) != adminpb.CommonMetadata_CANCELLED {
			t.Errorf("cancelled: %v, %v", op, err)
		}
		if _, err := s.DeleteOperation(ctx, &lro.DeleteOperationRequest{Name: op.GetName()}); err != nil {
			t.Error(err)
		}
		if _, err := s.GetOperation(ctx, &lro.GetOperationRequest{Name: op.GetName()}); status.Code(err) != codes.NotFound {
			t.Errorf("deleted: %v", err)
		}
	})
}

// TestOperationsAreBounded: some may run at once, and closing ends them all.
func TestOperationsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		url := s.stick()
		var names []string
		for range 10 {
			names = append(names, s.begin(url).GetName())
		}
		_, err := s.ImportEntities(t.Context(), &adminpb.ImportEntitiesRequest{ProjectId: project, InputUrl: url})
		if status.Code(err) != codes.ResourceExhausted {
			t.Errorf("one more than may run: %v", err)
		}
		slices.Reverse(names)
		var listed []string
		for token, pages := "", 0; ; pages++ {
			resp, err := s.ListOperations(t.Context(), &lro.ListOperationsRequest{Name: "projects/" + project, PageSize: 4, PageToken: token})
			if err != nil {
				t.Fatal(err)
			}
			for _, op := range resp.GetOperations() {
				listed = append(listed, op.GetName())
			}
			if token = resp.GetNextPageToken(); token == "" {
				if pages != 2 {
					t.Errorf("%d pages after the first", pages)
				}
				break
			}
		}
		if !slices.Equal(listed, names) {
			t.Errorf("listed %q; want %q", listed, names)
		}
		s.Service.Close()
		op, err := s.GetOperation(t.Context(), &lro.GetOperationRequest{Name: names[0]})
		if err != nil || !op.GetDone() {
			t.Errorf("after the end: %v, %v", op, err)
		}
		if _, err := s.ImportEntities(t.Context(), &adminpb.ImportEntitiesRequest{ProjectId: project, InputUrl: url}); status.Code(err) != codes.Unavailable {
			t.Errorf("after the end: %v", err)
		}
	})
}

// TestOldOperationsAreForgotten: a thousand that have ended are remembered.
func TestOldOperationsAreForgotten(t *testing.T) {
	s := start(t)
	url := s.export(nil)
	first := ""
	for i := range 1001 {
		op := s.begin(url)
		if i == 0 {
			first = op.GetName()
		}
		_, err := s.GetOperation(t.Context(), &lro.GetOperationRequest{Name: first})
		if want := map[bool]codes.Code{true: codes.OK, false: codes.NotFound}[i < 1000]; status.Code(err) != want {
			t.Fatalf("the first of %d: %v", i+1, err)
		}
	}
}

func TestOperationsRefused(t *testing.T) {
	s := start(t)
	ctx := t.Context()
	list := func(r *lro.ListOperationsRequest) error {
		_, err := s.ListOperations(ctx, r)
		return err
	}
	get := func(name string) error {
		_, err := s.GetOperation(ctx, &lro.GetOperationRequest{Name: name})
		return err
	}
	for what, c := range map[string]struct {
		err  error
		code codes.Code
	}{
		"no name":         {get(""), codes.InvalidArgument},
		"half a name":     {get("projects/p/operations"), codes.InvalidArgument},
		"unknown":         {get("projects/p/operations/x"), codes.NotFound},
		"no project":      {list(&lro.ListOperationsRequest{}), codes.InvalidArgument},
		"too much":        {list(&lro.ListOperationsRequest{Name: "projects/p/x"}), codes.InvalidArgument},
		"a filter":        {list(&lro.ListOperationsRequest{Name: "projects/p", Filter: "done=true"}), codes.Unimplemented},
		"negative":        {list(&lro.ListOperationsRequest{Name: "projects/p", PageSize: -1}), codes.InvalidArgument},
		"unknown token":   {list(&lro.ListOperationsRequest{Name: "projects/p", PageToken: "x"}), codes.InvalidArgument},
		"with its folder": {list(&lro.ListOperationsRequest{Name: "projects/p/operations"}), codes.OK},
	} {
		if status.Code(c.err) != c.code {
			t.Errorf("%s: %v; want %v", what, c.err, c.code)
		}
	}
	_, err := s.WaitOperation(ctx, &lro.WaitOperationRequest{Name: "projects/p/operations/x", Timeout: durationpb.New(time.Second)})
	if status.Code(err) != codes.NotFound {
		t.Errorf("waiting for nothing: %v", err)
	}
}
