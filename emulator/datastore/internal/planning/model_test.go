package planning_test

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/indexes"
	"github.com/latchwork/latchwork/emulator/datastore/internal/planning"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"pgregory.net/rapid"
)

const project, namespace = "p", "n"

func partition() *pb.PartitionId { return &pb.PartitionId{ProjectId: project, NamespaceId: namespace} }

// world draws entities and queries that meet each other.
type world struct {
	*rapid.T
	names []string
}

func pick[T any](w *world, label string, from ...T) T {
	return rapid.SampledFrom(from).Draw(w.T, label)
}

func (w *world) odds(label string, n int) bool { return rapid.IntRange(1, n).Draw(w.T, label) == 1 }

func (w *world) key() *pb.Key {
	k := &pb.Key{PartitionId: partition()}
	if w.odds("child", 2) {
		k.Path = append(k.Path, w.element("A"))
	}
	k.Path = append(k.Path, w.element(pick(w, "kind", "A", "A", "A", "B")))
	return k
}

func (w *world) element(kind string) *pb.Key_PathElement {
	return &pb.Key_PathElement{Kind: kind, IdType: &pb.Key_PathElement_Id{Id: pick[int64](w, "id", 1, 2, 3, 4)}}
}

func keyValue(k *pb.Key) *pb.Value { return &pb.Value{ValueType: &pb.Value_KeyValue{KeyValue: k}} }

func list(values ...*pb.Value) *pb.Value {
	return &pb.Value{ValueType: &pb.Value_ArrayValue{ArrayValue: &pb.ArrayValue{Values: values}}}
}

func (w *world) scalar() *pb.Value {
	switch rapid.IntRange(0, 5).Draw(w.T, "type") {
	case 0:
		return &pb.Value{ValueType: &pb.Value_NullValue{NullValue: structpb.NullValue_NULL_VALUE}}
	case 1:
		return &pb.Value{ValueType: &pb.Value_StringValue{StringValue: pick(w, "string", "", "\x00", "a")}}
	}
	return &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: pick[int64](w, "int", -1, 0, 1, 2)}}
}

func (w *world) entity() *pb.Entity {
	e := &pb.Entity{Key: w.key(), Properties: map[string]*pb.Value{}}
	for _, name := range w.names {
		switch rapid.IntRange(0, 7).Draw(w.T, "shape") {
		case 0:
		case 1:
			v := w.scalar()
			v.ExcludeFromIndexes = true
			e.Properties[name] = v
		case 2, 3:
			var values []*pb.Value
			for range rapid.IntRange(0, 3).Draw(w.T, "length") {
				values = append(values, w.scalar())
			}
			e.Properties[name] = list(values...)
		default:
			e.Properties[name] = w.scalar()
		}
	}
	return e
}

func property(name string, op pb.PropertyFilter_Operator, v *pb.Value) *pb.Filter {
	return &pb.Filter{FilterType: &pb.Filter_PropertyFilter{PropertyFilter: &pb.PropertyFilter{
		Property: &pb.PropertyReference{Name: name}, Op: op, Value: v}}}
}

func composite(op pb.CompositeFilter_Operator, filters ...*pb.Filter) *pb.Filter {
	return &pb.Filter{FilterType: &pb.Filter_CompositeFilter{CompositeFilter: &pb.CompositeFilter{Op: op, Filters: filters}}}
}

func (w *world) leaf() *pb.Filter {
	name, value := pick(w, "property", w.names...), w.scalar
	if w.odds("key", 6) {
		name, value = "__key__", func() *pb.Value { return keyValue(w.key()) }
	}
	op := pick(w, "op", pb.PropertyFilter_EQUAL, pb.PropertyFilter_EQUAL, pb.PropertyFilter_EQUAL, pb.PropertyFilter_LESS_THAN,
		pb.PropertyFilter_LESS_THAN_OR_EQUAL, pb.PropertyFilter_GREATER_THAN, pb.PropertyFilter_GREATER_THAN_OR_EQUAL,
		pb.PropertyFilter_NOT_EQUAL, pb.PropertyFilter_IN, pb.PropertyFilter_NOT_IN)
	if op != pb.PropertyFilter_IN && op != pb.PropertyFilter_NOT_IN {
		return property(name, op, value())
	}
	var values []*pb.Value
	for range rapid.IntRange(1, 3).Draw(w.T, "length") {
		values = append(values, value())
	}
	return property(name, op, list(values...))
}

func (w *world) tree(depth int) *pb.Filter {
	if depth == 0 || w.odds("leaf", 3) {
		return w.leaf()
	}
	var subs []*pb.Filter
	for range rapid.IntRange(1, 3).Draw(w.T, "filters") {
		subs = append(subs, w.tree(depth-1))
	}
	return composite(pick(w, "junction", pb.CompositeFilter_AND, pb.CompositeFilter_OR), subs...)
}

func (w *world) query() *pb.Query {
	q := &pb.Query{Kind: []*pb.KindExpression{{Name: "A"}}}
	if !w.odds("no filter", 5) {
		q.Filter = w.tree(2)
	}
	if w.odds("ancestor", 4) {
		a := property("__key__", pb.PropertyFilter_HAS_ANCESTOR, keyValue(&pb.Key{PartitionId: partition(), Path: []*pb.Key_PathElement{w.element("A")}}))
		if q.Filter != nil {
			a = composite(pb.CompositeFilter_AND, q.Filter, a)
		}
		q.Filter = a
	}
	names := append([]string{"__key__"}, w.names...)
	for _, name := range rapid.Permutation(names).Draw(w.T, "orders")[:rapid.SampledFrom([]int{0, 0, 1, 1, 2, 3}).Draw(w.T, "n")] {
		q.Order = append(q.Order, &pb.PropertyOrder{Property: &pb.PropertyReference{Name: name},
			Direction: pick(w, "direction", pb.PropertyOrder_ASCENDING, pb.PropertyOrder_DESCENDING)})
	}
	if w.odds("projection", 3) {
		for _, name := range rapid.Permutation(names).Draw(w.T, "projection")[:rapid.IntRange(1, 2).Draw(w.T, "n")] {
			q.Projection = append(q.Projection, &pb.Projection{Property: &pb.PropertyReference{Name: name}})
		}
	}
	if w.odds("distinct", 4) {
		for _, name := range rapid.Permutation(w.names).Draw(w.T, "distinct")[:rapid.IntRange(1, 2).Draw(w.T, "n")] {
			q.DistinctOn = append(q.DistinctOn, &pb.PropertyReference{Name: name})
		}
	}
	return q
}

// definitions draws indexes.
func (w *world) definitions() *indexes.Set {
	set := indexes.NewSet()
	for range rapid.IntRange(0, 3).Draw(w.T, "definitions") {
		d := indexes.Definition{Kind: "A", Ancestor: w.odds("ancestor", 3)}
		names := rapid.Permutation(append([]string{"__key__"}, w.names...)).Draw(w.T, "names")
		for _, name := range names[:rapid.IntRange(1, len(names)).Draw(w.T, "n")] {
			d.Properties = append(d.Properties, indexes.Property{Name: name, Desc: rapid.Bool().Draw(w.T, "desc")})
		}
		set = set.With(d)
	}
	return set
}

// naive evaluates a query by looking at everything.
type naive struct {
	q        *pb.Query
	columns  []naiveColumn // the key among them
	distinct int
	project  bool
}

type naiveColumn struct {
	name string
	desc bool
}

// answer is a result: an entity and its values in the columns.
type answer struct {
	path   string
	values []string
}

func (a answer) String() string { return fmt.Sprintf("%x %x", a.path, a.values) }

func encoded(v *pb.Value) string {
	b, _ := encoding.AppendValue(nil, v, project)
	return string(b)
}

func pathOf(k *pb.Key) string { return string(encoding.AppendPath(nil, k)) }

// disjunctions is the filter's disjunctive normal form, INs dissolved.
func disjunctions(f *pb.Filter) [][]*pb.PropertyFilter {
	if f == nil {
		return [][]*pb.PropertyFilter{nil}
	}
	if p := f.GetPropertyFilter(); p != nil {
		if p.GetOp() != pb.PropertyFilter_IN {
			return [][]*pb.PropertyFilter{{p}}
		}
		var all [][]*pb.PropertyFilter
		for _, v := range p.GetValue().GetArrayValue().GetValues() {
			all = append(all, []*pb.PropertyFilter{property(p.GetProperty().GetName(), pb.PropertyFilter_EQUAL, v).GetPropertyFilter()})
		}
		return all
	}
	var all [][]*pb.PropertyFilter
	if f.GetCompositeFilter().GetOp() == pb.CompositeFilter_AND {
		all = [][]*pb.PropertyFilter{nil}
	}
	for _, sub := range f.GetCompositeFilter().GetFilters() {
		subs := disjunctions(sub)
		if f.GetCompositeFilter().GetOp() == pb.CompositeFilter_OR {
			all = append(all, subs...)
			continue
		}
		var next [][]*pb.PropertyFilter
		for _, a := range all {
			for _, b := range subs {
				next = append(next, slices.Concat(a, b))
			}
		}
		all = next
	}
	return all
}

func indexed(e *pb.Entity, name string) []string {
	v := e.GetProperties()[name]
	if v == nil || v.GetExcludeFromIndexes() {
		return nil
	}
	if a, ok := v.GetValueType().(*pb.Value_ArrayValue); ok {
		var all []string
		for _, elem := range a.ArrayValue.GetValues() {
			all = append(all, encoded(elem))
		}
		slices.Sort(all)
		return slices.Compact(all)
	}
	return []string{encoded(v)}
}

func holds(own string, op pb.PropertyFilter_Operator, than ...string) bool {
	switch op {
	case pb.PropertyFilter_LESS_THAN:
		return own < than[0]
	case pb.PropertyFilter_LESS_THAN_OR_EQUAL:
		return own <= than[0]
	case pb.PropertyFilter_GREATER_THAN:
		return own > than[0]
	case pb.PropertyFilter_GREATER_THAN_OR_EQUAL:
		return own >= than[0]
	case pb.PropertyFilter_EQUAL:
		return own == than[0]
	}
	return !slices.Contains(than, own)
}

func operands(p *pb.PropertyFilter, encode func(*pb.Value) string) []string {
	var all []string
	values := []*pb.Value{p.GetValue()}
	if p.GetOp() == pb.PropertyFilter_NOT_IN {
		values = p.GetValue().GetArrayValue().GetValues()
	}
	for _, v := range values {
		all = append(all, encode(v))
	}
	return all
}

// candidates is the values of the entity that count in a conjunction, for each
// column; nil when it isn't met.
func (n *naive) candidates(c []*pb.PropertyFilter, e *pb.Entity) [][]string {
	equal := map[string][]string{}
	allowed := func(name string) []string {
		return slices.DeleteFunc(slices.Clone(indexed(e, name)), func(v string) bool {
			return slices.ContainsFunc(c, func(p *pb.PropertyFilter) bool {
				return p.GetProperty().GetName() == name && p.GetOp() != pb.PropertyFilter_EQUAL && !holds(v, p.GetOp(), operands(p, encoded)...)
			})
		})
	}
	for _, p := range c {
		name := p.GetProperty().GetName()
		switch {
		case p.GetOp() == pb.PropertyFilter_HAS_ANCESTOR:
			prefix := string(encoding.AppendPathPrefix(nil, p.GetValue().GetKeyValue()))
			if !strings.HasPrefix(pathOf(e.GetKey()), prefix) {
				return nil
			}
		case name == "__key__":
			if !holds(pathOf(e.GetKey()), p.GetOp(), operands(p, func(v *pb.Value) string { return pathOf(v.GetKeyValue()) })...) {
				return nil
			}
		case p.GetOp() == pb.PropertyFilter_EQUAL:
			// The inequalities on a property hold for what it equals.
			if v := encoded(p.GetValue()); !slices.Contains(allowed(name), v) {
				return nil
			}
			equal[name] = append(equal[name], encoded(p.GetValue()))
		case len(allowed(name)) == 0:
			return nil
		}
	}
	var all [][]string
	for _, col := range n.columns {
		var values []string
		switch {
		case col.name == "__key__":
			values = []string{pathOf(e.GetKey())}
		case equal[col.name] != nil:
			values = []string{slices.Min(equal[col.name])}
			if col.desc {
				values = []string{slices.Max(equal[col.name])}
			}
		default:
			values = allowed(col.name)
		}
		if len(values) == 0 {
			return nil
		}
		all = append(all, values)
	}
	return all
}

func newNaive(q *pb.Query) *naive {
	n := &naive{q: q}
	all := disjunctions(q.GetFilter())
	add := func(name string, desc bool) {
		if slices.ContainsFunc(n.columns, func(c naiveColumn) bool { return c.name == name }) {
			return
		}
		// Where all results have the same value, there is nothing to order.
		common := map[string]bool{}
		for _, c := range all {
			own := map[string]bool{}
			for _, p := range c {
				if p.GetProperty().GetName() == name && p.GetOp() == pb.PropertyFilter_EQUAL {
					own[encoded(p.GetValue())] = true
				}
			}
			if len(own) == 0 {
				common = map[string]bool{"a": true, "b": true}
			}
			for v := range own {
				common[v] = true
			}
		}
		if name == "__key__" || len(common) != 1 {
			n.columns = append(n.columns, naiveColumn{name, desc})
		}
	}
	desc := false
	for _, o := range q.GetOrder() {
		desc = o.GetDirection() == pb.PropertyOrder_DESCENDING
		add(o.GetProperty().GetName(), desc)
	}
	var rest []string
	for _, p := range q.GetDistinctOn() {
		rest = append(rest, p.GetName())
	}
	n.distinct = len(rest)
	var inequalities, projected []string
	byKey := false
	for _, c := range all {
		for _, p := range c {
			switch name := p.GetProperty().GetName(); {
			case p.GetOp() == pb.PropertyFilter_EQUAL, p.GetOp() == pb.PropertyFilter_HAS_ANCESTOR:
			case name == "__key__":
				byKey = true
			default:
				inequalities = append(inequalities, name)
			}
		}
	}
	for _, p := range q.GetProjection() {
		if name := p.GetProperty().GetName(); name != "__key__" {
			n.project = true
			projected = append(projected, name)
		}
	}
	slices.Sort(inequalities)
	if byKey {
		inequalities = append(inequalities, "__key__")
	}
	slices.Sort(projected)
	for _, name := range slices.Concat(rest, inequalities, projected) {
		add(name, desc)
	}
	add("__key__", desc)
	return n
}

func (n *naive) compare(a, b answer) int {
	for i, c := range n.columns {
		if order := cmp.Compare(a.values[i], b.values[i]); order != 0 {
			if c.desc {
				return -order
			}
			return order
		}
	}
	return 0
}

// answers is all results, before offset and limit.
func (n *naive) answers(entities map[string]*pb.Entity) []answer {
	var all []answer
	for path, e := range entities {
		if e.GetKey().GetPath()[len(e.GetKey().GetPath())-1].GetKind() != n.q.GetKind()[0].GetName() {
			continue
		}
		var own []answer
		for _, c := range disjunctions(n.q.GetFilter()) {
			if values := n.candidates(c, e); values != nil {
				for _, combination := range combinations(values) {
					own = append(own, answer{path, combination})
				}
			}
		}
		slices.SortFunc(own, n.compare)
		if !n.project && n.distinct == 0 && len(own) > 1 {
			own = own[:1]
		}
		all = append(all, own...)
	}
	slices.SortFunc(all, n.compare)
	all = slices.CompactFunc(all, func(a, b answer) bool { return n.compare(a, b) == 0 })
	if n.distinct > 0 {
		all = slices.CompactFunc(all, func(a, b answer) bool { return slices.Equal(a.values[:n.distinct], b.values[:n.distinct]) })
	}
	return all
}

func combinations(values [][]string) [][]string {
	all := [][]string{nil}
	for _, column := range values {
		var next [][]string
		for _, a := range all {
			for _, v := range column {
				next = append(next, append(slices.Clone(a), v))
			}
		}
		all = next
	}
	return all
}

// state is a database and what should be in it.
type state struct {
	db       *storage.DB
	entities map[string]*pb.Entity
}

func (s *state) put(t interface{ Fatal(...any) }, e *pb.Entity) {
	prepared, err := storage.NewEntity(e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.Commit([]storage.Mutation{{Op: storage.Upsert, Key: prepared.Key(), Entity: prepared}}); err != nil {
		t.Fatal(err)
	}
	s.entities[pathOf(e.GetKey())] = e
}

func (s *state) delete(t interface{ Fatal(...any) }, k *pb.Key) {
	wire, _ := proto.Marshal(k)
	if _, err := s.db.Commit([]storage.Mutation{{Op: storage.Delete, Key: encoding.EntityRow(k), KeyWire: wire}}); err != nil {
		t.Fatal(err)
	}
	delete(s.entities, pathOf(k))
}

func parse(q *pb.Query) (*planning.Query, error) {
	return planning.Parse(partition(), q, func(*pb.Key) error { return nil }, nil)
}

// shown is what is to be seen of a hit: its entity and what is projected.
func shown(q *planning.Query, h planning.Hit) string {
	var values []string
	for _, name := range q.Projection() {
		values = append(values, q.Value(h, name))
	}
	return fmt.Sprintf("%x %x", h.Entity.Path(), values)
}

func (n *naive) shown(a answer) string {
	var values []string
	for _, p := range n.q.GetProjection() {
		if i := slices.IndexFunc(n.columns, func(c naiveColumn) bool { return c.name == p.GetProperty().GetName() }); i >= 0 && n.columns[i].name != "__key__" {
			values = append(values, a.values[i])
		}
	}
	return fmt.Sprintf("%x %x", a.path, values)
}

// batches runs a query to its end, size results at a time.
func batches(t *rapid.T, v storage.View, m *pb.Query, size int) (all []string, cursors [][]byte) {
	m = proto.Clone(m).(*pb.Query)
	for range 1000 {
		q, err := parse(m)
		if err != nil {
			t.Fatalf("%v: %v", m, err)
		}
		r := q.Run(v, size, math.MaxInt)
		for _, h := range r.Hits {
			all = append(all, shown(q, h))
			cursors = append(cursors, q.AppendCursor(nil, h))
		}
		if !r.Full {
			return all, cursors
		}
		m.StartCursor = cursors[len(cursors)-1]
		m.Offset -= int32(r.Skipped)
		if m.Limit != nil {
			m.Limit.Value -= int32(len(r.Hits))
		}
	}
	t.Fatalf("%v doesn't end", m)
	return nil, nil
}

// reverse is the query that goes the other way.
func reverse(m *pb.Query) *pb.Query {
	m = proto.Clone(m).(*pb.Query)
	n := newNaive(m)
	m.Order = nil
	for _, c := range n.columns {
		d := pb.PropertyOrder_DESCENDING
		if c.desc {
			d = pb.PropertyOrder_ASCENDING
		}
		m.Order = append(m.Order, &pb.PropertyOrder{Property: &pb.PropertyReference{Name: c.name}, Direction: d})
	}
	return m
}

// TestLikeTheModel compares queries of the whole language with their naive
// evaluation, over random entities and indexes.
func TestLikeTheModel(t *testing.T) {
	answered := 0
	rapid.Check(t, func(t *rapid.T) {
		store, err := storage.Open(nil)
		if err != nil {
			t.Fatal(err)
		}
		w := &world{T: t, names: []string{"p", "q", "r"}}
		s := &state{db: store.DB(storage.ID{Project: project}), entities: map[string]*pb.Entity{}}
		for range rapid.IntRange(0, 12).Draw(t, "entities") {
			s.put(t, w.entity())
		}
		store.SetIndexes(w.definitions())
		for range rapid.IntRange(0, 6).Draw(t, "more entities") {
			s.put(t, w.entity())
		}
		for range 3 {
			m := w.query()
			q, err := parse(m)
			if err != nil {
				continue
			}
			answered++
			n := newNaive(m)
			if w.odds("own index", 2) {
				store.SetIndexes(w.definitions().With(n.index(w)))
			}
			all := n.answers(s.entities)
			var want []string
			for _, a := range all {
				want = append(want, n.shown(a))
			}
			s.db.Read(func(v storage.View) { sameResults(w, v, m, want) })
			s.phantoms(w, m, q, n)
		}
	})
	if answered == 0 {
		t.Error("no query was valid")
	}
}

// index is what serves the query if it is a conjunction.
func (n *naive) index(w *world) indexes.Definition {
	d := indexes.Definition{Kind: "A"}
	for _, p := range disjunctions(n.q.GetFilter())[0] {
		name := p.GetProperty().GetName()
		if p.GetOp() == pb.PropertyFilter_HAS_ANCESTOR {
			d.Ancestor = true
		}
		if p.GetOp() == pb.PropertyFilter_EQUAL && name != "__key__" && !slices.ContainsFunc(d.Properties, func(o indexes.Property) bool { return o.Name == name }) {
			d.Properties = append(d.Properties, indexes.Property{Name: name})
		}
	}
	turn := rapid.Bool().Draw(w.T, "turned round")
	for _, c := range n.columns {
		if !slices.ContainsFunc(d.Properties, func(o indexes.Property) bool { return o.Name == c.name }) {
			d.Properties = append(d.Properties, indexes.Property{Name: c.name, Desc: c.desc != turn})
		}
	}
	return d
}

func sameResults(w *world, v storage.View, m *pb.Query, want []string) {
	check := func(what string, q *pb.Query, got, want []string) {
		if diff := gocmp.Diff(append([]string{}, want...), append([]string{}, got...)); diff != "" {
			w.Fatalf("%s of %v (-want +got):\n%s", what, q, diff)
		}
	}
	size := rapid.IntRange(1, 4).Draw(w.T, "batch")
	got, cursors := batches(w.T, v, m, size)
	check("batches", m, got, want)

	part := proto.Clone(m).(*pb.Query)
	part.Offset = int32(rapid.IntRange(0, 4).Draw(w.T, "offset"))
	limit := rapid.IntRange(0, 5).Draw(w.T, "limit")
	part.Limit = wrapperspb.Int32(int32(limit))
	rest := want[min(len(want), int(part.Offset)):]
	first := rest[:min(len(rest), limit)]
	got, _ = batches(w.T, v, part, size)
	check("limit", part, got, first)
	q, err := parse(part)
	if err != nil {
		w.Fatal(err)
	}
	if r := q.Run(v, math.MaxInt, math.MaxInt); limit > 0 && r.AtLimit != (len(rest) > limit) || limit == 0 && len(rest) > 0 && !r.AtLimit || r.Skipped != len(want)-len(rest) {
		w.Fatalf("%v: %d skipped, at limit %v of %d results", part, r.Skipped, r.AtLimit, len(want))
	}
	got = nil
	q.Each(v, func(h planning.Hit) bool {
		got = append(got, shown(q, h))
		return true
	})
	check("each", part, got, first)
	upTo := rapid.IntRange(-1, 5).Draw(w.T, "up to")
	count, _ := q.Count(v, upTo)
	most := len(first)
	if upTo >= 0 {
		most = min(most, upTo)
	}
	if count != most {
		w.Fatalf("count up to %d of %v: %d; want %d", upTo, part, count, most)
	}
	if whole, err := parse(m); err == nil {
		if count, _ := whole.Count(v, -1); count != len(want) {
			w.Fatalf("count of %v: %d; want %d", m, count, len(want))
		}
	}
	if len(want) == 0 {
		return
	}
	i := rapid.IntRange(0, len(want)-1).Draw(w.T, "cut")
	head, tail := proto.Clone(m).(*pb.Query), proto.Clone(m).(*pb.Query)
	head.EndCursor, tail.StartCursor = cursors[i], cursors[i]
	got, _ = batches(w.T, v, head, size)
	check("what ends at a cursor", head, got, want[:i+1])
	got, _ = batches(w.T, v, tail, size)
	check("what starts at a cursor", tail, got, want[i+1:])
	if n := newNaive(m); n.project && n.distinct == 0 {
		back := reverse(m)
		back.StartCursor = cursors[i]
		got, _ = batches(w.T, v, back, size)
		front := slices.Clone(want[:i+1])
		slices.Reverse(front)
		check("what starts at a cursor, reversed", back, got, front)
	}
	q, err = parse(tail)
	if err != nil {
		w.Fatal(err)
	}
	if count, _ := q.Count(v, -1); count != len(want)-i-1 {
		w.Fatalf("count of %v: %d; want %d", tail, count, len(want)-i-1)
	}
}

// phantoms makes a change and checks that whoever would see it has locked it.
func (s *state) phantoms(w *world, m *pb.Query, q *planning.Query, n *naive) {
	size := rapid.IntRange(1, 4).Draw(w.T, "batch")
	var before []string
	var scan planning.Scan
	keys := map[string]bool{}
	count := rapid.Bool().Draw(w.T, "count")
	run := func(v storage.View) {
		before, keys = nil, map[string]bool{}
		if count {
			var c int
			c, scan = q.Count(v, -1)
			before = []string{fmt.Sprint(c)}
			return
		}
		r := q.Run(v, size, math.MaxInt)
		scan = r.Scan
		for _, h := range r.Hits {
			before = append(before, fmt.Sprint(shown(q, h), h.Entity.Version))
			keys[h.Entity.Key()] = true
		}
		before = append(before, fmt.Sprint(r.Full))
	}
	s.db.Read(run)
	was, ranges, known := before, scan.Ranges, keys

	e := w.entity()
	key := encoding.EntityRow(e.GetKey())
	var rows []string
	note := func(v storage.View) {
		if stored := v.Get(key); stored != nil {
			rows = slices.AppendSeq(rows, v.RowsOf(stored))
		}
	}
	s.db.Read(note)
	if w.odds("delete", 3) {
		s.delete(w, e.GetKey())
	} else {
		s.put(w, e)
	}
	s.db.Read(note)
	s.db.Read(run)
	if slices.Equal(was, before) {
		return
	}
	touched := known[key] || slices.ContainsFunc(rows, func(row string) bool {
		return slices.ContainsFunc(ranges, func(r planning.Range) bool { return r.Lo <= row && row < r.Hi })
	})
	if !touched {
		w.Fatalf("%v: a change of %v is seen, but its rows are not in the footprint", m, e.GetKey())
	}
}
