package generate

import (
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
	"google.golang.org/protobuf/proto"
)

// interleaved has two or three actors in each other's way: their transactions,
// and writes outside transactions, over three or four entities.
func (g *generator) interleaved() {
	g.s.Interleaved = true
	g.arrays, g.embedded, g.unindexed = false, false, false
	g.masks, g.transforms, g.versions = false, false, false
	g.classic = true
	var keys []*pb.Key
	for _, id := range []int64{1, 2, 3, 4}[:g.between(2, 4)] {
		keys = append(keys, &pb.Key{PartitionId: g.partition(), Path: []*pb.Key_PathElement{{Kind: pick(g, "A", "A", "B"), IdType: &pb.Key_PathElement_Id{Id: id}}}})
	}
	fill := &pb.CommitRequest{ProjectId: script.Project, Mode: pb.CommitRequest_NON_TRANSACTIONAL}
	for _, k := range keys[1:] {
		fill.Mutations = append(fill.Mutations, &pb.Mutation{Operation: &pb.Mutation_Upsert{Upsert: g.small(k)}})
	}
	g.add(fill)

	actors := g.between(2, 3)
	plans := make([][]proto.Message, actors)
	budget := 5 // of units: every order of them may have to be tried
	for i := range plans {
		for range g.between(1, 2) {
			if budget == 0 {
				break
			}
			budget--
			plans[i] = append(plans[i], g.unit(keys)...)
		}
	}
	// The steps of a plan refer to one another by their place in it until they
	// have numbers.
	began := make([]int, actors)
	left := 0
	for _, p := range plans {
		left += len(p)
	}
	for left > 0 {
		i := g.IntN(actors)
		if len(plans[i]) == 0 {
			continue
		}
		request := plans[i][0]
		plans[i] = plans[i][1:]
		left--
		tx := script.Transaction(began[i])
		switch r := request.(type) {
		case *pb.LookupRequest:
			if r.GetReadOptions().GetTransaction() != nil {
				r.ReadOptions = within(tx)
			}
		case *pb.RunQueryRequest:
			if r.GetReadOptions().GetTransaction() != nil {
				r.ReadOptions = within(tx)
			}
		case *pb.CommitRequest:
			if r.GetTransaction() != nil {
				r.TransactionSelector = &pb.CommitRequest_Transaction{Transaction: tx}
			}
		case *pb.RollbackRequest:
			r.Transaction = tx
		}
		step := g.add(request)
		g.s.Steps[len(g.s.Steps)-1].Actor = i + 1
		switch r := request.(type) {
		case *pb.BeginTransactionRequest:
			began[i] = step
		case interface{ GetReadOptions() *pb.ReadOptions }:
			if r.GetReadOptions().GetNewTransaction() != nil {
				began[i] = step
			}
		}
	}
	g.add(&pb.LookupRequest{ProjectId: script.Project, Keys: keys})
	g.add(&pb.RunQueryRequest{ProjectId: script.Project, PartitionId: g.partition(), QueryType: &pb.RunQueryRequest_Query{Query: &pb.Query{
		Kind: []*pb.KindExpression{{Name: "A"}}, Order: []*pb.PropertyOrder{{Property: property("p")}}}}})
}

// unit is a transaction, or a commit without one.
func (g *generator) unit(keys []*pb.Key) []proto.Message {
	if g.one(4) {
		return []proto.Message{g.commitTo(keys, nil)}
	}
	var plan []proto.Message
	options := readWrite()
	if g.one(5) {
		options = readOnly()
	}
	open := []byte("open")
	var begin *pb.ReadOptions
	if g.one(3) {
		begin = &pb.ReadOptions{ConsistencyType: &pb.ReadOptions_NewTransaction{NewTransaction: options}}
	} else {
		plan = append(plan, &pb.BeginTransactionRequest{ProjectId: script.Project, TransactionOptions: options})
	}
	for range g.between(1, 2) {
		o := within(open)
		if begin != nil {
			o, begin = begin, nil
		}
		if g.one(3) {
			q := &pb.Query{Kind: []*pb.KindExpression{{Name: "A"}}}
			if g.one(2) {
				q.Filter = filter("p", pick(g, pb.PropertyFilter_EQUAL, pb.PropertyFilter_GREATER_THAN, pb.PropertyFilter_LESS_THAN), integer(int64(g.between(0, 3))))
			}
			plan = append(plan, &pb.RunQueryRequest{ProjectId: script.Project, PartitionId: g.partition(), ReadOptions: o,
				QueryType: &pb.RunQueryRequest_Query{Query: q}})
			continue
		}
		plan = append(plan, &pb.LookupRequest{ProjectId: script.Project, ReadOptions: o, Keys: []*pb.Key{pick(g, keys...)}})
	}
	switch {
	case g.one(8):
		plan = append(plan, &pb.RollbackRequest{ProjectId: script.Project, Transaction: open})
	case options.GetReadOnly() != nil:
		plan = append(plan, &pb.CommitRequest{ProjectId: script.Project, Mode: pb.CommitRequest_TRANSACTIONAL,
			TransactionSelector: &pb.CommitRequest_Transaction{Transaction: open}})
	default:
		plan = append(plan, g.commitTo(keys, open))
	}
	return plan
}

func (g *generator) commitTo(keys []*pb.Key, tx []byte) *pb.CommitRequest {
	req := &pb.CommitRequest{ProjectId: script.Project, Mode: pb.CommitRequest_NON_TRANSACTIONAL}
	n := 1
	if tx != nil {
		req.Mode = pb.CommitRequest_TRANSACTIONAL
		req.TransactionSelector = &pb.CommitRequest_Transaction{Transaction: tx}
		n = g.between(1, 2)
	}
	for _, i := range g.Perm(len(keys))[:n] {
		k := keys[i]
		m := &pb.Mutation{}
		switch g.IntN(6) {
		case 0:
			m.Operation = &pb.Mutation_Insert{Insert: g.small(k)}
		case 1:
			m.Operation = &pb.Mutation_Delete{Delete: k}
		default:
			m.Operation = &pb.Mutation_Upsert{Upsert: g.small(k)}
		}
		req.Mutations = append(req.Mutations, m)
	}
	return req
}

// small is an entity of two numbers, one of which nobody else writes.
func (g *generator) small(k *pb.Key) *pb.Entity {
	return &pb.Entity{Key: k, Properties: map[string]*pb.Value{"p": integer(int64(g.between(0, 3))), "by": integer(int64(g.Uint32()))}}
}
