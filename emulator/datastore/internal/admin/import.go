package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"cloud.google.com/go/datastore/admin/apiv1/adminpb"
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	lro "cloud.google.com/go/longrunning/autogen/longrunningpb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/export"
	"github.com/latchwork/latchwork/emulator/datastore/internal/texts"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Bounds of one commit of an import.
const (
	MaxBatch      = 500
	maxBatchBytes = 4 << 20
)

// ImportEntities implements the RPC.
func (s *Service) ImportEntities(ctx context.Context, req *adminpb.ImportEntitiesRequest) (*lro.Operation, error) {
	filter, err := filterOf(req.GetEntityFilter())
	if err != nil {
		return nil, err
	}
	file, err := s.folder.place("input_url", req.GetInputUrl())
	if err != nil {
		return nil, err
	}
	if err := s.data.CheckProject(req.GetProjectId()); err != nil {
		return nil, err
	}
	in, err := s.openImport(file, filter)
	if err != nil {
		return nil, err
	}
	in.project = req.GetProjectId()
	return s.operations.start(ctx, in.project, task{
		kind: adminpb.OperationType_IMPORT_ENTITIES, labels: req.GetLabels(),
		describe: func(c *adminpb.CommonMetadata, p *progress) proto.Message {
			return &adminpb.ImportEntitiesMetadata{Common: c, EntityFilter: req.GetEntityFilter(), InputUrl: req.GetInputUrl(),
				ProgressEntities: p.ofEntities(), ProgressBytes: p.ofBytes()}
		},
		do:      func(ctx context.Context, p *progress) (proto.Message, error) { return &emptypb.Empty{}, in.run(ctx, p) },
		release: in.close,
	})
}

// importing is an import whose metadata has been read.
type importing struct {
	data              Data
	logger            *slog.Logger
	root              *os.Root
	file              string
	export            *export.Export
	parts             []export.Part
	project, database string
}

func (in *importing) close() { _ = in.root.Close() }

// openImport reads the metadata of an export below the folder.
func (s *Service) openImport(file string, f export.Filter) (in *importing, err error) {
	root, err := s.folder.open()
	if err != nil {
		return nil, err
	}
	in = &importing{data: s.data, logger: s.logger, root: root, file: file}
	if in.export, err = export.Open(root, file); err == nil {
		in.parts, err = in.export.Select(f)
	}
	if err != nil {
		_ = root.Close()
		return nil, importError(err)
	}
	return in, nil
}

// importError gives an error of package export the code that it has in the API.
func importError(err error) error {
	if _, ok := errors.AsType[*export.DamageError](err); ok {
		return status.Error(codes.InvalidArgument, texts.Bound(err.Error()))
	}
	if _, ok := errors.AsType[*export.MissingPartError](err); ok {
		return status.Error(codes.FailedPrecondition, texts.Bound(err.Error()))
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		code := codes.InvalidArgument
		if errors.Is(err, fs.ErrNotExist) {
			code = codes.NotFound
		}
		return status.Error(code, texts.Bound("reading the export: "+err.Error()))
	}
	return err
}

// run commits what the parts have. The error says how much of it is there.
func (in *importing) run(ctx context.Context, p *progress) error {
	for _, part := range in.parts {
		p.allEntities.Add(part.Entities)
		p.allBytes.Add(part.Bytes)
	}
	for _, part := range in.parts {
		b := batch{importing: in, keys: map[string]bool{}}
		for e, err := range in.export.Entities(part, in.project, in.database) {
			if err == nil {
				err = b.add(ctx, e, p)
			}
			if err != nil {
				// What was read before the damage is good.
				if flushed := b.commit(ctx, p); flushed != nil {
					err = flushed
				}
				return in.failed(err, part, p)
			}
		}
		if err := b.commit(ctx, p); err != nil {
			return in.failed(err, part, p)
		}
		p.bytes.Add(part.Bytes)
	}
	in.logger.Info("imported", "file", in.file, "entities", p.entities.Load())
	return nil
}

func (in *importing) failed(err error, part export.Part, p *progress) error {
	s := toStatus(importError(err))
	return status.Error(s.Code(), texts.Bound(fmt.Sprintf("%s; the import ended in the part of %s, after %d entities, which stay",
		s.Message(), part.Scope, p.entities.Load())))
}

// batch collects the entities of one commit. Production's exports have a key
// once; should one come again, the later one wins, in a commit of its own.
type batch struct {
	*importing
	mutations []*pb.Mutation
	keys      map[string]bool
	bytes     int
}

func (b *batch) add(ctx context.Context, e *pb.Entity, p *progress) error {
	row, size := encoding.EntityRow(e.GetKey()), proto.Size(e)
	if b.keys[row] || len(b.mutations) == MaxBatch || len(b.mutations) > 0 && b.bytes+size > maxBatchBytes {
		if err := b.commit(ctx, p); err != nil {
			return err
		}
	}
	b.keys[row] = true
	b.bytes += size
	b.mutations = append(b.mutations, &pb.Mutation{Operation: &pb.Mutation_Upsert{Upsert: e}})
	return nil
}

// commit writes what is in the batch.
func (b *batch) commit(ctx context.Context, p *progress) error {
	if len(b.mutations) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err := b.write(ctx, b.mutations, p)
	if code := status.Code(err); err != nil && code == codes.InvalidArgument && len(b.mutations) > 1 {
		// One of them is to blame: up to it, all of them are written.
		for i, m := range b.mutations {
			if err = b.write(ctx, b.mutations[i:i+1], p); err != nil {
				err = status.Error(code, texts.Sprintf("entity %s: %s", pathText(m.GetUpsert().GetKey()), status.Convert(err).Message()))
				break
			}
		}
	}
	if err != nil {
		b.mutations = nil
		return err
	}
	b.mutations, b.bytes = nil, 0
	clear(b.keys)
	return nil
}

// write commits mutations, with their identifiers out of reach first.
func (b *batch) write(ctx context.Context, mutations []*pb.Mutation, p *progress) error {
	var reserved []*pb.Key
	for _, m := range mutations {
		if path := m.GetUpsert().GetKey().GetPath(); path[len(path)-1].GetId() > 0 {
			reserved = append(reserved, proto.CloneOf(m.GetUpsert().GetKey()))
		}
	}
	if len(reserved) > 0 {
		_, err := b.data.ReserveIds(ctx, &pb.ReserveIdsRequest{ProjectId: b.project, DatabaseId: b.database, Keys: reserved})
		if err != nil {
			return err
		}
	}
	_, err := b.data.Commit(ctx, &pb.CommitRequest{ProjectId: b.project, DatabaseId: b.database,
		Mode: pb.CommitRequest_NON_TRANSACTIONAL, Mutations: mutations})
	if err == nil {
		p.entities.Add(int64(len(mutations)))
	}
	return err
}

// pathText shows a key in an error.
func pathText(k *pb.Key) string {
	var b strings.Builder
	for i, e := range k.GetPath() {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(e.GetKind() + ":")
		switch id := e.GetIdType().(type) {
		case *pb.Key_PathElement_Id:
			b.WriteString(strconv.FormatInt(id.Id, 10))
		case *pb.Key_PathElement_Name:
			b.WriteString(id.Name)
		}
	}
	return b.String()
}
