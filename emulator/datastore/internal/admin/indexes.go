package admin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"regexp"
	"slices"
	"strings"

	"cloud.google.com/go/datastore/admin/apiv1/adminpb"
	lro "cloud.google.com/go/longrunning/autogen/longrunningpb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/indexes"
	"github.com/latchwork/latchwork/emulator/datastore/internal/texts"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// identify names an index: the same one everywhere and at all times.
func identify(d indexes.Definition) string {
	sum := sha256.Sum256([]byte(d.Key()))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// toIndex is the definition as the API has it. Indexes are there at once.
func toIndex(project string, d indexes.Definition) *adminpb.Index {
	x := &adminpb.Index{ProjectId: project, IndexId: identify(d), Kind: d.Kind, Ancestor: adminpb.Index_NONE, State: adminpb.Index_READY}
	if d.Ancestor {
		x.Ancestor = adminpb.Index_ALL_ANCESTORS
	}
	for _, p := range d.Properties {
		direction := adminpb.Index_ASCENDING
		if p.Desc {
			direction = adminpb.Index_DESCENDING
		}
		x.Properties = append(x.Properties, &adminpb.Index_IndexedProperty{Name: p.Name, Direction: direction})
	}
	return x
}

// toDefinition checks an index that is to be created. What is output only in it
// doesn't count.
func toDefinition(x *adminpb.Index) (d indexes.Definition, err error) {
	if x == nil {
		return d, invalid("index is missing")
	}
	d.Kind = x.GetKind()
	switch x.GetAncestor() {
	case adminpb.Index_NONE:
	case adminpb.Index_ALL_ANCESTORS:
		d.Ancestor = true
	default:
		return d, invalid("ancestor is %v: it must be NONE or ALL_ANCESTORS", x.GetAncestor())
	}
	for _, p := range x.GetProperties() {
		switch p.GetDirection() {
		case adminpb.Index_ASCENDING, adminpb.Index_DESCENDING:
		default:
			return d, invalid("the direction of the property %q is %v: it must be ASCENDING or DESCENDING", p.GetName(), p.GetDirection())
		}
		d.Properties = append(d.Properties, indexes.Property{Name: p.GetName(), Desc: p.GetDirection() == adminpb.Index_DESCENDING})
	}
	if err := d.Check(); err != nil {
		return d, invalid("%v", err)
	}
	if single := d.Properties[0]; len(d.Properties) == 1 && !d.Ancestor && (single.Name != indexes.KeyProperty || !single.Desc) {
		return d, invalid("Indexes with a single property cannot be created.")
	}
	return d, nil
}

// find returns the index with this name.
func (s *Service) find(id string) (indexes.Definition, error) {
	if id == "" {
		return indexes.Definition{}, invalid("index_id is missing")
	}
	for _, d := range s.indexes.Set().All() {
		if identify(d) == id {
			return d, nil
		}
	}
	return indexes.Definition{}, status.Error(codes.NotFound, texts.Sprintf("there is no index %q", id))
}

// GetIndex implements the RPC.
func (s *Service) GetIndex(_ context.Context, req *adminpb.GetIndexRequest) (*adminpb.Index, error) {
	if err := s.data.CheckProject(req.GetProjectId()); err != nil {
		return nil, err
	}
	d, err := s.find(req.GetIndexId())
	if err != nil {
		return nil, err
	}
	return toIndex(req.GetProjectId(), d), nil
}

// ListIndexes implements the RPC, in the order of identifiers: a page token is
// the last one of its page, and holds whatever comes and goes.
func (s *Service) ListIndexes(_ context.Context, req *adminpb.ListIndexesRequest) (*adminpb.ListIndexesResponse, error) {
	if err := s.data.CheckProject(req.GetProjectId()); err != nil {
		return nil, err
	}
	match, err := indexFilter(req.GetFilter())
	if err != nil {
		return nil, err
	}
	if req.GetPageSize() < 0 {
		return nil, invalid("page_size is %d: it must not be negative", req.GetPageSize())
	}
	if token := req.GetPageToken(); token != "" && !indexName.MatchString(token) {
		return nil, invalid("page_token %q is not one of a previous answer", token)
	}
	resp := &adminpb.ListIndexesResponse{}
	for _, d := range s.indexes.Set().All() {
		if x := toIndex(req.GetProjectId(), d); x.IndexId > req.GetPageToken() && match(x) {
			resp.Indexes = append(resp.Indexes, x)
		}
	}
	slices.SortFunc(resp.Indexes, func(a, b *adminpb.Index) int { return cmp.Compare(a.IndexId, b.IndexId) })
	if size := int(req.GetPageSize()); size > 0 && len(resp.Indexes) > size {
		resp.Indexes = resp.Indexes[:size]
		resp.NextPageToken = resp.Indexes[size-1].IndexId
	}
	return resp, nil
}

var indexName = regexp.MustCompile(`^[\w-]{12}$`)

// comparison is one of a filter, with the AND that follows it.
var comparison = regexp.MustCompile(`^\s*(kind|ancestor|state|index_id)\s*(=|!=)\s*("[^"]*"|[^\s"=!()]+)\s*(?:$|(AND)\s)`)

// indexFilter reads a filter: comparisons of kind, ancestor, state or index_id
// with a value, by = or !=, joined by AND. What production takes is documented
// nowhere; this is a part of the filters that Google's lists have in common.
func indexFilter(text string) (func(*adminpb.Index) bool, error) {
	const rule = `a filter is like kind="Note" AND ancestor=NONE, of kind, ancestor, state and index_id, with = and !=`
	match := func(*adminpb.Index) bool { return true }
	for rest := text; strings.TrimSpace(rest) != ""; {
		m := comparison.FindStringSubmatch(rest)
		if m == nil {
			return nil, invalid("filter %q: %s", text, rule)
		}
		if rest = rest[len(m[0]):]; (m[4] == "AND") != (strings.TrimSpace(rest) != "") {
			return nil, invalid("filter %q: %s", text, rule)
		}
		field, equal, value, before := m[1], m[2] == "=", strings.Trim(m[3], `"`), match
		match = func(x *adminpb.Index) bool {
			got := map[string]string{"kind": x.GetKind(), "ancestor": x.GetAncestor().String(), "state": x.GetState().String(), "index_id": x.GetIndexId()}[field]
			return before(x) && (got == value) == equal
		}
	}
	return match, nil
}

// CreateIndex implements the RPC: the operation that it answers is done.
func (s *Service) CreateIndex(ctx context.Context, req *adminpb.CreateIndexRequest) (*lro.Operation, error) {
	if err := s.data.CheckProject(req.GetProjectId()); err != nil {
		return nil, err
	}
	d, err := toDefinition(req.GetIndex())
	if err != nil {
		return nil, err
	}
	switch err := s.indexes.Create(d); {
	case errors.Is(err, indexes.ErrExists):
		return nil, status.Error(codes.AlreadyExists, err.Error())
	case errors.Is(err, indexes.ErrFull):
		return nil, status.Error(codes.ResourceExhausted, err.Error())
	case err != nil:
		return nil, invalid("%v", err)
	}
	return s.indexOperation(ctx, adminpb.OperationType_CREATE_INDEX, toIndex(req.GetProjectId(), d))
}

// DeleteIndex implements the RPC: the operation that it answers is done.
func (s *Service) DeleteIndex(ctx context.Context, req *adminpb.DeleteIndexRequest) (*lro.Operation, error) {
	if err := s.data.CheckProject(req.GetProjectId()); err != nil {
		return nil, err
	}
	d, err := s.find(req.GetIndexId())
	if err != nil {
		return nil, err
	}
	if err := s.indexes.Delete(d); err != nil {
		if _, ok := errors.AsType[*indexes.AboveError](err); ok {
			return nil, status.Error(codes.FailedPrecondition, texts.Bound(err.Error()))
		}
		return nil, status.Error(codes.Internal, texts.Bound(err.Error()))
	}
	return s.indexOperation(ctx, adminpb.OperationType_DELETE_INDEX, toIndex(req.GetProjectId(), d))
}

// indexOperation is the operation that has done something to the index.
func (s *Service) indexOperation(ctx context.Context, kind adminpb.OperationType, x *adminpb.Index) (*lro.Operation, error) {
	return s.operations.start(ctx, x.GetProjectId(), task{
		kind: kind,
		describe: func(c *adminpb.CommonMetadata, _ *progress) proto.Message {
			return &adminpb.IndexOperationMetadata{Common: c, IndexId: x.GetIndexId()}
		},
		do: func(context.Context, *progress) (proto.Message, error) { return x, nil },
	})
}
