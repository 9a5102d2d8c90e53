package protocol

import (
	"slices"
	"sync"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/metadata"
	"github.com/latchwork/latchwork/emulator/datastore/internal/planning"
	"github.com/latchwork/latchwork/emulator/datastore/internal/statistics"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"github.com/latchwork/latchwork/emulator/datastore/internal/transactions"
)

// overlay is the state that a query of a reserved kind runs on in place of the
// stored one, and what of that it depends on.
type overlay func(storage.View) (storage.View, []transactions.Range, error)

// overlay returns what a query of the partition runs on; nil is the stored
// state itself.
func (d database) overlay(id *pb.PartitionId, q *pb.Query, inTransaction bool) (overlay, error) {
	if len(q.GetKind()) != 1 {
		return nil, nil
	}
	namespace := id.GetNamespaceId()
	var find func(storage.View) metadata.Found
	switch kind := q.GetKind()[0].GetName(); kind {
	case metadata.NamespaceKind:
		find = metadata.Namespaces
	case metadata.KindKind:
		find = func(v storage.View) metadata.Found { return metadata.Kinds(v, namespace) }
	case metadata.PropertyKind:
		if inTransaction {
			return nil, invalid("transactional queries on %s not allowed", kind)
		}
		keysOnly := len(q.GetProjection()) > 0
		find = func(v storage.View) metadata.Found { return metadata.Properties(v, namespace, keysOnly) }
	default:
		if statistics.IsKind(kind) {
			return d.statisticsOverlay()
		}
		return nil, nil
	}
	if err := d.checkMetadataQuery(q); err != nil {
		return nil, err
	}
	at := metadataOf{d.ID, namespace, q.GetKind()[0].GetName(), len(q.GetProjection()) > 0}
	return func(v storage.View) (storage.View, []transactions.Range, error) {
		return d.metadata.of(at, v, find)
	}, nil
}

// metadataCache keeps what the latest metadata query of each database found, if
// that was more than a batch: the query for the next one is then answered from
// it, as long as nothing has changed.
type metadataCache struct {
	mu sync.Mutex
	by map[storage.ID]foundMetadata
}

// metadataOf names what a metadata query asks for.
type metadataOf struct {
	id              storage.ID
	namespace, kind string
	keysOnly        bool
}

type foundMetadata struct {
	metadataOf
	over   storage.View
	ranges []transactions.Range
}

func (c *metadataCache) of(at metadataOf, v storage.View, find func(storage.View) metadata.Found) (storage.View, []transactions.Range, error) {
	c.mu.Lock()
	known := c.by[at.id]
	c.mu.Unlock()
	if known.metadataOf == at && known.over.Version == v.Version {
		known.over.Time = v.Time
		return known.over, known.ranges, nil
	}
	found := find(v)
	for _, e := range found.Entities {
		e.Key.PartitionId = &pb.PartitionId{ProjectId: at.id.Project, DatabaseId: at.id.Database, NamespaceId: at.namespace}
	}
	ranges := make([]transactions.Range, len(found.Ranges))
	for i, r := range found.Ranges {
		ranges[i] = transactions.Range(r)
	}
	over, err := storage.Synthetic(found.Entities, v.Version)
	if err == nil && len(found.Entities) > planning.MaxBatch {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.by == nil {
			c.by = map[storage.ID]foundMetadata{}
		}
		c.by[at.id] = foundMetadata{at, over, ranges}
	}
	over.Time = v.Time
	return over, ranges, err
}

// checkMetadataQuery refuses what Google documents that metadata queries can't
// do: anything but a range of keys, or of the properties of one kind, in
// ascending order. The texts are those of Google's Datastore emulator; its
// Firestore emulator has no such queries.
func (d database) checkMetadataQuery(q *pb.Query) error {
	const onlyKeys = "Only comparison filters on __key__ supported"
	for _, p := range q.GetProjection() {
		if p.GetProperty().GetName() != "__key__" {
			return invalid(onlyKeys)
		}
	}
	for _, o := range q.GetOrder() {
		if o.GetProperty().GetName() != "__key__" || o.GetDirection() == pb.PropertyOrder_DESCENDING {
			return invalid("Only ascending order on __key__ supported")
		}
	}
	if on := q.GetDistinctOn(); len(on) > 0 {
		return invalid("group by is not supported for the property: %s", on[0].GetName())
	}
	if q.GetFindNearest() != nil {
		return invalid(onlyKeys)
	}
	kind := q.GetKind()[0].GetName()
	return eachFilter(q.GetFilter(), func(f *pb.Filter) error {
		if c := f.GetCompositeFilter(); c != nil {
			if c.GetOp() == pb.CompositeFilter_OR {
				return invalid("unsupported composite property operator")
			}
			return nil
		}
		p := f.GetPropertyFilter()
		keys := []*pb.Key{p.GetValue().GetKeyValue()}
		switch p.GetOp() {
		case pb.PropertyFilter_NOT_EQUAL, pb.PropertyFilter_NOT_IN:
			return invalid(onlyKeys)
		case pb.PropertyFilter_HAS_ANCESTOR:
			if kind != metadata.PropertyKind {
				return invalid("ancestor queries on %s not allowed", kind)
			}
		case pb.PropertyFilter_IN:
			keys = nil
			for _, v := range p.GetValue().GetArrayValue().GetValues() {
				keys = append(keys, v.GetKeyValue())
			}
		}
		if p.GetProperty().GetName() != "__key__" {
			return invalid(onlyKeys)
		}
		for _, k := range keys {
			if why := wrongKey(kind, k.GetPath()); why != "" && k != nil {
				return invalid("Key filter on %s is invalid (%s) - received %s", kind, why, d.reference(encoding.EntityRow(k)))
			}
		}
		return nil
	})
}

// wrongKey says what is wrong with a key that entities of a metadata kind are
// compared with.
func wrongKey(kind string, path []*pb.Key_PathElement) string {
	if len(path) == 0 {
		return ""
	}
	last := path[len(path)-1]
	switch kind {
	case metadata.NamespaceKind:
		switch {
		case last.GetKind() != kind:
			return "must be a key for __namespace__"
		case last.GetName() == "" && last.GetId() != 1:
			return "key must be a name or the number 1"
		}
	case metadata.KindKind:
		if last.GetKind() != kind {
			return "must be a named key for __kind__"
		}
	case metadata.PropertyKind:
		switch {
		case path[0].GetKind() != metadata.KindKind:
			return "parent must be a named key for __kind__"
		case len(path) > 1 && last.GetKind() != kind:
			return "must be a named key for __property__"
		}
		path = path[1:]
	}
	if len(path) > 1 {
		return "key has parent"
	}
	return ""
}

// maxFilterDepth is where eachFilter stops; the planner allows less.
const maxFilterDepth = 100

// eachFilter calls f with a filter and all within it, until it returns an error.
// What is nested too deep is left to the planner, which refuses it.
func eachFilter(filter *pb.Filter, f func(*pb.Filter) error) error {
	type level struct {
		*pb.Filter
		depth int
	}
	for todo := []level{{filter, 0}}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if at.Filter == nil || at.depth > maxFilterDepth {
			continue
		}
		if err := f(at.Filter); err != nil {
			return err
		}
		for _, sub := range slices.Backward(at.GetCompositeFilter().GetFilters()) {
			todo = append(todo, level{sub, at.depth + 1})
		}
	}
	return nil
}
