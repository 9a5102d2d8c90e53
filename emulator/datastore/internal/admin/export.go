package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/datastore/admin/apiv1/adminpb"
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	lro "cloud.google.com/go/longrunning/autogen/longrunningpb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/export"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"google.golang.org/protobuf/proto"
)

// ExportEntities implements the RPC.
func (s *Service) ExportEntities(ctx context.Context, req *adminpb.ExportEntitiesRequest) (*lro.Operation, error) {
	filter, err := filterOf(req.GetEntityFilter())
	if err != nil {
		return nil, err
	}
	prefix, err := s.folder.place("output_url_prefix", req.GetOutputUrlPrefix())
	if err != nil {
		return nil, err
	}
	view, err := s.data.Snapshot(req.GetProjectId(), "")
	if err != nil {
		return nil, err
	}
	return s.operations.start(ctx, req.GetProjectId(), task{
		kind: adminpb.OperationType_EXPORT_ENTITIES, labels: req.GetLabels(),
		describe: func(c *adminpb.CommonMetadata, p *progress) proto.Message {
			return &adminpb.ExportEntitiesMetadata{Common: c, EntityFilter: req.GetEntityFilter(), OutputUrlPrefix: req.GetOutputUrlPrefix(),
				ProgressEntities: p.ofEntities(), ProgressBytes: p.ofBytes()}
		},
		do: func(ctx context.Context, p *progress) (proto.Message, error) {
			file, err := s.export(ctx, view, filter, prefix, p)
			if err != nil {
				return nil, err
			}
			below := strings.TrimPrefix(file, prefix+"/")
			return &adminpb.ExportEntitiesResponse{OutputUrl: strings.TrimRight(req.GetOutputUrlPrefix(), "/") + "/" + below}, nil
		},
	})
}

// filterOf checks a filter.
func filterOf(f *adminpb.EntityFilter) (export.Filter, error) {
	for _, list := range [][]string{f.GetKinds(), f.GetNamespaceIds()} {
		sorted := slices.Sorted(slices.Values(list))
		if len(slices.Compact(sorted)) < len(list) {
			return export.Filter{}, invalid("entity_filter names a kind or a namespace twice")
		}
	}
	if slices.Contains(f.GetKinds(), "") {
		return export.Filter{}, invalid("The kind is the empty string.")
	}
	if n := max(1, len(f.GetKinds())) * max(1, len(f.GetNamespaceIds())); n > maxFilter {
		return export.Filter{}, invalid("entity_filter asks for %d pairs of kind and namespace: at most %d", n, maxFilter)
	}
	return export.Filter{Kinds: f.GetKinds(), Namespaces: f.GetNamespaceIds()}, nil
}

// maxFilter bounds the parts of an export.
const maxFilter = 1000

// export writes an export below prefix, under a name of its own, and returns the
// path of its overall metadata.
func (s *Service) export(ctx context.Context, view storage.View, f export.Filter, prefix string, p *progress) (file string, err error) {
	root, err := s.folder.open()
	if err != nil {
		return "", err
	}
	defer func() { _ = root.Close() }()
	name, err := freeName(root, prefix)
	if err != nil {
		return "", err
	}
	return s.write(ctx, root, view, f, path.Join(prefix, name), name, p)
}

// write writes an export to the folder dir.
func (s *Service) write(ctx context.Context, root *os.Root, view storage.View, f export.Filter, dir, name string, p *progress) (file string, err error) {
	p.allEntities.Store(int64(view.Count(encoding.AllEntities, encoding.PrefixEnd(encoding.AllEntities))))
	file, parts, err := export.Write(root, dir, name, f, func(s export.Scope) iter.Seq2[*pb.Entity, error] {
		return func(yield func(*pb.Entity, error) bool) {
			for e := range entities(view, s) {
				if err := ctx.Err(); err != nil {
					yield(nil, err)
					return
				}
				decoded, err := e.Decode()
				p.entities.Add(1)
				if !yield(decoded, err) {
					return
				}
			}
		}
	})
	for _, part := range parts {
		p.bytes.Add(part.Bytes)
		p.allBytes.Add(part.Bytes)
	}
	if err == nil {
		s.logger.Info("exported", "file", file, "entities", p.entities.Load())
	}
	return file, err
}

// freeName names an export by the present time and a number, as production does.
func freeName(root *os.Root, prefix string) (string, error) {
	for {
		name := fmt.Sprintf("%s_%05d", time.Now().UTC().Format("2006-01-02T15:04:05"), rand.IntN(100_000))
		if _, err := root.Lstat(path.Join(prefix, name)); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
			return name, err
		}
	}
}

// entities yields those of a part.
func entities(view storage.View, s export.Scope) iter.Seq[*storage.Entity] {
	return func(yield func(*storage.Entity) bool) {
		for namespace := range namespaces(view, s) {
			prefix := encoding.EntityPrefix(namespace)
			if !s.AllKinds {
				prefix = encoding.KindPrefix(namespace, s.Kind)
			}
			more := true
			view.Ascend(prefix, encoding.PrefixEnd(prefix), func(r storage.Row) bool {
				more = yield(r.Entity)
				return more
			})
			if !more {
				return
			}
		}
	}
}

// namespaces yields those of a part that have entities.
func namespaces(view storage.View, s export.Scope) iter.Seq[string] {
	return func(yield func(string) bool) {
		if !s.AllNamespaces {
			yield(s.Namespace)
			return
		}
		end := encoding.PrefixEnd(encoding.AllEntities)
		for at := encoding.AllEntities; ; {
			var found *string
			view.Ascend(at, end, func(r storage.Row) bool {
				if namespace, _, err := encoding.CutEntityRow(r.Key()); err == nil {
					found = &namespace
				}
				return false
			})
			if found == nil || !yield(*found) {
				return
			}
			at = encoding.PrefixEnd(encoding.EntityPrefix(*found))
		}
	}
}
