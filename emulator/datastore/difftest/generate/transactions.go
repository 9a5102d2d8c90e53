package generate

import (
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
)

func within(tx []byte) *pb.ReadOptions {
	return &pb.ReadOptions{ConsistencyType: &pb.ReadOptions_Transaction{Transaction: tx}}
}

func readOnly() *pb.TransactionOptions {
	return &pb.TransactionOptions{Mode: &pb.TransactionOptions_ReadOnly_{ReadOnly: &pb.TransactionOptions_ReadOnly{}}}
}

// transactions runs transactions one after the other: nobody ever waits.
func (g *generator) transactions() {
	g.fill()
	var commits []int
	for _, s := range g.s.Steps {
		commits = append(commits, s.ID)
	}
	for range g.between(3, 6) {
		switch g.IntN(6) {
		case 0: // a snapshot that others write past
			tx := g.begin(readOnly())
			g.reads(tx, g.between(1, 3))
			commits = append(commits, g.add(g.commit(2)))
			g.reads(tx, g.between(1, 3))
			g.end(tx, true)
		case 1: // the past
			at := pick(g, commits...)
			if g.one(3) {
				tx := g.begin(&pb.TransactionOptions{Mode: &pb.TransactionOptions_ReadOnly_{
					ReadOnly: &pb.TransactionOptions_ReadOnly{ReadTime: script.Time(at, 0)}}})
				g.reads(tx, g.between(1, 3))
				g.end(tx, true)
				continue
			}
			for range g.between(1, 3) {
				g.read(&pb.ReadOptions{ConsistencyType: &pb.ReadOptions_ReadTime{ReadTime: script.Time(at, 0)}})
			}
		case 2: // begun by its first read
			options := readWrite()
			if g.one(4) {
				options = readOnly()
			}
			step := g.read(&pb.ReadOptions{ConsistencyType: &pb.ReadOptions_NewTransaction{NewTransaction: options}})
			tx := script.Transaction(step)
			g.reads(tx, g.between(0, 2))
			commits = append(commits, g.end(tx, options.GetReadOnly() != nil))
		default:
			options := readWrite()
			if g.one(6) {
				options = nil
			} else if g.one(6) {
				options.GetReadWrite().PreviousTransaction = script.Transaction(g.last)
			}
			tx := g.begin(options)
			g.reads(tx, g.between(0, 3))
			commits = append(commits, g.end(tx, false))
			if g.one(4) { // it is over
				g.end(tx, false)
			}
			if g.one(8) {
				g.reads(tx, 1)
			}
		}
	}
	g.add(g.lookup(4))
}

func (g *generator) begin(o *pb.TransactionOptions) []byte {
	return script.Transaction(g.add(&pb.BeginTransactionRequest{ProjectId: script.Project, TransactionOptions: o}))
}

// end commits a transaction or rolls it back.
func (g *generator) end(tx []byte, readOnly bool) int {
	if g.one(5) {
		return g.add(&pb.RollbackRequest{ProjectId: script.Project, Transaction: tx})
	}
	req := g.commit(3)
	req.Mode = pb.CommitRequest_TRANSACTIONAL
	req.TransactionSelector = &pb.CommitRequest_Transaction{Transaction: tx}
	if readOnly && !g.one(3) || g.one(10) {
		req.Mutations = nil
	}
	return g.add(req)
}

func (g *generator) reads(tx []byte, n int) {
	for range n {
		g.read(within(tx))
	}
}

func (g *generator) read(o *pb.ReadOptions) int {
	switch g.IntN(5) {
	case 0, 1:
		req := g.lookup(3)
		req.ReadOptions = o
		return g.add(req)
	case 2:
		return g.add(&pb.RunAggregationQueryRequest{ProjectId: script.Project, PartitionId: g.partition(), ReadOptions: o,
			QueryType: &pb.RunAggregationQueryRequest_AggregationQuery{AggregationQuery: &pb.AggregationQuery{
				QueryType:    &pb.AggregationQuery_NestedQuery{NestedQuery: &pb.Query{Kind: []*pb.KindExpression{{Name: g.kind()}}}},
				Aggregations: []*pb.AggregationQuery_Aggregation{g.aggregate()},
			}}})
	default:
		return g.add(&pb.RunQueryRequest{ProjectId: script.Project, PartitionId: g.partition(), ReadOptions: o,
			QueryType: &pb.RunQueryRequest_Query{Query: g.query()}})
	}
}
