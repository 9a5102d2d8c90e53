package generate

import (
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// fill stores some entities of the world.
func (g *generator) fill() {
	for range g.between(1, 3) {
		req := &pb.CommitRequest{ProjectId: script.Project, Mode: pb.CommitRequest_NON_TRANSACTIONAL}
		seen := map[string]bool{}
		for range g.between(3, 8) {
			k := g.key()
			if name := script.KeyText(k); !seen[name] {
				seen[name] = true
				req.Mutations = append(req.Mutations, &pb.Mutation{Operation: &pb.Mutation_Upsert{Upsert: g.entity(k)}})
			}
		}
		g.add(req)
	}
}

// queries fills the world and asks for it, with a change now and then.
func (g *generator) queries() {
	g.fill()
	for range g.between(8, 20) {
		if g.one(10) {
			g.add(g.commit(1))
		}
		g.add(&pb.RunQueryRequest{ProjectId: script.Project, PartitionId: g.partition(),
			QueryType: &pb.RunQueryRequest_Query{Query: g.query()}})
		if g.one(2) {
			g.rows = append(g.rows, g.last)
		}
		if g.one(3) && len(g.rows) > 0 {
			g.resume(pick(g, g.rows...))
		}
	}
}

// resume asks again for a query of this script, from or to one of its cursors,
// or in reverse.
func (g *generator) resume(step int) {
	var req *pb.RunQueryRequest
	for _, s := range g.s.Steps {
		if s.ID == step {
			req = proto.Clone(s.Request).(*pb.RunQueryRequest)
		}
	}
	q := req.GetQuery()
	index := pick(g, 0, 0, 1, 2, script.End)
	switch g.IntN(4) {
	case 0:
		q.EndCursor = script.Cursor(step, index)
	case 1:
		if len(q.Order) > 0 {
			for _, o := range q.Order {
				if o.Direction == pb.PropertyOrder_DESCENDING {
					o.Direction = pb.PropertyOrder_ASCENDING
				} else {
					o.Direction = pb.PropertyOrder_DESCENDING
				}
			}
			q.Limit, q.Offset = nil, 0
		}
		q.StartCursor = script.Cursor(step, index)
	default:
		q.StartCursor = script.Cursor(step, index)
		if g.one(2) {
			q.Offset = 0
		}
	}
	g.add(req)
}

func property(name string) *pb.PropertyReference { return &pb.PropertyReference{Name: name} }

func filter(name string, op pb.PropertyFilter_Operator, v *pb.Value) *pb.Filter {
	return &pb.Filter{FilterType: &pb.Filter_PropertyFilter{PropertyFilter: &pb.PropertyFilter{Property: property(name), Op: op, Value: v}}}
}

func composite(op pb.CompositeFilter_Operator, fs ...*pb.Filter) *pb.Filter {
	return &pb.Filter{FilterType: &pb.Filter_CompositeFilter{CompositeFilter: &pb.CompositeFilter{Op: op, Filters: fs}}}
}

func (g *generator) inequality() pb.PropertyFilter_Operator {
	return pick(g, pb.PropertyFilter_LESS_THAN, pb.PropertyFilter_LESS_THAN_OR_EQUAL,
		pb.PropertyFilter_GREATER_THAN, pb.PropertyFilter_GREATER_THAN_OR_EQUAL)
}

// name is a property to filter or sort by.
func (g *generator) name() string {
	if g.embedded && g.one(4) {
		return pick(g, g.names...) + pick(g, ".x", ".y")
	}
	return pick(g, g.names...)
}

// query is any query of the world.
func (g *generator) query() *pb.Query {
	if g.one(8) {
		return g.kindless()
	}
	q := &pb.Query{Kind: []*pb.KindExpression{{Name: g.kind()}}}
	if g.classic {
		g.classicFilter(q)
	} else if g.one(4) {
		q.Filter = g.tree(2)
	} else {
		g.flatFilter(q)
	}
	g.orders(q)
	g.columns(q)
	g.window(q)
	return q
}

func (g *generator) kindless() *pb.Query {
	q := &pb.Query{}
	var fs []*pb.Filter
	if g.one(3) {
		fs = append(fs, filter("__key__", pb.PropertyFilter_HAS_ANCESTOR, keyValue(g.key())))
	}
	for g.one(2) && len(fs) < 3 {
		fs = append(fs, filter("__key__", g.inequality(), keyValue(g.key())))
	}
	if g.one(12) {
		fs = append(fs, filter(g.name(), pb.PropertyFilter_EQUAL, g.scalar()))
	}
	g.join(q, fs)
	if g.one(3) {
		q.Order = []*pb.PropertyOrder{{Property: property("__key__"), Direction: pb.PropertyOrder_ASCENDING}}
		if g.one(6) {
			q.Order[0].Direction = pb.PropertyOrder_DESCENDING
		}
		if g.one(8) {
			q.Order[0].Property.Name = g.name()
		}
	}
	if g.one(4) {
		q.Projection = []*pb.Projection{{Property: property("__key__")}}
	}
	g.window(q)
	return q
}

// join makes one filter of several.
func (g *generator) join(q *pb.Query, fs []*pb.Filter) {
	g.Shuffle(len(fs), func(i, j int) { fs[i], fs[j] = fs[j], fs[i] })
	switch {
	case len(fs) == 1 && !g.one(6):
		q.Filter = fs[0]
	case len(fs) > 0:
		q.Filter = composite(pb.CompositeFilter_AND, fs...)
	}
}

// classicFilter has inequalities on one property at most, which is then the
// first to sort by.
func (g *generator) classicFilter(q *pb.Query) {
	var fs []*pb.Filter
	if g.one(5) {
		fs = append(fs, filter("__key__", pb.PropertyFilter_HAS_ANCESTOR, keyValue(g.key())))
	}
	for g.one(3) && len(fs) < 3 {
		if g.one(8) {
			fs = append(fs, filter("__key__", pb.PropertyFilter_EQUAL, keyValue(g.key())))
		} else {
			fs = append(fs, filter(g.name(), pb.PropertyFilter_EQUAL, g.scalar()))
		}
	}
	if g.one(3) {
		if g.one(5) {
			fs = append(fs, filter("__key__", g.inequality(), keyValue(g.key())))
			q.Order = append(q.Order, &pb.PropertyOrder{Property: property("__key__"), Direction: g.direction()})
		} else {
			name := g.name()
			for range g.between(1, 2) {
				fs = append(fs, filter(name, g.inequality(), g.scalar()))
			}
			q.Order = append(q.Order, &pb.PropertyOrder{Property: property(name), Direction: g.direction()})
		}
		if g.one(2) {
			q.Order = nil
		}
	}
	g.join(q, fs)
}

func (g *generator) direction() pb.PropertyOrder_Direction {
	return pick(g, pb.PropertyOrder_ASCENDING, pb.PropertyOrder_DESCENDING, pb.PropertyOrder_ASCENDING, pb.PropertyOrder_DIRECTION_UNSPECIFIED)
}

// leaf is one filter of any operator.
func (g *generator) leaf() *pb.Filter {
	name := g.name()
	value := g.scalar
	if g.one(8) {
		name = "__key__"
		value = func() *pb.Value { return keyValue(g.key()) }
	}
	switch g.IntN(10) {
	case 0, 1, 2:
		return filter(name, pb.PropertyFilter_EQUAL, value())
	case 3:
		return filter(name, pb.PropertyFilter_NOT_EQUAL, value())
	case 4, 5:
		op := pick(g, pb.PropertyFilter_IN, pb.PropertyFilter_IN, pb.PropertyFilter_NOT_IN)
		vs := make([]*pb.Value, g.between(1, 4))
		for i := range vs {
			vs[i] = value()
		}
		return filter(name, op, array(vs...))
	case 6:
		return filter("__key__", pb.PropertyFilter_HAS_ANCESTOR, keyValue(g.key()))
	default:
		return filter(name, g.inequality(), value())
	}
}

// flatFilter is a conjunction of any filters.
func (g *generator) flatFilter(q *pb.Query) {
	var fs []*pb.Filter
	for !g.one(3) && len(fs) < 4 {
		fs = append(fs, g.leaf())
	}
	g.join(q, fs)
}

// tree is a filter with AND and OR of some depth.
func (g *generator) tree(depth int) *pb.Filter {
	if depth == 0 || g.one(4) {
		return g.leaf()
	}
	fs := make([]*pb.Filter, g.between(1, 3))
	for i := range fs {
		fs[i] = g.tree(depth - 1)
	}
	return composite(pick(g, pb.CompositeFilter_AND, pb.CompositeFilter_OR, pb.CompositeFilter_OR), fs...)
}

func (g *generator) orders(q *pb.Query) {
	for g.one(3) && len(q.Order) < 3 {
		name := g.name()
		if g.one(5) {
			name = "__key__"
		}
		q.Order = append(q.Order, &pb.PropertyOrder{Property: property(name), Direction: g.direction()})
	}
}

// columns makes a projection of some queries.
func (g *generator) columns(q *pb.Query) {
	switch g.IntN(8) {
	case 0:
		q.Projection = []*pb.Projection{{Property: property("__key__")}}
	case 1, 2:
		for _, i := range g.Perm(len(g.names))[:g.between(1, 2)] {
			q.Projection = append(q.Projection, &pb.Projection{Property: property(g.names[i])})
		}
		if g.one(5) {
			q.Projection = append(q.Projection, &pb.Projection{Property: property("__key__")})
		}
		if g.one(3) {
			q.DistinctOn = []*pb.PropertyReference{property(q.Projection[0].GetProperty().GetName())}
			if g.one(2) {
				q.Order = nil
			}
		}
	case 3:
		if g.one(3) {
			q.DistinctOn = []*pb.PropertyReference{property(g.name())}
		}
	}
}

func (g *generator) window(q *pb.Query) {
	if g.one(3) {
		q.Limit = wrapperspb.Int32(int32(pick(g, 0, 1, 2, 3, 5, 100)))
	}
	if g.one(4) {
		q.Offset = int32(pick(g, 1, 2, 3, 50))
	}
}
