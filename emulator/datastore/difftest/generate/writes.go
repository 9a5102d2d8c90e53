package generate

import (
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
)

// readWrite are the options of a read-write transaction.
func readWrite() *pb.TransactionOptions {
	return &pb.TransactionOptions{Mode: &pb.TransactionOptions_ReadWrite_{ReadWrite: &pb.TransactionOptions_ReadWrite{}}}
}

// commit makes a commit of so many mutations at most: in a transaction of its
// own, since outside transactions Google's emulators apply one mutation after
// the other and leave half a commit behind; alone, either way.
func (g *generator) commit(most int) *pb.CommitRequest {
	n := g.between(1, most)
	req := &pb.CommitRequest{ProjectId: script.Project, Mode: pb.CommitRequest_TRANSACTIONAL,
		TransactionSelector: &pb.CommitRequest_SingleUseTransaction{SingleUseTransaction: readWrite()}}
	if n == 1 && g.one(2) {
		req.Mode, req.TransactionSelector = pb.CommitRequest_NON_TRANSACTIONAL, nil
	}
	for range n {
		req.Mutations = append(req.Mutations, g.mutation())
	}
	return req
}

func (g *generator) mutation() *pb.Mutation {
	m := &pb.Mutation{}
	switch g.IntN(8) {
	case 0, 1:
		m.Operation = &pb.Mutation_Insert{Insert: g.entity(g.key())}
	case 2:
		m.Operation = &pb.Mutation_Update{Update: g.entity(g.key())}
	case 3:
		m.Operation = &pb.Mutation_Delete{Delete: g.key()}
	default:
		m.Operation = &pb.Mutation_Upsert{Upsert: g.entity(g.key())}
	}
	g.refine(m)
	return m
}

func (g *generator) lookup(most int) *pb.LookupRequest {
	req := &pb.LookupRequest{ProjectId: script.Project}
	for range g.between(1, most) {
		req.Keys = append(req.Keys, g.key())
	}
	if g.one(8) {
		req.PropertyMask = g.mask()
	}
	return req
}

// writes is about mutations and lookups.
func (g *generator) writes() {
	g.fill()
	g.masks, g.transforms, g.versions = g.one(3), g.one(3), g.one(3)
	for range g.between(10, 25) {
		if g.one(3) {
			g.add(g.lookup(4))
		} else {
			g.add(g.commit(4))
		}
	}
}
